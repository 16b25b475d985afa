"""Cholesky factors of covariances, and systems of equations with them, straight from LAPACK.

SciPy is imported when first needed: `import headrace` doesn't wait for it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from headrace.arguments import FloatArray
from headrace.estimators.blas import one_blas_thread

__all__ = ["cholesky", "inverse", "solve_lower"]


def cholesky(matrix: FloatArray) -> FloatArray:
    """Factorise a positive definite matrix: L, lower triangular, with L L' = matrix.

    Raises
    ------
    LinAlgError
        The matrix isn't positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.cholesky import cholesky
    >>> cholesky(np.array([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    if not len(matrix):
        return matrix.copy()
    # LAPACK's order is by columns: the transpose of a symmetric matrix is copied as it lies.
    factor, failed = _lapack().dpotrf(matrix if matrix.flags.f_contiguous else matrix.T, lower=1, clean=1)
    if failed:
        raise np.linalg.LinAlgError(f"covariance: not positive definite at pivot {failed - 1} of {len(matrix)}")
    return np.asarray(factor)


def inverse(matrix: FloatArray) -> tuple[FloatArray, float]:
    """Invert a positive definite matrix, and give the logarithm of its determinant.

    Raises
    ------
    LinAlgError
        The matrix isn't positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.cholesky import inverse
    >>> inverted, log_determinant = inverse(np.array([[4.0, 2.0], [2.0, 5.0]]))
    >>> inverted.round(4).tolist(), round(log_determinant, 4)
    ([[0.3125, -0.125], [-0.125, 0.25]], 2.7726)
    """
    factor = cholesky(matrix)
    if not len(matrix):
        return factor, 0.0
    inverted = np.asarray(_lapack().dpotri(factor, lower=1)[0])
    # LAPACK gives the lower triangle; the other one of `factor` is zero.
    return inverted + np.tril(inverted, -1).T, 2.0 * float(np.log(factor.diagonal()).sum())


def solve_lower(factor: FloatArray, right: FloatArray, *, transposed: bool = False) -> FloatArray:
    """Solve L X = right, or L' X = right.

    Parameters
    ----------
    factor : ndarray of shape (d, d)
        Lower triangular, with a diagonal above zero.
    right : ndarray of shape (d, m)
    transposed : bool
        Solve with L'.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.cholesky import solve_lower
    >>> solve_lower(np.array([[2.0, 0.0], [1.0, 2.0]]), np.array([[2.0], [5.0]])).tolist()
    [[1.0], [2.0]]
    """
    if not right.size:
        return right.copy()
    return np.asarray(_lapack().dtrtrs(factor, right, lower=1, trans=int(transposed))[0])


@cache
def _lapack() -> Any:
    """Import LAPACK, which brings a BLAS of its own: on one thread where that is asked for."""
    from scipy.linalg import lapack

    one_blas_thread.extend()
    return lapack
