"""The joint belief: one Gaussian over queries, responses and qualities, from which every run set's estimates follow.

Let x be the features of a query, s_R those of the responses of the models R that have run and of their agreements, and
y the qualities of all models. With the mean and covariance Sigma of (x, s, y), for every R at once,

    estimate          E[y | x, s_R] = mean_y + Sigma_yA Sigma_AA^-1 ((x, s_R) - mean_A),    A = (x, s_R)
    update to come    U_R = Sigma_yB Sigma_BB^-1 Sigma_By - Sigma_yA Sigma_AA^-1 Sigma_Ay,  B = (x, s of all models)

by the law of total variance; the core finds them for all R at once. With the sample covariance, these are the
least-squares regressions of y on (x, s_R), one per run set; here, there is one covariance and no 2^k fits. It is shrunk
towards its mean over all renamings of the models (`exchangeable`): with few labelled queries, what holds for one model
helps to know the others. Missing cells,
of models that never ran on a query or have no label there, are dealt with by EM (`gaussian`). How strongly to shrink,
and how much smaller the updates are on queries that the fit has not seen, is found by cross-validation (`held_out`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from headrace._core import regressions
from headrace.arguments import BoolArray, FloatArray, checked_bools
from headrace.estimators.belief import Belief
from headrace.estimators.blas import one_blas_thread
from headrace.estimators.cholesky import cholesky, solve_lower
from headrace.estimators.exchangeable import Variables
from headrace.estimators.gaussian import Moments, Strengths, fit_moments
from headrace.estimators.held_out import cross_validate
from headrace.estimators.linear_map import LinearMap
from headrace.estimators.parameters import Parameters
from headrace.estimators.protocol import Queries
from headrace.estimators.query_features import QueryFeatures
from headrace.estimators.response_features import ResponseFeatures
from headrace.estimators.responses import Responses
from headrace.estimators.run_set_regressions import common_run
from headrace.estimators.state import Stateful
from headrace.estimators.targets import checked_targets, clipped

__all__ = ["JointQuality", "one_factor"]

#: Iterations that split a covariance into one factor and a diagonal; it converges linearly, and need not be exact.
N_ITERATIONS = 50

#: Up to so many run sets (6 models), a fit finds the gains of all of them at once; beyond, each when first asked for.
MOST_RUN_SETS = 64

#: Bytes of the gains that are kept, of run sets as large as the next one; others are found again when met again.
MOST_BYTES = 4 * 2**20

#: Most models: with 64, answers have 2,016 agreements, and their covariance takes 32 MB.
MOST_MODELS = 64

#: One run set that knows so many features goes to LAPACK, unless a pivot is below this share of its variance.
MANY_FEATURES = 100
LEAST_PIVOT = 1e-8


class _Gain(NamedTuple):
    """What depends on the run set only: estimates = (features - average) @ weights + mean, and the update to come."""

    weights: FloatArray
    average: FloatArray
    mean: FloatArray
    update: FloatArray


class JointQuality(
    Parameters,
    Stateful,
    part="joint-quality",
    kept=(
        "strengths_",
        "update_scale_",
        "moments_",
        "_query_features",
        "_response_features",
        "_variables",
        "_range",
        "_sigma",
        "_final",
        "_gains",
    ),
):
    """Quality by one Gaussian over features of queries and responses, and the qualities of all models.

    For partial logs, many models and few labels. A run updates the estimates of all models, in closed form, and what
    was known before it still counts. Estimates are kept within the range of the targets.

    Parameters
    ----------
    covariance : bool, default False
        Give the covariance of the updates still to come instead of their variances. Decisions take longer.
    equal : callable, optional
        Whether two answers agree: ``equal(a, b) -> bool``. By default ``a == b``.
    strengths : Strengths, optional
        Fixes how strongly the covariance is shrunk. By default chosen by cross-validation.

    Attributes
    ----------
    strengths_ : Strengths
        The strengths used.
    update_scale_ : float
        Factor of the variances of the updates, at most 1: updates on queries that the fit has not seen are smaller.
    moments_ : Moments
        Mean and covariance, before they are shrunk.

    Notes
    -----
    With up to some hundred labelled queries its errors are smaller than those of `LinearQuality`, with 1,500 they are
    the same (docs/results/joint_belief.md). Both are linear in the same features.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.estimators import JointQuality
    >>> table = hr.datasets.load_quickstart()
    >>> estimator = JointQuality().fit(table.queries, table.responses_for([True] * 5), table.quality)
    >>> after = estimator.predict(table.queries, table.responses_for([True, False, False, False, False]))
    >>> after.quality.shape, after.variance.shape
    ((3600, 5), (5,))
    """

    #: The last gain found that wasn't kept.
    _last: Mapping[bytes, _Gain] = MappingProxyType({})

    strengths_: Strengths
    update_scale_: float
    moments_: Moments

    #: Labels, and responses of models that never ran, may be missing in a fit.
    accepts_missing = True

    def __init__(
        self,
        *,
        covariance: bool = False,
        equal: Callable[[Any, Any], bool] | None = None,
        strengths: Strengths | None = None,
    ) -> None:
        self.covariance = covariance
        self.equal = equal
        self.strengths = strengths

    @one_blas_thread
    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Learn from labelled queries, of which cells may be missing.

        Parameters
        ----------
        queries : mapping of str to ndarray of shape (n_queries, ...)
        responses : Responses
            ``responses.run`` is False where a model has never run on a query.
        targets : ndarray of shape (n_queries, n_models)
            Realised qualities; NaN where there is no label.

        Raises
        ------
        ValueError
            Fewer than two queries, a model without a label, infinite targets, or targets of another shape; strengths
            that are not positive; more than 64 models.
        """
        targets = _checked_targets(targets, responses)
        self._query_features = QueryFeatures().fit(queries)
        self._response_features = ResponseFeatures(equal=self.equal).fit(responses)
        self._variables, values = self._encode(queries, responses, targets)
        self._range = float(np.nanmin(targets)), float(np.nanmax(targets))
        strengths = None if self.strengths is None else _checked_strengths(self.strengths)
        self.strengths_, self.update_scale_ = cross_validate(values, self._variables, strengths=strengths)
        self.moments_ = fit_moments(values, self._variables)
        self._sigma = self.moments_.shrunk(self._variables, self.strengths_)
        n_models = targets.shape[1]
        every = np.ones((1, n_models), dtype=np.bool_)
        if 2**n_models <= MOST_RUN_SETS:
            every = np.array(list(product((True, False), repeat=n_models)))
        vars(self).pop("_last", None)
        self._gains: dict[bytes, _Gain] = {}
        self._gains = self._computed(every)
        return self

    def predict(self, queries: Queries, responses: Responses) -> Belief:
        """Estimate for queries in all of which the same models have run.

        Raises
        ------
        ValueError
            Different models have run in different queries.
        """
        run = common_run(responses)
        gain = self._gain(run)
        of_query = self._query_features.transform(queries, len(responses))
        features = np.concatenate([of_query, self._response_features.transform(responses, run)], axis=1)
        features -= gain.average
        missing = np.isnan(features)
        if np.count_nonzero(missing):
            features[missing] = 0.0
        quality = clipped(features @ gain.weights + gain.mean, *self._range)
        return (
            Belief(quality, covariance=gain.update)
            if self.covariance
            else Belief(quality, variance=gain.update.diagonal())
        )

    def linear_map(self, run: BoolArray) -> LinearMap:
        """Give what `predict` does after a run set; see `headrace.estimators.linear_map`."""
        gain = self._gain(run)
        made = LinearMap(
            self._query_features, self._response_features, gain.average, gain.weights, gain.mean, *self._range
        )
        spread = gain.update
        return made._replace(covariance=spread) if self.covariance else made._replace(variance=spread.diagonal())

    def warm(self, runs: BoolArray) -> None:
        """Find the gains of run sets, a row each, which otherwise are found when first asked for, and keep them."""
        for run in runs:
            self._gains[run.tobytes()] = self._gain(run)

    def get_state(self) -> dict[str, Any]:
        """Give what `from_state` needs."""
        state = super().get_state()
        if "_gains" in state:
            state["_gains"] = _stacked(dict(self._gains))
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make an estimator of what `get_state` gave; errors as in `Stateful.from_state`."""
        made = super().from_state(state)
        for name in ("strengths", "strengths_"):
            if state.get(name) is not None:
                setattr(made, name, Strengths(*state[name]))
        if "_gains" in state:
            made._gains = _unstacked(**state["_gains"])
        return made

    def update_covariance(self, run: npt.ArrayLike) -> FloatArray:
        """Give the covariance of the update still to come once the models of a mask have run.

        Parameters
        ----------
        run : bool array-like of shape (n_models,)

        Returns
        -------
        ndarray of shape (n_models, n_models)
            Zero after all models. See `one_factor` for its approximation by one factor.

        Raises
        ------
        ValueError
            A mask of another shape.
        """
        mask = checked_bools("run", run)
        expected = (self._variables.members.shape[1],)
        if mask.shape != expected:
            raise ValueError(f"run: expected shape {expected}, got {mask.shape}")
        return self._gain(mask).update.copy()

    def _encode(self, queries: Queries, responses: Responses, targets: FloatArray) -> tuple[Variables, FloatArray]:
        """Lay out all variables, with NaN for those of models that have not run, and for missing labels."""
        n_queries, n_models = responses.run.shape
        of_query = self._query_features.transform(queries, n_queries)
        of_model = self._response_features.transform(responses.take([0]), np.arange(n_models) == 0).shape[1]
        of_responses = self._response_features.transform(responses, np.ones(n_models, dtype=np.bool_))
        n_pairs = max(n_models * (n_models - 1) // 2, 1)
        of_pair = (of_responses.shape[1] - n_models * of_model) // n_pairs
        variables = Variables.of(
            n_models=n_models,
            of_query=of_query.shape[1],
            of_model=of_model,
            of_pair=of_pair,
            content=self._query_features.of_content,
        )
        features = np.hstack([of_query, of_responses])
        ran = ~((~responses.run).astype(np.float64) @ variables.members[: variables.n_features].T).astype(np.bool_)
        # A number that is missing in a response counts as average; a response that is missing is estimated.
        seen = ran & ~np.isnan(features)
        average = np.where(seen, features, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        features = np.where(ran, np.where(seen, features, average), np.nan)
        return variables, np.hstack([features, targets])

    def _gain(self, run: BoolArray) -> _Gain:
        key = run.tobytes()
        # Taken once: another thread may put another one in its place.
        found = self._gains.get(key) or self._last.get(key)
        if found is None:
            found = self._computed(run[None, :])[key]
            if (len(self._gains) + 1) * (found.weights.nbytes + found.update.nbytes) <= MOST_BYTES:
                self._gains[key] = found
            else:
                self._last = {key: found}
        return found

    def _computed(self, runs: BoolArray) -> dict[bytes, _Gain]:
        """Give the gains of run sets, by their bytes; in the fit, that of all models comes first."""
        mean, scale, n_features = self.moments_.mean, self.moments_.scale, self._variables.n_features
        # A constant feature says nothing.
        unit = np.where((scale > 0.0) | (np.arange(len(scale)) >= n_features), scale, 1.0)
        # Of many models, few features are known after any of these run sets.
        some = self._variables.known_after(np.asarray(runs.any(axis=0)))
        index = np.append(some, np.arange(n_features, len(scale)))
        covariance = self._sigma[np.ix_(index, index)] * np.outer(unit[index], unit[index])
        known, ends, weights, residuals = _regressions(covariance, self._variables.members[some], runs)
        known = some[known]
        weights[scale[known] == 0.0] = 0.0
        if not self._gains:
            self._final = residuals[0]
        updates = self.update_scale_ * (residuals - self._final)
        # Rounding, where next to nothing is still to come.
        diagonals = np.einsum("ijj->ij", updates)
        np.maximum(diagonals, 0.0, out=diagonals)
        return _unstacked(runs, ends, weights, mean[known], mean[n_features:], updates)


def _regressions(
    covariance: FloatArray, members: BoolArray, runs: BoolArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray, FloatArray]:
    """Give what the core gives; that of one run set with many features comes from LAPACK, in a tenth of the time.

    Where a feature is nearly known from others, the core is asked, which refuses what is singular.
    """
    known = np.flatnonzero(~members[:, ~runs[0]].any(axis=1))
    n_known, n_features = len(known), len(members)
    if len(runs) > 1 or n_known < MANY_FEATURES:
        return regressions(covariance, members, runs)
    targets = np.arange(n_features, len(covariance))
    of_known = covariance[np.ix_(known, known)]
    try:
        factor = cholesky(of_known)
    except np.linalg.LinAlgError:
        return regressions(covariance, members, runs)
    if not (factor.diagonal() ** 2 > LEAST_PIVOT * of_known.diagonal()).all():
        return regressions(covariance, members, runs)
    half = solve_lower(factor, covariance[np.ix_(known, targets)])
    residual = covariance[np.ix_(targets, targets)] - half.T @ half
    weights = np.ascontiguousarray(solve_lower(factor, half, transposed=True))
    return known.astype(np.int64), np.array([n_known]), weights, residual[None]


def one_factor(covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Approximate a covariance by one factor and a diagonal: loading loading' + diag(variance).

    Parameters
    ----------
    covariance : ndarray of shape (n_models, n_models)
        Positive semi-definite.

    Returns
    -------
    loading : ndarray of shape (n_models,)
    variance : ndarray of shape (n_models,)
        Such that the diagonal is that of the covariance.

    Notes
    -----
    Principal factors: the leading eigenvector of the covariance without the diagonal that is left over, again and again
    (Harman, Modern Factor Analysis, 1976, chapter 8).

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.joint import one_factor
    >>> loading, variance = one_factor(np.array([[1.0, 0.42, 0.56], [0.42, 1.0, 0.48], [0.56, 0.48, 1.0]]))
    >>> loading.round(2).tolist(), variance.round(2).tolist()
    ([0.7, 0.6, 0.8], [0.51, 0.64, 0.36])
    """
    diagonal = np.diag(covariance)
    loading = np.zeros(len(covariance))
    communality = diagonal / 2.0
    for _ in range(N_ITERATIONS):
        values, vectors = np.linalg.eigh(covariance - np.diag(diagonal - communality))
        loading = np.sqrt(max(float(values[-1]), 0.0)) * vectors[:, -1]
        loading = np.clip(loading, -np.sqrt(diagonal), np.sqrt(diagonal))
        communality = loading**2
    loading = loading if loading.sum() >= 0.0 else -loading
    return loading, np.maximum(diagonal - loading**2, 0.0)


def _stacked(gains: dict[bytes, _Gain]) -> dict[str, Any]:
    """Put the gains of all run sets end to end: few large arrays instead of many small ones."""
    found = list(gains.values())
    return {
        "runs": np.array([list(key) for key in gains], dtype=np.bool_),
        "ends": np.cumsum([len(gain.weights) for gain in found]),
        "weights": np.concatenate([gain.weights for gain in found]),
        "averages": np.concatenate([gain.average for gain in found]),
        "mean": found[0].mean,
        "updates": np.stack([gain.update for gain in found]),
    }


def _unstacked(
    runs: BoolArray,
    ends: npt.NDArray[np.intp],
    weights: FloatArray,
    averages: FloatArray,
    mean: FloatArray,
    updates: FloatArray,
) -> dict[bytes, _Gain]:
    gains, begin = {}, 0
    for run, end, update in zip(runs, ends.tolist(), updates, strict=True):
        gains[run.tobytes()] = _Gain(weights[begin:end], averages[begin:end], mean, update)
        begin = end
    return gains


def _checked_targets(targets: FloatArray, responses: Responses) -> FloatArray:
    values = checked_targets(targets, partly=True)
    if values.shape != responses.run.shape:
        raise ValueError(f"targets: expected the shape of responses.run, {responses.run.shape}, got {values.shape}")
    if len(values) < 2:
        raise ValueError(f"targets: expected at least 2 labelled queries to learn from, got {len(values)}")
    n_models = values.shape[1]
    if n_models > MOST_MODELS:
        raise ValueError(f"targets: JointQuality takes at most {MOST_MODELS} models, got {n_models}; try LinearQuality")
    return values


def _checked_strengths(strengths: Strengths) -> Strengths:
    if not (0.0 <= strengths.pooling < np.inf and all(0.0 < number < np.inf for number in strengths[1:])):
        raise ValueError(f"strengths: expected a pooling >= 0, ridges and a factor > 0, got {strengths}")
    return strengths
