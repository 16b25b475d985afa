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

#: Rows that know the same are compressed where they are more than so many times the cells that they know.
MOST_ROWS = 2


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
        of EM but the first; empty without missing cells, and where it wasn't asked for.
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


class _Pattern(NamedTuple):
    """Rows that know the same: how many, what is seen and what is missing, and the rows that stand for them."""

    n_rows: int
    seen: IndexArray
    missing: IndexArray
    rows: slice


def fit_moments(
    values: FloatArray,
    variables: Variables,
    prior: Strengths = PRIOR,
    *,
    tolerance: float = TOLERANCE,
    with_objective: bool = False,
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
    with_objective : bool, optional
        Follow the objective of EM, which takes about as long again.

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
    patterns, pattern_of_row = patterns_of(known)
    n_rows = np.bincount(pattern_of_row, minlength=len(patterns))
    mean, scale, standard = _standardised(values, known, variables)
    counts = np.asarray((patterns.T * n_rows) @ patterns.astype(np.float64), dtype=np.float64)
    if known.all():
        covariance = standard.T @ standard / counts
        return Moments(mean, scale, covariance, exchangeable_mean(covariance, variables.orbit, counts))
    groups, standard, weights = _compressed(standard, patterns, pattern_of_row)
    covariance = standard.T @ standard / np.maximum(counts, 1.0)
    start = Moments(mean, scale, covariance, exchangeable_mean(covariance, variables.orbit, counts))
    return _expectation_maximisation(
        standard, weights, groups, start, variables, prior, tolerance, with_objective=with_objective
    )


def _standardised(
    values: FloatArray, known: BoolArray, variables: Variables
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give means and scales of the known cells, and the cells in these units, a missing one zero.

    A variable without any known cell gets the means over its kind.
    """
    counts = known.sum(axis=0)
    standard = np.where(known, values, 0.0)
    mean = standard.sum(axis=0) / np.maximum(counts, 1)
    np.subtract(values, mean, out=standard)
    np.copyto(standard, 0.0, where=~known)
    scale = np.sqrt((standard**2).sum(axis=0) / np.maximum(counts, 1))
    scale = np.where(scale > CONSTANT * (np.abs(mean) + 1.0), scale, 0.0)
    # E.g. the agreement of two models that never ran together.
    for column in np.flatnonzero(counts == 0):
        like = (variables.kind == variables.kind[column]) & (counts > 0)
        if like.any():
            mean[column], scale[column] = mean[like].mean(), scale[like].mean()
    standard *= _inverse(scale)
    return mean, scale, standard


def _compressed(
    standard: FloatArray, patterns: BoolArray, pattern_of_row: IndexArray
) -> tuple[list[_Pattern], FloatArray, FloatArray]:
    """Group rows by what they know, and let few rows stand for many that know the same.

    EM needs of these the sums of the seen cells and of their products only: with a column of ones beside the cells, the
    matrix of products. A root of it, of no more rows than columns, has the same products, and weights in place of ones.

    Returns
    -------
    patterns : list of _Pattern
    rows : ndarray of shape (n_kept, n_variables)
    weights : ndarray of shape (n_kept,)
    """
    order = np.argsort(pattern_of_row, kind="stable")
    ends = np.cumsum(np.bincount(pattern_of_row, minlength=len(patterns)))
    groups, blocks, begin = [], [], 0
    for pattern, rows in zip(patterns, np.split(order, ends[:-1]), strict=True):
        seen = np.flatnonzero(pattern)
        block = np.zeros((len(rows), len(pattern) + 1))
        block[:, 0] = 1.0
        block[:, 1:] = standard[rows]
        if len(rows) > MOST_ROWS * (len(seen) + 1):
            with_ones = np.append(0, seen + 1)
            products = block.T @ block
            squares, directions = np.linalg.eigh(products[np.ix_(with_ones, with_ones)])
            block = np.zeros((len(with_ones), len(pattern) + 1))
            block[:, with_ones] = (directions * np.sqrt(np.maximum(squares, 0.0))).T
        blocks.append(block)
        groups.append(_Pattern(len(rows), seen, np.flatnonzero(~pattern), slice(begin, begin + len(block))))
        begin += len(block)
    kept = np.concatenate(blocks)
    return groups, kept[:, 1:], kept[:, 0]


def _expectation_maximisation(
    standard: FloatArray,
    weights: FloatArray,
    groups: list[_Pattern],
    start: Moments,
    variables: Variables,
    strengths: Strengths,
    tolerance: float,
    *,
    with_objective: bool,
) -> Moments:
    """Estimate what is missing; `standard`, `weights` and `groups` as `_compressed` gives them."""
    pooling, diagonal = strengths.pooling, _diagonal(variables, strengths)
    pooled = _nearest_semidefinite(start.pooled)
    missing = np.zeros(standard.shape[1], dtype=np.bool_)
    for group in groups:
        missing[group.missing] = True
    always, partly = np.flatnonzero(~missing), np.flatnonzero(missing)
    place = np.cumsum(missing) - 1
    patterns = [
        group._replace(seen=place[group.seen[missing[group.seen]]], missing=place[group.missing]) for group in groups
    ]
    n = sum(group.n_rows for group in groups)
    fixed, cells = standard[:, always], standard[:, partly]
    square, sides, inner = np.ix_(always, always), np.ix_(always, partly), np.ix_(partly, partly)
    covariance = start.covariance.copy()
    # The three blocks of Sigma: of what is always known, of that and the rest, of the rest.
    outer = pooled[square] + np.diag(diagonal[always])
    pooled_across, pooled_within = pooled[sides], pooled[inner]
    across, within = pooled_across, pooled_within + np.diag(diagonal[partly])
    scale = pooling * pooled + (1.0 + pooling) * np.diag(diagonal) if with_objective else None
    mean, filled = np.zeros(len(partly)), cells
    objective: list[float] = []
    for number in range(MOST_ITERATIONS):
        if number < 2:
            # The moments of what is always known are the same from the second iteration on.
            factor = cholesky(outer)
            whitened, of_pooled = solve_lower(factor, fixed.T), solve_lower(factor, pooled_across)
        # L^-1 times the block across.
        half = of_pooled if number == 0 else (whitened @ filled / n + pooling * of_pooled) / (1.0 + pooling)
        conditional = within - half.T @ half
        precision, log_determinant = inverse(conditional)
        expected = whitened.T @ half
        likelihood, filled, spread = _expected_cells(
            cells - np.outer(weights, mean) - expected, patterns, conditional, precision, log_determinant
        )
        if scale is not None and number > 0:
            trace = _trace(precision, solve_lower(factor, half, transposed=True), scale, always, partly)
            objective.append(likelihood - 0.5 * n * (pooling * log_determinant + trace))
        filled += expected
        shift = weights @ filled / n
        filled -= np.outer(weights, shift)
        mean = mean + shift
        moment_within, moment_across = (filled.T @ filled + spread) / n, fixed.T @ filled / n
        before = across, within
        across = (moment_across + pooling * pooled_across) / (1.0 + pooling)
        within = _posterior_mode(moment_within, pooled_within, diagonal[partly], strengths)
        moves = [_largest_move(across, before[0]), _largest_move(within, before[1])]
        if number == 0:
            first = outer
            outer = _posterior_mode(covariance[square], pooled[square], diagonal[always], strengths)
            moves.append(_largest_move(outer, first))
        if max(moves) < tolerance:
            break
    covariance[inner], covariance[sides] = moment_within, moment_across
    covariance[np.ix_(partly, always)] = moment_across.T
    moved = start.mean.copy()
    moved[partly] += mean * start.scale[partly]
    return Moments(moved, start.scale, covariance, pooled, tuple(objective))


def _largest_move(now: FloatArray, before: FloatArray) -> float:
    return float(np.abs(now - before).max(initial=0.0))


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


def _expected_cells(
    cells: FloatArray,
    patterns: list[_Pattern],
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
    for n_rows, seen, missing, rows in patterns:
        of_rows = filled[rows]
        if not len(missing):
            likelihood -= 0.5 * n_rows * log_determinant
        elif len(missing) <= len(seen):
            factor = cholesky(precision[np.ix_(missing, missing)])
            half = solve_lower(factor, np.eye(len(missing)))
            pulled = of_rows[:, seen] @ precision[np.ix_(seen, missing)]
            of_rows[:, missing] = -(pulled @ half.T) @ half
            spread[np.ix_(missing, missing)] += n_rows * (half.T @ half)
            likelihood -= n_rows * (0.5 * log_determinant + float(np.log(factor.diagonal()).sum()))
        else:
            factor = cholesky(sigma[np.ix_(seen, seen)])
            half = solve_lower(factor, sigma[np.ix_(seen, missing)])
            whitened = solve_lower(factor, of_rows[:, seen].T)
            of_rows[:, missing] = whitened.T @ half
            spread[np.ix_(missing, missing)] += n_rows * (sigma[np.ix_(missing, missing)] - half.T @ half)
            likelihood -= n_rows * float(np.log(factor.diagonal()).sum())
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
