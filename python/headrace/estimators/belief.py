"""What is believed of the models for some queries: means, and how far the estimates may still move."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.arguments import FloatArray

__all__ = ["Belief"]


class Belief(NamedTuple):
    """What is believed of the models for m queries, after the same models have run.

    Attributes
    ----------
    quality : ndarray of shape (m, n_models)
        Estimated quality of each model's answer.
    variance : ndarray of shape (m, n_models) or (n_models,), optional
        Variance of the update still to come, (estimate once all models have run) - (estimate now), where the
        updates are taken as independent.
    covariance : ndarray of shape (m, n_models, n_models) or (n_models, n_models), optional
        The same, jointly. At most one of the two is given; neither: the estimates are final.
    loading : ndarray of shape (m, n_models) or (n_models,), optional
        Loadings of the updates on one factor that all models share, such as the query's difficulty. Goes with
        `variance`, then that of each model's own part: the covariance is loading loading' + diag(variance).

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.belief import Belief
    >>> belief = Belief(np.array([[0.6, 0.8], [0.2, 0.7]]), variance=np.array([0.09, 0.04]))
    >>> belief.take(np.array([1])).quality.tolist()
    [[0.2, 0.7]]
    """

    quality: FloatArray
    variance: FloatArray | None = None
    covariance: FloatArray | None = None
    loading: FloatArray | None = None

    def take(self, rows: np.typing.NDArray[np.intp]) -> Belief:
        """Take rows by index; an uncertainty that all rows share stays as it is."""
        variance, covariance, loading = self.variance, self.covariance, self.loading
        if variance is not None and variance.ndim == 2:
            variance = variance[rows]
        if covariance is not None and covariance.ndim == 3:
            covariance = covariance[rows]
        if loading is not None and loading.ndim == 2:
            loading = loading[rows]
        return Belief(self.quality[rows], variance, covariance, loading)
