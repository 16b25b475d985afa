"""How strongly to shrink a covariance: by the error on held-out rows, on the way from no run to all runs.

If the models of a row run one after the other, the features get known in that order. With Sigma = L L' in that order,
the whitened features u = L^-1 (x - mean) are uncorrelated, and u_i is known as soon as x_i is. The estimate of the
targets is mean + W_1' u_1 + ... + W_i' u_i, where W = L^-1 Cov(x, y): one factorisation gives the estimates after every
number of runs, and the sums of squares of the W still to come are the variances of the update still to come.

All penalties of the query's features, for one factor of those of embeddings and n-grams, share one factorisation: that
of the other features, which come first there. What these leave of the query's features, of covariance V = U diag(v) U',
adds to the estimate with weights 1 / (v + penalty).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.estimators.cholesky import cholesky, solve_lower
from headrace.estimators.exchangeable import Variables
from headrace.estimators.gaussian import Moments, Strengths, fit_moments, patterns_of

__all__ = ["CrossValidation", "cross_validate", "whitened_weights"]

#: Strengths tried, and where the search begins.
POOLINGS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
QUERY_RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
RIDGES = (0.01, 0.03, 0.1)
CONTENT_FACTORS = (1.0, 10.0, 100.0, 1e6)
START = Strengths(1.0, 0.3, 0.03)

#: Folds, and orders of the models tried in each.
N_FOLDS = 5
N_ORDERS = 2

#: Most models that run in an order. Rules run fewer, and the agreements of all pairs of 31 models are 465 variables.
MOST_RUNS = 12

#: Tolerance of EM in the folds: half the iterations, and as good for a choice.
ROUGH = 2e-2

#: Most different patterns of missing cells that are looked at in a fold, and most rows of each.
MOST_PATTERNS = 60
MOST_ROWS = 100


class CrossValidation(NamedTuple):
    """What held-out rows tell.

    Attributes
    ----------
    strengths : Strengths
        Those of the smallest error.
    update_scale : float
        Ratio of the updates' mean square on held-out rows to what was expected; at most 1.
    """

    strengths: Strengths
    update_scale: float


@dataclass(frozen=True, eq=False)
class _Walk:
    """Held-out rows with the same missing cells, and an order in which their models run."""

    #: Of the features in the order in which they get known, then of the targets that are known.
    moments: Moments
    variables: Variables
    #: Standardised features, shape (n_features, n_rows), and the number known after 0, 1, ... runs.
    features: FloatArray
    ends: IndexArray
    #: Values of the targets, shape (n_labelled, n_rows).
    values: FloatArray


def whitened_weights(sigma: FloatArray, n_features: int) -> tuple[FloatArray, FloatArray]:
    """Factorise the covariance of features in the order in which they get known.

    Parameters
    ----------
    sigma : ndarray of shape (n_variables, n_variables)
        Of the features, then of the targets.
    n_features : int

    Returns
    -------
    factor : ndarray of shape (n_features, n_features)
        L, lower triangular.
    weights : ndarray of shape (n_features, n_targets)
        W, the weights of the whitened features.
    """
    factor = cholesky(sigma[:n_features, :n_features])
    return factor, solve_lower(factor, sigma[:n_features, n_features:])


def cross_validate(
    values: FloatArray, variables: Variables, *, strengths: Strengths | None = None, seed: int = 0
) -> CrossValidation:
    """Choose strengths by the error on held-out rows, one after the other.

    Parameters
    ----------
    values : ndarray of shape (n, n_variables)
        NaN where missing; at least two rows.
    variables : Variables
    strengths : Strengths, optional
        Fixes the strengths; then only the updates are looked at.
    seed : int
        Of the folds, and of the orders of the models.
    """
    rng = np.random.default_rng(seed)
    n_folds = min(N_FOLDS, len(values))
    fold_of_row = rng.permutation(len(values)) % n_folds
    walks: list[_Walk] = []
    for fold in range(n_folds):
        drawn = _drawn(variables, rng)
        for index in drawn:
            of_drawn = variables.take(index)
            moments = fit_moments(values[np.ix_(fold_of_row != fold, index)], of_drawn, tolerance=ROUGH)
            walks += _walks(values[np.ix_(fold_of_row == fold, index)], moments, of_drawn, N_ORDERS // len(drawn), rng)
    targets = values[:, variables.n_features :]
    bounds = float(np.nanmin(targets)), float(np.nanmax(targets))

    def errors(strengths: Strengths) -> FloatArray:
        return sum((_errors(walk, strengths, bounds) for walk in walks), np.zeros(len(QUERY_RIDGES)))

    @cache
    def error(strengths: Strengths) -> float:
        return sum(
            float(((_steps(walk, strengths, bounds)[0] - walk.values) ** 2).sum()) / len(walk.ends) for walk in walks
        )

    factors = CONTENT_FACTORS if variables.content.any() else CONTENT_FACTORS[:1]
    chosen = _search(errors, error, factors) if strengths is None else strengths
    return CrossValidation(chosen, _update_scale(walks, chosen, bounds))


def _search(
    errors: Callable[[Strengths], FloatArray], error: Callable[[Strengths], float], factors: Sequence[float]
) -> Strengths:
    """Go through the penalty of the queries' features, the other strengths, and that penalty again.

    Parameters
    ----------
    errors : callable
        Gives the error with each of `QUERY_RIDGES` in place of the penalty in some strengths.
    error : callable
        Gives the error of some strengths.
    factors : sequence of float
        Those of embeddings and n-grams that are tried with each penalty.
    """

    def of_query(strengths: Strengths) -> Strengths:
        tried = [strengths._replace(content_factor=factor) for factor in factors]
        table = np.array([errors(one) for one in tried])
        factor, ridge = np.unravel_index(int(np.argmin(table)), table.shape)
        return tried[factor]._replace(query_ridge=QUERY_RIDGES[ridge])

    return of_query(_downhill(error, of_query(START)))


def _downhill(error: Callable[[Strengths], float], start: Strengths) -> Strengths:
    """Go from grid point to grid point, in pooling and ridge, until no neighbour has a smaller error."""
    best = start
    while True:
        p, r = POOLINGS.index(best.pooling), RIDGES.index(best.ridge)
        around = product(POOLINGS[max(p - 1, 0) : p + 2], RIDGES[max(r - 1, 0) : r + 2])
        nearby = min((best._replace(pooling=pooling, ridge=ridge) for pooling, ridge in around), key=error)
        if not error(nearby) < error(best):
            return best
        best = nearby


def _drawn(variables: Variables, rng: np.random.Generator) -> list[IndexArray]:
    """Give the variables of models that may run, with all targets: of all models, or of some for each order."""
    n_models = variables.members.shape[1]
    if n_models <= MOST_RUNS:
        return [np.arange(len(variables.kind))]
    targets = np.arange(variables.n_features, len(variables.kind))
    drawn = []
    for _ in range(N_ORDERS):
        may_run = np.isin(np.arange(n_models), rng.permutation(n_models)[:MOST_RUNS])
        drawn.append(np.append(variables.known_after(may_run), targets))
    return drawn


def _walks(
    rows: FloatArray, moments: Moments, variables: Variables, n_orders: int, rng: np.random.Generator
) -> list[_Walk]:
    """Group rows by what is missing, and draw orders of the models that have run."""
    n_features = variables.n_features
    patterns, pattern_of_row = patterns_of(~np.isnan(rows))
    looked_at = rng.permutation(len(patterns))[:MOST_PATTERNS]
    walks = []
    for number in looked_at.tolist():
        labelled = np.flatnonzero(patterns[number, n_features:])
        of_pattern = rows[pattern_of_row == number][:MOST_ROWS]
        standard = moments.standardise(of_pattern)
        # A pattern of its own needs no second order: there are many of them.
        for _ in range(n_orders if len(patterns) == 1 else 1):
            order, ends = _known_in_turn(patterns[number], variables, rng)
            taken = np.append(order, n_features + labelled)
            values = of_pattern[:, n_features + labelled].T
            features = np.asfortranarray(standard[:, order].T)
            walks.append(_Walk(moments.take(taken), variables.take(taken), features, ends, values))
    return [walk for walk in walks if len(walk.values)]


def _known_in_turn(known: BoolArray, variables: Variables, rng: np.random.Generator) -> tuple[IndexArray, IndexArray]:
    """Order the known features by the number of runs after which they are known, for models in a random order."""
    members = variables.members[: variables.n_features]
    rank = rng.permutation(members.shape[1]) + 1
    seen = np.flatnonzero(known[: variables.n_features])
    turn = (members[seen] * rank).max(axis=1, initial=0)
    turns, position = np.unique(turn, return_inverse=True)
    n_first = int((turn == 0).sum())
    counts = np.bincount(position.ravel(), minlength=len(turns))[int(n_first > 0) :]
    return seen[np.argsort(turn, kind="stable")], np.append(n_first, n_first + np.cumsum(counts)).astype(np.intp)


def _steps(walk: _Walk, strengths: Strengths, bounds: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """Give the estimates after 0, 1, ... runs, of shape (n_steps, n_labelled, n_rows), and the whitened weights."""
    n_features = len(walk.features)
    sigma = walk.moments.shrunk(walk.variables, strengths)
    factor = cholesky(sigma[:n_features, :n_features])
    # One system of equations: the weights' and the rows'.
    right = np.concatenate([sigma[n_features:, :n_features], walk.features.T])
    solved = solve_lower(factor, right.T)
    weights, whitened = np.split(solved, [len(sigma) - n_features], axis=1)
    weights *= walk.moments.scale[n_features:]
    estimates = np.empty((len(walk.ends), *walk.values.shape))
    estimate, begin = walk.moments.mean[n_features:, None], 0
    for step, end in zip(estimates, walk.ends.tolist(), strict=True):
        np.add(estimate, weights[begin:end].T @ whitened[begin:end], out=step)
        estimate, begin = step, end
    return np.clip(estimates, *bounds, out=estimates), weights


def _errors(walk: _Walk, strengths: Strengths, bounds: tuple[float, float]) -> FloatArray:
    """Give the mean over the steps of a walk of the squared error, for each of `QUERY_RIDGES`."""
    n_features, first, n_steps = len(walk.features), walk.variables.n_query, len(walk.ends)
    sigma = walk.moments.shrunk(walk.variables, strengths._replace(query_ridge=0.0))
    scale, mean = walk.moments.scale[n_features:, None], walk.moments.mean[n_features:, None]
    # In units in which all features of the query have one penalty.
    unit = np.where(walk.variables.content[:first], strengths.content_factor, 1.0) ** -0.5
    factor = cholesky(sigma[first:n_features, first:n_features])
    # One system of equations: those of the query's features, of the targets and of the rows.
    of_others = slice(first, n_features)
    right = [sigma[:first, of_others] * unit[:, None], sigma[n_features:, of_others], walk.features[first:].T]
    solved = solve_lower(factor, np.concatenate(right).T)
    of_query, of_targets, of_rows = np.split(solved, [first, first + len(sigma) - n_features], axis=1)
    left = sigma[:first, :first] * np.outer(unit, unit)
    pull, rest = sigma[:first, n_features:] * unit[:, None], walk.features[:first] * unit[:, None]
    estimate = np.zeros(walk.values.shape)
    lefts = np.empty((n_steps, first, first))
    after = []
    begin = 0
    for number, end in enumerate((walk.ends - first).tolist()):
        q, t, x = of_query[begin:end], of_targets[begin:end], of_rows[begin:end]
        left, pull, rest = left - q.T @ q, pull - q.T @ t, rest - q.T @ x
        estimate = estimate + t.T @ x
        lefts[number] = left
        after.append((pull, rest, mean + scale * estimate))
        begin = end
    ridges = np.array(QUERY_RIDGES)[:, None, None]
    errors = np.zeros(len(QUERY_RIDGES))
    for values, vectors, (pull, rest, estimate) in zip(*np.linalg.eigh(lefts), after, strict=True):
        # All ridges at once: shape (n_ridges, n_labelled, n_rows).
        along = (scale * (pull.T @ vectors)) / (np.maximum(values, 0.0) + ridges)
        missed = along.reshape(len(errors) * len(estimate), first) @ (vectors.T @ rest)
        missed = missed.reshape(len(errors), *estimate.shape)
        missed += estimate
        np.clip(missed, *bounds, out=missed)
        missed -= walk.values
        errors += np.einsum("ijk,ijk->i", missed, missed)
    return errors / n_steps


def _update_scale(walks: list[_Walk], strengths: Strengths, bounds: tuple[float, float]) -> float:
    realised, expected = 0.0, 0.0
    for walk in walks:
        estimates, weights = _steps(walk, strengths, bounds)
        realised += float(((estimates[-1] - estimates) ** 2).sum())
        expected += sum(float((weights[end:] ** 2).sum()) * walk.features.shape[1] for end in walk.ends)
    return min(realised / expected, 1.0) if expected > 0.0 else 1.0
