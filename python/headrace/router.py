"""The router: it fits estimators, calibrates a rule, and gives the decider that serves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from headrace.arguments import check_counts
from headrace.beliefs.belief_table import BeliefTable, Kept
from headrace.calibration.calibrator import Calibrator
from headrace.calibration.exchange_rates import Walked
from headrace.calibration.fitted import Plan
from headrace.calibration.guarantee import Guarantee
from headrace.calibration.parts import parted
from headrace.calibration.settings import check_log, check_settings, check_table, check_wanted, checked_largest
from headrace.calibration.shortlist import shortlisted
from headrace.calibration.signals import Alternative, Signals, best_alternative, fit_alternatives, signals
from headrace.diagnosis import Diagnosis, diagnose
from headrace.estimators import CostEstimator, QualityEstimator
from headrace.estimators.parameters import Parameters
from headrace.estimators.protocol import Estimators
from headrace.estimators.registry import default_qualities, resolved, resolved_all
from headrace.notebook import html_table
from headrace.outcomes import Outcomes
from headrace.outcomes.fingerprints import fingerprints, n_shared
from headrace.policy import Policy
from headrace.policy.budget_path import BudgetPath, PathPoint, checked_budget
from headrace.runner.served import Served
from headrace.serving import Decider

__all__ = ["Router"]

#: Attributes that come with a budget or a target.
BUDGETED = ("decider_", "policy_", "point_", "budget_", "guarantee_", "_confidence")


class Router(Parameters, Served):
    """Decides, per query, which model to run next or to stop, at an expected cost that you set.

    Parameters
    ----------
    models : sequence of str, or int; optional
        Models to choose among, by name; or how many of the table's, those worth most
        (docs/decisions/0025-shortlist.md). All of the table by default.
    quality : QualityEstimator, str, or sequence of these; optional
        Unfitted, or the name of one (`headrace.estimators.estimator_names`). Of several, the fit takes that of the
        least error on held-out queries: a later one only if it gains more than the standard error of the difference.
        By default ``("linear", "joint")``, and of more than 40 models ``"linear"``.
    cost : CostEstimator or str, optional
        Unfitted, or the name of one; `LinearCost` by default.
    rule : {"cascade-routing", "cascade", "index", "routing", "threshold-cascade"}, optional
        The rule; see `headrace.rules`. By default cascade routing; where a run shows its quality (a response column of
        that name), the index rule or the cascade, whichever has the larger area on the calibration queries.
    max_depth : int, default 5
        Most models to run for one query (cascade routing and cascade).
    order : sequence of str, optional
        Order of the models in the two cascades; by rising mean cost by default.
    uncertainty_scale : float, optional
        Factor of the standard deviations; chosen in the fit by default.
    answer : {"best", "last"}
        Answer of the model with the highest estimate among those run, or of the last one run.
    mix : {"per-query", "deterministic"}
        Mix two rules per query, so that the budget is used up on average, or use the one of them that keeps the budget
        or the target on the calibration data.
    n_folds : int, default 5
        Folds of the cross-fitting: labels that calibrate are apart from those that fit the estimators.
    seed : int, default 0
        Seed of the folds and of the mixing.

    Attributes
    ----------
    models_ : tuple of str
    rule_ : str
        The rule used.
    bought_ : tuple of str
        Paid columns that are bought after each run at the budget; see `Outcomes`.
    signals_ : Signals or None
        What it brings to buy paid columns, by budget; None for a table without any, and after `buying`.
    path_ : BudgetPath
        What every cost weight would have cost and brought on the calibration data.
    walked_ : Walked
        The walks of the calibration queries: what `path_` sums.
    uncertainty_scale_ : float or None
        None for a rule without one.
    decider_ : Decider
        What serves: the policy and the fitted estimators. This and the next four come with a budget or a target.
    policy_ : Policy
        The two rules and their mixture.
    point_ : PathPoint
        Mean cost, quality and number of runs that the policy had on the calibration data.
    budget_ : dict of str to float or None
        The budget of each cost that has one; None for a quality target.
    guarantee_ : Guarantee or None
        What is promised, where a confidence was given.
    quality_ : QualityEstimator
        The quality estimator used, unfitted.
    quality_errors_ : tuple of float
        Mean squared error of each, where there were several, on held-out queries: `headrace.beliefs.fitting.CrossFit`.
    cost_ : CostEstimator
        The cost estimator used, unfitted.
    estimators_ : tuple of (QualityEstimator, tuple of CostEstimator)
        Fitted, a pair for each fold; a query is served by one of them, by a hash of its id
        (docs/decisions/0004-fold-estimators-serve.md). One pair only where calibration was kept apart.
    query_columns_, response_columns_ : dict of str to (dtype, tuple of int)
        Columns of queries and of responses in the fit: type, and shape of a cell.
    n_dropped_ : int
        Queries that were left out because a cell was missing.

    Examples
    --------
    >>> import headrace as hr
    >>> table = hr.datasets.load_quickstart()
    >>> fitting, fresh = table.split(0.5)
    >>> router = hr.Router(rule="cascade-routing").fit(fitting, budget=100.0)
    >>> session = router.start({name: column[0] for name, column in fresh.queries.items()}, id=fresh.ids[0])
    >>> while (model := session.next()) is not None:
    ...     j = fresh.models.index(model)
    ...     session.observe(model, {name: column[0, j] for name, column in fresh.responses.items()})
    >>> session.answer["answer"] in "0123456789"
    True
    """

    models_: tuple[str, ...]
    rule_: str
    bought_: tuple[str, ...]
    signals_: Signals | None
    path_: BudgetPath
    uncertainty_scale_: float | None
    decider_: Decider
    policy_: Policy
    point_: PathPoint
    budget_: dict[str, float] | None
    guarantee_: Guarantee | None
    quality_: QualityEstimator
    quality_errors_: tuple[float, ...]
    cost_: CostEstimator
    estimators_: tuple[Estimators, ...]
    query_columns_: dict[str, tuple[np.dtype[Any], tuple[int, ...]]]
    response_columns_: dict[str, tuple[np.dtype[Any], tuple[int, ...]]]
    n_dropped_: int
    _alternatives: tuple[Alternative, ...]
    _prices: dict[str, npt.NDArray[np.float64]]
    _seen: npt.NDArray[np.uint64]
    _settings: dict[str, Any]
    _held_out: Kept
    _calibrator: Calibrator
    walked_: Walked
    _confidence: float | None

    def __init__(
        self,
        models: Sequence[str] | int | None = None,
        *,
        quality: QualityEstimator | str | Sequence[QualityEstimator | str] | None = None,
        cost: CostEstimator | str | None = None,
        rule: str | None = None,
        max_depth: int = 5,
        order: Sequence[str] | None = None,
        uncertainty_scale: float | None = None,
        answer: str = "best",
        mix: str = "per-query",
        n_folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.models = models
        self.quality = quality
        self.cost = cost
        self.rule = rule
        self.max_depth = max_depth
        self.order = order
        self.uncertainty_scale = uncertainty_scale
        self.answer = answer
        self.mix = mix
        self.n_folds = n_folds
        self.seed = seed

    def fit(
        self,
        outcomes: Outcomes,
        *,
        calibration: Outcomes | None = None,
        budget: float | Mapping[str, float] | None = None,
        quality_target: float | None = None,
        confidence: float | None = None,
        largest_cost: float | Mapping[str, float] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Self:
        """Fit the estimators and calibrate the rule on labelled queries.

        A fit forgets the one before it; one that fails leaves it whole.

        Parameters
        ----------
        outcomes : Outcomes
            Labelled queries. Rows with a missing quality or cost are left out of the calibration, and of the fit of
            estimators that don't accept them; `n_dropped_` counts them.
        calibration : Outcomes, optional
            Labelled queries to calibrate on; `outcomes` then fits the estimators only. By default both are done with
            `outcomes`, by cross-fitting.
        budget : float or mapping of str to float, optional
            Mean cost per query that may be spent, in the unit of the table's costs; of several costs, the first, or up
            to two by name: ``{"usd": 0.002, "seconds": 1.5}``.
        quality_target : float, optional
            Mean quality to be reached at the least cost. Give this or a budget, or neither: then `path_` is there, and
            `with_budget` gives a router that can decide.
        confidence : float, optional
            Probability, e.g. 0.95, with which the budget or the target is kept on fresh queries; see
            `headrace.calibration.guarantee` for what is assumed. Without `calibration`, one half of the queries, drawn
            at random, fits the estimators, and the other half calibrates.
        largest_cost : float or mapping of str to float, optional
            The most that one query can cost with all its runs, in the unit of the budget; of several costs, the first,
            or by name. It makes the promise of a budget hold where costs have a tail: for each model, its price times
            the limit of tokens; the largest of these for routing, else the sum of the `max_depth` largest. By default
            the costs seen decide, and the promise holds if no query costs more (`guarantee_.condition`).
        progress : callable, optional
            Called with the share done.

        Raises
        ------
        ValueError
            Unknown models or rule; too few queries; a budget below the cheapest feasible cost or a target above the
            best quality (the message states the bound), or too near to it for the confidence (it states how many
            queries would do); a labelled query that cost more than `largest_cost`.

        Warns
        -----
        UserWarning
            A budget is promised without `largest_cost`, and the costs seen have a heavy tail.
        """
        check_settings(self.rule, self.answer, self.mix, self.order)
        check_counts(n_folds=(self.n_folds, 2), seed=(self.seed, 0), max_depth=(self.max_depth, 1))
        cost = resolved("cost", "linear" if self.cost is None else self.cost)
        check_table("outcomes", outcomes)
        check_wanted(budget, quality_target, confidence)
        if budget is not None:
            checked_budget(budget, outcomes.costs)
        is_promised = confidence is not None or calibration is not None
        largest = checked_largest(largest_cost, tuple(outcomes.costs), quality_target, is_promised=is_promised)
        parts = parted(outcomes, calibration, self.models, apart=confidence is not None, seed=int(self.seed))
        parts = shortlisted(parts, self.models, n_folds=int(self.n_folds), seed=int(self.seed))
        wanted = default_qualities(parts.fitting.n_models) if self.quality is None else self.quality
        qualities = resolved_all("quality", wanted)
        alternatives = fit_alternatives(parts, Plan.of(self, qualities, cost), progress=progress)
        for alternative in alternatives:
            alternative.fitted.calibrator.largest_cost = largest
        router = copy.copy(self)
        router._forget()
        router.models_, router.cost_, router._seen = parts.fitting.models, cost, parts.buying(()).seen()
        router.signals_, router._alternatives = signals(alternatives, parts.fitting), alternatives
        vars(router).update(best_alternative(alternatives, None, None).attributes())
        if budget is not None or quality_target is not None:
            router._set_point(budget, quality_target, confidence)
        # All values are there: nothing of another fit stays.
        self._forget()
        vars(self).update(vars(router))
        return self

    def with_budget(self, budget: float | Mapping[str, float], *, confidence: float | None = None) -> Router:
        """Give a copy for another budget, without a fit; errors as in `fit`.

        A confidence needs a fit that kept calibration apart: one with ``confidence=...`` or ``calibration=...``. It
        holds for each budget by itself, with the `largest_cost` of the fit.
        """
        check_wanted(budget, None, confidence)
        return self._at("with_budget", budget, None, confidence)

    def with_quality_target(self, quality_target: float, *, confidence: float | None = None) -> Router:
        """Give a copy for another quality target, without a fit; as `with_budget`."""
        check_wanted(None, quality_target, confidence)
        return self._at("with_quality_target", None, quality_target, confidence)

    def buying(self, columns: Sequence[str] | str = ()) -> Router:
        """Give a copy that buys some paid columns after each run at any budget; no budget is set.

        Parameters
        ----------
        columns : sequence of str, or str
            One of the sets in `signals_`; by default nothing is bought.

        Raises
        ------
        ValueError
            The router is not fitted, or not with such a set.
        """
        wanted = {columns} if isinstance(columns, str) else set(columns)
        for alternative in vars(self).get("_alternatives", ()):
            if set(alternative.bought) == wanted:
                router = self._copy()
                vars(router).update(alternative.attributes(), _alternatives=(alternative,), signals_=None)
                for name in BUDGETED:
                    vars(router).pop(name, None)
                return router
        known = ", ".join(repr(one.bought) for one in vars(self).get("_alternatives", ())) or "none"
        raise ValueError(f"columns: expected a set that was fitted: {known}; got {columns!r}")

    def diagnose(self, outcomes: Outcomes | None = None) -> Diagnosis:
        """Tell how good the estimates are on queries that they have not seen, and what to do about them.

        Parameters
        ----------
        outcomes : Outcomes, optional
            Labelled queries that the fit has not seen; by default, those of the calibration, each of which is estimated
            by the fold's estimators that have not seen it.

        Returns
        -------
        Diagnosis
            Scores, reliability diagrams, and findings in words: print it, or ``plot()`` it.

        Raises
        ------
        ValueError
            Not fitted; or it was pickled, and goes without the calibration queries: give `outcomes`; unknown models.

        Examples
        --------
        >>> import headrace as hr
        >>> table = hr.datasets.load_quickstart().take(range(800))
        >>> diagnosis = hr.Router(quality="constant").fit(table).diagnose()
        >>> print(diagnosis.findings[0].text[:56])
        estimates before any run are the same for every query, f
        """
        if not hasattr(self, "path_"):
            raise ValueError("diagnose: the router is not fitted; call fit first")
        table = self._held_out.table
        if outcomes is not None:
            check_table("outcomes", outcomes)
            labelled = outcomes.labelled(self.models_).buying(self.bought_)
            table = BeliefTable.served(labelled, self.estimators_, seed=int(self.seed))
        if table is None:
            raise ValueError("outcomes: expected labelled queries; a router that was pickled goes without its own")
        return diagnose(table, max_runs=int(self.max_depth))

    def n_seen(self, outcomes: Outcomes) -> int:
        """Count the queries of a table that the fit has seen, by their content: those that can't judge it."""
        return n_shared(self._seen, fingerprints(outcomes.select(self.models_).buying()))

    def recalibrate(self, new_outcomes: Outcomes) -> Router:
        """Give a copy whose cost weight and mixture suit new queries, with the estimators as they are.

        Parameters
        ----------
        new_outcomes : Outcomes
            Where every model ran on every query, the queries are walked anew, and replace those of the calibration.
            From a log, where only some models ran, each model's change of cost is taken: the ratio of its costs to
            those of the calibration, both relative to the estimates and on queries that were sent to it. The path is
            then priced anew; its qualities stay. A warning names the models that have too few runs to tell.

        Returns
        -------
        Router
            For the same budget or target, with the same confidence.

        Raises
        ------
        ValueError
            No budget was given yet; other models or costs; no cost at all; a budget that isn't feasible any more.
        """
        decider = self._served("recalibrate")
        check_table("new_outcomes", new_outcomes)
        new = new_outcomes.select(self.models_).buying(self.bought_)
        check_log(new, decider.policy.costs, complete=self._confidence is not None)
        table = BeliefTable.served(new, self.estimators_, seed=int(self.seed), rates=decider.policy.rates)
        router = self._copy()
        router._calibrator = self._calibrator.updated(table, self.walked_, self.point_)
        if not new.n_missing:
            router._held_out = Kept(table)
        router.walked_ = router._calibrator.walked(decider.policy.rates)
        router._alternatives, router.signals_ = (), None
        router._set_point(self.budget_, decider.quality_target, self._confidence)
        return router

    def __repr__(self) -> str:
        settings = super().__repr__() + (", fitted: " if hasattr(self, "path_") else "")
        if not hasattr(self, "decider_"):
            return settings + (f"{len(self.models_)} models, no budget yet" if hasattr(self, "path_") else "")
        promise = "" if self.guarantee_ is None else f", {self.guarantee_.words}"
        return f"{settings}{self.decider_.headline}{promise}"

    def _repr_html_(self) -> str:
        return html_table(repr(self), self.decider_.told() if hasattr(self, "decider_") else [])

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "path_")

    def _copy(self) -> Router:
        """Give a copy that shares nothing that changes."""
        router = copy.copy(self)
        router._calibrator = self._calibrator.copy()
        router.query_columns_, router.response_columns_ = dict(self.query_columns_), dict(self.response_columns_)
        return router

    def _forget(self) -> None:
        for name in [name for name in vars(self) if name.startswith("_") or name.endswith("_")]:
            delattr(self, name)

    def _served(self, method: str) -> Decider:
        if not hasattr(self, "decider_"):
            wanted = "fit with budget=... or quality_target=..., or use with_budget(...)"
            raise ValueError(f"{method}: no budget yet; {wanted}")
        return self.decider_

    def _at(self, method: str, *wanted: Any) -> Router:
        if not hasattr(self, "path_"):
            raise ValueError(f"{method}: the router is not fitted; call fit first")
        router = self._copy()
        router._set_point(*wanted)
        return router

    def _set_point(
        self, budget: float | Mapping[str, float] | None, quality_target: float | None, confidence: float | None
    ) -> None:
        limits = None if budget is None else checked_budget(budget, self._calibrator.costs)
        if len(self._alternatives) > 1:
            best = best_alternative(self._alternatives, limits, quality_target)
            if best.bought != self.bought_:
                vars(self).update(best.attributes())
        chosen = self._calibrator.chosen(self.walked_, limits, quality_target, confidence, mix=self.mix)
        point = self.point_ = chosen.point
        self.walked_, self.path_ = chosen.walked, chosen.walked.path
        self.policy_ = Policy(
            self.models_,
            self.rule_,
            self._settings,
            point.parameters,
            point.share,
            seed=int(self.seed),
            costs=self._calibrator.costs,
            rates=chosen.walked.rates,
        )
        self.decider_ = Decider(
            policy=self.policy_,
            estimators=self.estimators_,
            query_columns=dict(self.query_columns_),
            response_columns=dict(self.response_columns_),
            path=self.path_,
            point=point,
            budget=limits,
            quality_target=None if quality_target is None else float(quality_target),
            answer=self.answer,
            mix=self.mix,
            promised=chosen.promised,
            wanted=self._prices,
            price_changes=dict(self._calibrator.price_changes),
        )
        self.budget_, self.guarantee_, self._confidence = limits, chosen.guarantee, confidence
