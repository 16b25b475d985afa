"""The moments of variables of which some cells are missing, and a covariance that is known from few rows.

Variables are standardised. With S their covariance, T its mean over all renamings of the models (`exchangeable`) and D
a diagonal, the estimate is

    Sigma = (S + p T) / (1 + p) + D,

the mode of the posterior under an inverse Wishart prior with scale p T + (1 + p) D. Without missing cells, S is the
sample covariance. With them, it comes from the EM algorithm under a weak prior of that form (Dempster, Laird and Rubin
1977, section 4.1.3; Schafer 1997, section 5.3). That may depend on what is known: in a router's log, the responses seen
decide what runs next. Maximum likelihood is then without bias; the prior leaves a part of that of the known cells. One
iteration takes O(d^2 m + m^3) for m variables that are missing somewhere, of d, and for each pattern the cube of the
number of these that are missing in it, or of those that are seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.estimators.cholesky import cholesky, inverse, solve_lower
from headrace.estimators.exchangeable import Variables, exchangeable_mean
from headrace.estimators.state import Stateful

__all__ = ["Moments", "Strengths", "fit_moments", "patterns_of"]

#: A variable whose standard deviation is below this fraction of its size is constant.
CONSTANT = 1e-9

#: A negative eigenvalue of standardised variables that is no further from zero is rounding: ridges are far larger.
NEGLIGIBLE = 1e-9

#: EM ends when no entry of the covariance of standardised variables moves by more, or after so many iterations.
TOLERANCE = 5e-3
MOST_ITERATIONS = 30


class Strengths(NamedTuple):
    """How strongly a covariance is shrunk.

    Attributes
    ----------
    pooling : float
        Weight p of the mean over the models, in units of the number of rows.
    query_ridge, ridge : float
        Entries of D: of the query's variables, and of the others.
    content_factor : float, default 1
        How many times as large the entries of embeddings and n-grams are as those of the query's other variables.
    """

    pooling: float
    query_ridge: float
    ridge: float
    content_factor: float = 1.0


#: The prior under which missing cells are estimated: weak, as the result is shrunk further. On real logs, with 50% and
#: 80% of the cells missing, a pooling of 0.1 did best among 0.1, 0.3, 1 and 3; the one chosen afterwards was worse.
PRIOR = Strengths(0.1, 0.3, 0.03)


@dataclass(frozen=True, eq=False)
class Moments(Stateful, part="moments", kept=("mean", "scale", "covariance", "pooled", "objective")):
    """Moments of variables: their means, scales, and covariance in units of the scales.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_variables,)
        The scale of a constant variable is zero.
    covariance : ndarray of shape (n_variables, n_variables)
        S; of a constant variable, zero.
    pooled : ndarray of shape (n_variables, n_variables)
        T.
    objective : tuple of float
        Log-density of the posterior, given the variables that are always known, up to a constant: before each iteration
        of EM but the first; empty without missing cells.
    """

    mean: FloatArray
    scale: FloatArray
    covariance: FloatArray
    pooled: FloatArray
    objective: tuple[float, ...] = ()

    def shrunk(self, variables: Variables, strengths: Strengths) -> FloatArray:
        """Give the covariance Sigma of the standardised variables."""
        return _posterior_mode(self.covariance, self.pooled, _diagonal(variables, strengths), strengths)

    def take(self, index: IndexArray) -> Moments:
        """Give the moments of some variables."""
        pairs = np.ix_(index, index)
        return Moments(self.mean[index], self.scale[index], self.covariance[pairs], self.pooled[pairs])

    def standardise(self, values: FloatArray) -> FloatArray:
        """Express values in units of the scales; a constant variable and a missing value are zero."""
        known = np.where(np.isnan(values), self.mean, values)
        return np.asarray((known - self.mean) * _inverse(self.scale))


def fit_moments(
    values: FloatArray, variables: Variables, prior: Strengths = PRIOR, *, tolerance: float = TOLERANCE
) -> Moments:
    """Estimate moments from rows with missing cells (NaN).

    Parameters
    ----------
    values : ndarray of shape (n, n_variables)
    variables : Variables
    prior : Strengths, optional
        Of the prior under which missing cells are estimated; without missing cells, it has no part.
    tolerance : float, optional
        EM ends when no entry of the standardised covariance moves by more.

    Returns
    -------
    Moments

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.exchangeable import Variables
    >>> from headrace.estimators.gaussian import fit_moments
    >>> targets = Variables.of(n_models=2, of_query=0, of_model=0, of_pair=0)
    >>> moments = fit_moments(np.array([[0.0, 1.0], [1.0, 3.0], [1.0, 2.0]]), targets)
    >>> moments.mean.round(2).tolist(), moments.covariance.round(2).tolist()
    ([0.67, 2.0], [[1.0, 0.87], [0.87, 1.0]])
    """
    known = ~np.isnan(values)
    mean, scale = _means_and_scales(values, known, variables)
    standard = np.where(known, (values - mean) * _inverse(scale), 0.0)
    counts = known.T.astype(np.float64) @ known
    covariance = standard.T @ standard / np.maximum(counts, 1.0)
    pooled = exchangeable_mean(covariance, variables.orbit, counts)
    if known.all():
        return Moments(mean, scale, covariance, pooled)
    return _expectation_maximisation(
        standard, known, Moments(mean, scale, covariance, pooled), variables, prior, tolerance
    )


def _means_and_scales(values: FloatArray, known: FloatArray, variables: Variables) -> tuple[FloatArray, FloatArray]:
    """Take the moments of the known cells; a variable without any gets the means over its kind."""
    counts = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean = total / np.maximum(counts, 1)
    squares = np.where(known, values - mean, 0.0) ** 2
    scale = np.sqrt(squares.sum(axis=0) / np.maximum(counts, 1))
    scale = np.where(scale > CONSTANT * (np.abs(mean) + 1.0), scale, 0.0)
    # E.g. the agreement of two models that never ran together.
    for column in np.flatnonzero(counts == 0):
        like = (variables.kind == variables.kind[column]) & (counts > 0)
        if like.any():
            mean[column], scale[column] = mean[like].mean(), scale[like].mean()
    return mean, scale


def _expectation_maximisation(
    standard: FloatArray,
    known: BoolArray,
    start: Moments,
    variables: Variables,
    strengths: Strengths,
    tolerance: float,
) -> Moments:
    diagonal = _diagonal(variables, strengths)
    pooled = _nearest_semidefinite(start.pooled)
    always = np.flatnonzero(known.all(axis=0))
    partly = np.flatnonzero(~known.all(axis=0))
    patterns = _by_pattern(known[:, partly])
    n = len(standard)
    covariance = start.covariance.copy()
    sigma = pooled + np.diag(diagonal)
    fixed, cells = standard[:, always], standard[:, partly]
    square = np.ix_(always, always)
    scale = strengths.pooling * pooled + (1.0 + strengths.pooling) * np.diag(diagonal)
    mean = np.zeros(len(partly))
    objective: list[float] = []
    for number in range(MOST_ITERATIONS):
        if number < 2:
            # The moments of what is always known are the same from the second iteration on.
            factor = cholesky(sigma[square])
            whitened = solve_lower(factor, fixed.T)
        before = sigma.copy() if number == 0 else sigma[partly]
        half = solve_lower(factor, sigma[np.ix_(always, partly)])
        conditional = sigma[np.ix_(partly, partly)] - half.T @ half
        precision, log_determinant = inverse(conditional)
        expected = whitened.T @ half
        likelihood, filled, spread = _expected_cells(
            cells - mean - expected, patterns, conditional, precision, log_determinant
        )
        if number > 0:
            trace = _trace(precision, solve_lower(factor, half, transposed=True), scale, always, partly)
            objective.append(likelihood - 0.5 * n * (strengths.pooling * log_determinant + trace))
        filled += expected
        shift = filled.mean(axis=0)
        filled -= shift
        mean = mean + shift
        covariance[np.ix_(partly, partly)] = (filled.T @ filled + spread) / n
        across = filled.T @ fixed / n
        covariance[np.ix_(partly, always)], covariance[np.ix_(always, partly)] = across, across.T
        if number == 0:
            sigma = _posterior_mode(covariance, pooled, diagonal, strengths)
        else:
            sigma[partly] = (covariance[partly] + strengths.pooling * pooled[partly]) / (1.0 + strengths.pooling)
            sigma[partly, partly] += diagonal[partly]
            sigma[np.ix_(always, partly)] = sigma[np.ix_(partly, always)].T
        if np.abs((sigma if number == 0 else sigma[partly]) - before).max(initial=0.0) < tolerance:
            break
    moved = start.mean.copy()
    moved[partly] += mean * start.scale[partly]
    return Moments(moved, start.scale, covariance, pooled, tuple(objective))


def patterns_of(known: BoolArray) -> tuple[BoolArray, IndexArray]:
    """Give the different rows of a mask, in rising order, and which of them each row is.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.gaussian import patterns_of
    >>> patterns, number = patterns_of(np.array([[True, True], [False, True], [True, True]]))
    >>> patterns.tolist(), number.tolist()
    ([[False, True], [True, True]], [1, 0, 1])
    """
    if known.all():
        return known[:1], np.zeros(len(known), dtype=np.intp)
    # Eight columns in a byte: bytes are compared as a whole, in the order of the columns.
    packed = np.ascontiguousarray(np.packbits(known, axis=1))
    _, first, number = np.unique(
        packed.view(np.dtype((np.void, packed.shape[1]))).ravel(), return_index=True, return_inverse=True
    )
    return known[first], number.ravel()


def _by_pattern(known: BoolArray) -> list[tuple[IndexArray, IndexArray, IndexArray]]:
    """Group rows that know the same: the rows, the variables seen, and those missing."""
    patterns, pattern_of_row = patterns_of(known)
    rows_by_pattern = np.argsort(pattern_of_row, kind="stable")
    ends = np.cumsum(np.bincount(pattern_of_row, minlength=len(patterns)))
    return [
        (rows, np.flatnonzero(pattern), np.flatnonzero(~pattern))
        for pattern, rows in zip(patterns, np.split(rows_by_pattern, ends[:-1]), strict=True)
    ]


def _expected_cells(
    cells: FloatArray,
    patterns: list[tuple[IndexArray, IndexArray, IndexArray]],
    sigma: FloatArray,
    precision: FloatArray,
    log_determinant: float,
) -> tuple[float, FloatArray, FloatArray]:
    """Give the log-likelihood of the known cells, all cells with the missing ones expected, and the spread of these.

    With K = Sigma^-1, what is missing has, given what is seen, the covariance K_mm^-1 and the mean -K_mm^-1 K_ms x_s.
    So the smaller of the two blocks is factorised, that of what is missing or that of what is seen.
    """
    filled, likelihood = cells, 0.0
    spread = np.zeros_like(sigma)
    for rows, seen, missing in patterns:
        if not len(missing):
            likelihood -= 0.5 * len(rows) * log_determinant
        elif len(missing) <= len(seen):
            factor = cholesky(precision[np.ix_(missing, missing)])
            half = solve_lower(factor, np.eye(len(missing)))
            pulled = filled[np.ix_(rows, seen)] @ precision[np.ix_(seen, missing)]
            filled[np.ix_(rows, missing)] = -(pulled @ half.T) @ half
            spread[np.ix_(missing, missing)] += len(rows) * (half.T @ half)
            likelihood -= len(rows) * (0.5 * log_determinant + float(np.log(factor.diagonal()).sum()))
        else:
            factor = cholesky(sigma[np.ix_(seen, seen)])
            half = solve_lower(factor, sigma[np.ix_(seen, missing)])
            whitened = solve_lower(factor, filled[np.ix_(rows, seen)].T)
            filled[np.ix_(rows, missing)] = whitened.T @ half
            spread[np.ix_(missing, missing)] += len(rows) * (sigma[np.ix_(missing, missing)] - half.T @ half)
            likelihood -= len(rows) * float(np.log(factor.diagonal()).sum())
    # The missing cells at their mean make the square of all cells as small as that of the known ones.
    likelihood -= 0.5 * float(np.einsum("ij,ij->", filled @ precision, filled))
    return likelihood, filled, spread


def _trace(
    precision: FloatArray, slopes: FloatArray, scale: FloatArray, always: IndexArray, partly: IndexArray
) -> float:
    """Trace of Sigma^-1 and the prior's scale, without the part that only what is always known has in it."""
    left = scale[np.ix_(partly, partly)] - 2.0 * slopes.T @ scale[np.ix_(always, partly)]
    left += slopes.T @ scale[np.ix_(always, always)] @ slopes
    return float(np.einsum("ij,ij->", precision, left))


def _posterior_mode(
    covariance: FloatArray, pooled: FloatArray, diagonal: FloatArray, strengths: Strengths
) -> FloatArray:
    mode = strengths.pooling * pooled
    mode += covariance
    mode /= 1.0 + strengths.pooling
    np.einsum("ii->i", mode)[:] += diagonal
    return mode


def _diagonal(variables: Variables, strengths: Strengths) -> FloatArray:
    of_query = ~variables.members.any(axis=1)
    of_content = np.where(variables.content, strengths.content_factor, 1.0)
    return np.where(of_query, strengths.query_ridge * of_content, strengths.ridge)


def _nearest_semidefinite(matrix: FloatArray) -> FloatArray:
    """Drop negative eigenvalues: moments of different rows need not fit together.

    Those within `NEGLIGIBLE` of zero stay. Where no other is negative, one factorisation shows it: a tenth of the work.
    """
    try:
        cholesky(matrix + NEGLIGIBLE * np.eye(len(matrix)))
    except np.linalg.LinAlgError:
        pass
    else:
        return matrix
    values, vectors = np.linalg.eigh(matrix)
    n_negative = int((values < 0.0).sum())
    below = vectors[:, :n_negative]
    return np.asarray(matrix - (below * values[:n_negative]) @ below.T)


def _inverse(scale: FloatArray) -> FloatArray:
    return np.where(scale > 0.0, 1.0 / np.where(scale > 0.0, scale, 1.0), 0.0)
