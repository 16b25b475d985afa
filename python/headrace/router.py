"""The router: estimators, a rule, and the budget path that calibrates it."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from headrace.arrays import FloatArray, IndexArray, listed
from headrace.belief_table import BeliefTable, Estimators, Kept, fit_estimators, outside_groups, weighed
from headrace.blas import one_blas_thread
from headrace.budget_path import BudgetPath, PathPoint, checked_budget
from headrace.calibration import calibrate, rule_settings
from headrace.calibrator import Calibrator
from headrace.controller import BudgetController
from headrace.diagnosis import Diagnosis, diagnose
from headrace.estimators import CostEstimator, LinearCost, QualityEstimator, load
from headrace.exchange_rates import Walked
from headrace.guarantee import Guarantee
from headrace.monitor import Monitor
from headrace.outcomes import Outcomes
from headrace.policy import RULES, Policy, fold_of, folds_of
from headrace.responses import Responses
from headrace.scalars import checked_int, checked_number
from headrace.session import Session, checked_caps

__all__ = ["Router"]

#: Fewest labelled queries for a fit: below, no cross-fitting is possible.
FEWEST_QUERIES = 4

#: Quality estimators from which the fit chooses where none is given.
DEFAULT_QUALITIES = ("linear", "joint")

#: Share of the queries that fits the estimators where a guarantee needs others to calibrate.
FITTING_SHARE = 0.5


class Router:
    """Decides, per query, which model to run next or to stop, at an expected cost that you set.

    Parameters
    ----------
    models : sequence of str, optional
        Models to choose among, by name; all of the table by default.
    quality : QualityEstimator, str, or sequence of these; optional
        Unfitted, or the name of one (`headrace.estimators.estimator_names`). Of several, the fit takes the one with the
        smallest error on held-out queries: a later one only if it is better by more than the standard error of the
        difference. By default ``("linear", "joint")``.
    cost : CostEstimator or str, optional
        Unfitted, or the name of one; `LinearCost` by default.
    rule : {"cascade-routing", "cascade", "index", "routing", "threshold-cascade"}
        The rule; see `headrace.rules`.
    max_depth : int, default 5
        Most models to run for one query (cascade routing and cascade).
    order : sequence of str, optional
        Order of the models in the two cascades; by rising mean cost by default.
    uncertainty_scale : float, optional
        Factor of the standard deviations; chosen in the fit by default.
    answer : {"best", "last"}
        Answer of the model with the highest estimate among those run, or of the last one run.
    mix : {"per-query", "deterministic"}
        Mix two rules per query, so that the budget is used up on average, or use one of them alone: the cheaper for a
        budget, the dearer for a quality target, so that either is kept on the calibration data.
    step_weights : sequence of float or "search", optional
        Factors of the cost weight at the first step, the second, and so on; by default one cost weight for all steps.
        "search" looks for better ones in the fit (docs/decisions/0005-one-cost-weight.md says why it isn't the
        default).
    n_folds : int, default 5
        Folds of the cross-fitting that keeps the labels that calibrate apart from those that fit the estimators.
    seed : int, default 0
        Seed of the folds and of the mixing.

    Attributes
    ----------
    models_ : tuple of str
        The models.
    path_ : BudgetPath
        What every cost weight would have cost and brought on the calibration data.
    uncertainty_scale_ : float or None
        The scale used; None for a rule without one.
    step_weights_ : tuple of float
        Factors of the cost weight at each step; empty: one for all.
    policy_ : Policy
        The two rules and their mixture. Only after a budget or a target was given.
    point_ : PathPoint
        Mean cost, quality and number of runs that the policy had on the calibration data.
    budget_ : dict of str to float or None
        The budget of each cost that has one; None for a quality target.
    guarantee_ : Guarantee or None
        What is promised, where a confidence was given.
    quality_ : QualityEstimator
        The quality estimator used, unfitted.
    quality_errors_ : tuple of float
        Mean squared error on held-out queries of each, where there were several; see `BeliefTable.held_out_errors`.
    estimators_ : tuple of (QualityEstimator, tuple of CostEstimator)
        Fitted estimators, a pair for each fold, with a cost estimator for each cost. A query is served by one of them,
        by a hash of its id: what the folds were calibrated with is what runs
        (docs/decisions/0004-fold-estimators-serve.md). One pair only where calibration was kept apart.
    response_columns_ : dict of str to (dtype, tuple of int)
        Columns of responses in the fit: type, and shape of a cell.
    n_dropped_ : int
        Queries of the fit that were left out because a quality or a cost was missing.

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
    path_: BudgetPath
    uncertainty_scale_: float | None
    step_weights_: tuple[float, ...]
    policy_: Policy
    point_: PathPoint
    budget_: dict[str, float] | None
    guarantee_: Guarantee | None
    quality_: QualityEstimator
    quality_errors_: tuple[float, ...]
    estimators_: tuple[Estimators, ...]
    response_columns_: dict[str, tuple[np.dtype[Any], tuple[int, ...]]]
    n_dropped_: int

    def __init__(
        self,
        models: Sequence[str] | None = None,
        *,
        quality: QualityEstimator | str | Sequence[QualityEstimator | str] | None = None,
        cost: CostEstimator | str | None = None,
        rule: str = "cascade-routing",
        max_depth: int = 5,
        order: Sequence[str] | None = None,
        uncertainty_scale: float | None = None,
        answer: str = "best",
        mix: str = "per-query",
        step_weights: Sequence[float] | str | None = None,
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
        self.step_weights = step_weights
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
        progress: Callable[[float], None] | None = None,
    ) -> Self:
        """Fit the estimators and calibrate the rule on labelled queries.

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
            `headrace.guarantee` for what is assumed. Without `calibration`, one half of the queries, drawn at random,
            fits the estimators, and the other half calibrates.
        progress : callable, optional
            Called with the share done.

        Returns
        -------
        Router
            This one.

        Raises
        ------
        ValueError
            Unknown models or rule; too few queries; a budget below the cheapest feasible cost or a target above the
            best quality (the message states the bound), or too near to it for the confidence.
        """
        self._check_settings()
        if not isinstance(outcomes, Outcomes):
            raise TypeError(f"outcomes: expected an Outcomes table, got {type(outcomes).__name__}")
        _check_wanted(budget, quality_target, confidence)
        if budget is not None:
            checked_budget(budget, outcomes.costs)
        fitting, n_dropped = self._complete("outcomes", outcomes, FEWEST_QUERIES)
        partial = self._partial(outcomes)
        apart: Outcomes | None = None
        if calibration is not None:
            if not isinstance(calibration, Outcomes):
                raise TypeError(f"calibration: expected an Outcomes table, got {type(calibration).__name__}")
            apart, n_more = self._complete("calibration", calibration, 1)
            n_dropped += n_more
            if (apart.models, tuple(apart.costs)) != (fitting.models, tuple(fitting.costs)):
                raise ValueError("calibration: expected the models and costs of outcomes")
        elif confidence is not None:
            if fitting.n_queries < 2 * FEWEST_QUERIES:
                wanted = f"at least {2 * FEWEST_QUERIES} complete queries for a confidence"
                raise ValueError(f"outcomes: expected {wanted}, got {fitting.n_queries}")
            fitting, apart = fitting.split(FITTING_SHARE, rng=int(self.seed))
        self._calibrate(fitting, partial, apart, progress)
        self.n_dropped_ = n_dropped
        self.__dict__.pop("policy_", None)
        if budget is not None or quality_target is not None:
            self._set_point(budget, quality_target, confidence)
        return self

    def with_budget(self, budget: float | Mapping[str, float], *, confidence: float | None = None) -> Router:
        """Give a copy for another budget, without a fit; errors as in `fit`.

        A confidence needs a fit that kept calibration apart: one with ``confidence=...`` or ``calibration=...``. It
        holds for each budget by itself.
        """
        _check_wanted(budget, None, confidence)
        return self._at(budget, None, confidence)

    def with_quality_target(self, quality_target: float, *, confidence: float | None = None) -> Router:
        """Give a copy for another quality target, without a fit; as `with_budget`."""
        _check_wanted(None, quality_target, confidence)
        return self._at(None, quality_target, confidence)

    def start(
        self,
        query: Mapping[str, Any] | str,
        *,
        id: str | None = None,  # the word that users say
        allowed: Sequence[str] | None = None,
        max_cost: float | Mapping[str, float] | None = None,
        max_seconds: float | None = None,
        session: Mapping[str, float] | None = None,
    ) -> Session:
        """Start the walk over one query.

        Parameters
        ----------
        query : mapping of str to value, or str
            The query's columns, as in the table of the fit; a str stands for ``{"text": ...}``.
        id : str, optional
            Which of the policy's two rules and which fold's estimators decide depends on it: the same id gets the same
            treatment everywhere. By default a hash of the query's columns.
        allowed : sequence of str, optional
            Models that may run; all by default.
        max_cost : float or mapping of str to float, optional
            Cap on the cost of all runs together, by estimate at every step; of several costs, on the first, or on each
            that is named.
        max_seconds : float, optional
            The same as ``max_cost={"seconds": ...}``, for a table with a cost of that name.
        session : mapping of str to float, optional
            What running a model costs more in the state that a conversation is in, such as a prompt cache that only the
            model used so far holds; models that aren't named cost nothing more.

        Returns
        -------
        Session

        Raises
        ------
        ValueError
            No budget was given yet; an unknown model.
        """
        self._need_policy("start")
        columns = {"text": query} if isinstance(query, str) else dict(query)
        query_id = _content_id(columns) if id is None else str(id)
        quality, costs = self.estimators_[fold_of(self.seed, query_id, len(self.estimators_))]
        if max_seconds is not None:
            max_cost = checked_caps(max_cost, self.policy_.costs) | {"seconds": max_seconds}
        return Session(
            self.policy_,
            quality,
            costs,
            columns,
            id=query_id,
            response_columns=self.response_columns_,
            answer=self.answer,
            allowed=allowed,
            max_cost=max_cost,
            switching_cost=session,
        )

    def select_batch(
        self,
        queries: Mapping[str, npt.ArrayLike],
        *,
        ids: Sequence[str] | None = None,
        responses: Responses | None = None,
        threads: int | None = None,
    ) -> npt.NDArray[np.int32]:
        """Decide for many queries at once what `Session.next` decides for one.

        Parameters
        ----------
        queries : mapping of str to array-like of shape (n_queries,) or (n_queries, d)
            The queries' columns, as in the table of the fit.
        ids : sequence of str of length n_queries, optional
            As in `start`; by default a hash of each query's columns.
        responses : Responses, optional
            What the models that have run returned; by default none has run.
        threads : int, optional
            Threads for the decisions; all cores by default. The result doesn't depend on it.

        Returns
        -------
        int32 ndarray of shape (n_queries,)
            Index in `models_` of the model to run next; -1 = stop.

        Raises
        ------
        ValueError
            No budget was given yet; columns of different lengths, or without those of the fit.

        Examples
        --------
        >>> import headrace as hr
        >>> fitting, fresh = hr.datasets.load_quickstart().split(0.5)
        >>> router = hr.Router(rule="routing").fit(fitting, budget=100.0)
        >>> chosen = router.select_batch(fresh.queries, ids=fresh.ids)
        >>> session = router.start({name: column[0] for name, column in fresh.queries.items()}, id=fresh.ids[0])
        >>> router.models_[chosen[0]] == session.next()
        True
        """
        self._need_policy("select_batch")
        columns = {name: np.asarray(values) for name, values in queries.items()}
        n = len(next(iter(columns.values()))) if columns else len(ids or ())
        for name, values in columns.items():
            if values.ndim < 1 or len(values) != n:
                raise ValueError(f"queries: column {name!r} has shape {values.shape}, expected ({n},) or ({n}, d)")
        if ids is None:
            ids = [_content_id({name: values[row] for name, values in columns.items()}) for row in range(n)]
        if len(ids) != n:
            raise ValueError(f"ids: expected one for each of {n} queries, got {len(ids)}")
        seen = self._nothing_ran(n) if responses is None else responses
        if seen.run.shape != (n, len(self.models_)):
            raise ValueError(f"responses: expected shape ({n}, {len(self.models_)}), got {seen.run.shape}")
        fold_of_row = folds_of(int(self.seed), ids, len(self.estimators_))
        chosen = np.empty(n, dtype=np.int32)
        for rows in _alike(np.column_stack([fold_of_row, seen.run])):
            quality, costs = self.estimators_[fold_of_row[rows[0]]]
            here, ran = {name: values[rows] for name, values in columns.items()}, seen.take(rows)
            with one_blas_thread:
                belief = quality.predict(here, ran)
                price = weighed(np.stack([cost.predict(here, ran) for cost in costs]), self.policy_.rates)
            chosen[rows] = self.policy_.select_batch(
                belief.quality,
                price,
                ids=[ids[row] for row in rows.tolist()],
                variance=belief.variance,
                covariance=belief.covariance,
                loading=belief.loading,
                run=ran.run,
                threads=threads,
            )
        return chosen

    def monitor(self, *, confidence: float = 0.95) -> Monitor:
        """Watch whether cost and quality of served queries are still those of the calibration.

        Parameters
        ----------
        confidence : float, default 0.95
            Probability that no drift is ever reported while there is none, however often one looks.

        Returns
        -------
        Monitor
            Give it each session that has ended: ``monitor.observe(session, quality=...)``.

        Raises
        ------
        ValueError
            No budget was given yet.
        """
        self._need_policy("monitor")
        _check_confidence(confidence)
        return Monitor(*self._calibrator.promised(self._walked, self.point_), confidence)

    def controller(self, *, horizon: int = 200) -> BudgetController:
        """Give a controller that keeps the mean cost on the budget while prices and queries drift.

        Parameters
        ----------
        horizon : int, default 200
            Number of queries over which an overspend is paid back.

        Raises
        ------
        ValueError
            The router has no budget, or budgets for several costs.
        """
        self._need_policy("controller")
        return BudgetController(self, horizon=horizon)

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
            Scores per model and number of models run, reliability diagrams, and findings in words: print it, or
            ``plot()`` it.

        Raises
        ------
        ValueError
            The router is not fitted; it was pickled, and goes without the calibration queries: give `outcomes`; unknown
            models.

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
            if not isinstance(outcomes, Outcomes):
                raise TypeError(f"outcomes: expected an Outcomes table, got {type(outcomes).__name__}")
            complete = self._complete("outcomes", outcomes.select(self.models_), 1)[0]
            table = BeliefTable.served(complete, self.estimators_, seed=int(self.seed))
        if table is None:
            raise ValueError("outcomes: expected labelled queries; a router that was pickled goes without its own")
        return diagnose(table, max_runs=int(self.max_depth))

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
        self._need_policy("recalibrate")
        if not isinstance(new_outcomes, Outcomes):
            raise TypeError(f"new_outcomes: expected an Outcomes table, got {type(new_outcomes).__name__}")
        new = new_outcomes.select(self.models_)
        if tuple(new.costs) != self._calibrator.costs:
            raise ValueError(f"new_outcomes: expected the costs {self._calibrator.costs}, got {tuple(new.costs)}")
        if all(np.isnan(cost).all() for cost in new.costs.values()):
            raise ValueError("new_outcomes: expected costs of runs, got none")
        if new.missing and self._confidence is not None:
            wanted = "every model's quality and cost on each query, for a router with a confidence"
            raise ValueError(f"new_outcomes: expected {wanted}; got {new.missing} missing cells")
        router = copy.copy(self)
        table = BeliefTable.served(new, self.estimators_, seed=int(self.seed), rates=self.policy_.rates)
        if new.missing:
            router._calibrator = self._calibrator.repriced(table, self._walked, self.point_)
        else:
            router._calibrator = self._calibrator.replaced(table)
            router._held_out = Kept(table)
        router._use(router._calibrator.walked(self.policy_.rates))
        router._set_point(self.budget_, self._target, self._confidence)
        return router

    def _nothing_ran(self, n: int) -> Responses:
        k = len(self.models_)
        columns = {
            name: np.empty((n, k, *shape), dtype=dtype) for name, (dtype, shape) in self.response_columns_.items()
        }
        return Responses(np.zeros((n, k), dtype=np.bool_), columns)

    def _need_policy(self, method: str) -> None:
        if not hasattr(self, "policy_"):
            wanted = "fit with budget=... or quality_target=..., or use with_budget(...)"
            raise ValueError(f"{method}: no budget yet; {wanted}")

    def _complete(self, argument: str, outcomes: Outcomes, fewest: int) -> tuple[Outcomes, int]:
        """Give the complete rows of the router's models, and how many were dropped."""
        if self.models is not None:
            outcomes = outcomes.select(self.models)
        columns = (outcomes.quality, *outcomes.costs.values())
        unlabelled = np.any([np.isnan(values).all(axis=0) for values in columns], axis=0)
        if unlabelled.any():
            named = listed(name for name, lacks in zip(outcomes.models, unlabelled, strict=True) if lacks)
            raise ValueError(f"{argument}: no quality or no cost at all for {named}; leave it out with models=...")
        complete = outcomes.complete() if outcomes.missing else outcomes
        if complete.n_queries < fewest:
            raise ValueError(f"{argument}: expected at least {fewest} complete queries, got {complete.n_queries}")
        return complete, outcomes.n_queries - complete.n_queries

    def _given_qualities(self) -> tuple[QualityEstimator | str, ...]:
        given = DEFAULT_QUALITIES if self.quality is None else self.quality
        return tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)

    def _unfitted_qualities(self) -> list[QualityEstimator]:
        """Give the quality estimators to choose from, those named made."""
        return [load(given) if isinstance(given, str) else given for given in self._given_qualities()]

    def _unfitted_cost(self) -> CostEstimator:
        return load(self.cost, "cost") if isinstance(self.cost, str) else self.cost or LinearCost()

    def _partial(self, outcomes: Outcomes) -> Outcomes | None:
        """Give the rows with missing cells; they help to fit estimators that accept them."""
        if self.models is not None:
            outcomes = outcomes.select(self.models)
        rows = outcomes.incomplete
        return outcomes.take(rows) if rows.any() else None

    def _calibrate(
        self,
        fitting: Outcomes,
        partial: Outcomes | None,
        apart: Outcomes | None,
        progress: Callable[[float], None] | None,
    ) -> None:
        """Fit the estimators, choose the rule's settings, and walk the calibration queries."""
        qualities, cost = self._unfitted_qualities(), self._unfitted_cost()
        n_folds = min(self.n_folds, fitting.n_queries // 2)
        table = BeliefTable.cross_fit(
            fitting, qualities[0], cost, n_folds=n_folds, seed=int(self.seed), partial=partial
        )
        quality = qualities[0]
        self.quality_errors_ = ()
        if len(qualities) > 1:
            tables = [table, *(table.refitted(other, partial) for other in qualities[1:])]
            errors = [table.held_out_errors(max_depth=int(self.max_depth)) for table in tables]
            self.quality_errors_ = tuple(float(error.mean()) for error in errors)
            best = _best(errors)
            table, quality = tables[best], qualities[best]
        self.quality_ = quality
        chosen = calibrate(
            self.rule,
            table,
            settings=rule_settings(self.rule, fitting, max_depth=int(self.max_depth), order=self.order),
            uncertainty_scale=None if self.uncertainty_scale is None else float(self.uncertainty_scale),
            step_weights=() if self.step_weights is None else self.step_weights,
            answer=self.answer,
            progress=progress,
        )
        self.models_ = fitting.models
        self.estimators_ = table.estimators
        served = table
        if apart is not None:
            self.estimators_ = (fit_estimators(fitting, quality, cost, outside_groups(partial, apart)),)
            served = BeliefTable.served(apart, self.estimators_)
        self.uncertainty_scale_ = chosen.settings.get("uncertainty_scale")
        self.step_weights_ = chosen.step_weights
        self._settings = chosen.settings
        self.response_columns_ = {name: (values.dtype, values.shape[2:]) for name, values in fitting.responses.items()}
        self._held_out = Kept(served)
        self._calibrator = Calibrator(self.rule, chosen, self.answer, served, None if apart is None else table)
        self._use(self._calibrator.walked((1.0,)))

    def _use(self, walked: Walked) -> None:
        self._walked = walked
        self.path_ = walked.path

    def _at(
        self, budget: float | Mapping[str, float] | None, quality: float | None, confidence: float | None
    ) -> Router:
        if not hasattr(self, "path_"):
            named = "with_budget" if quality is None else "with_quality_target"
            raise ValueError(f"{named}: the router is not fitted; call fit first")
        router = copy.copy(self)
        router._set_point(budget, quality, confidence)
        return router

    def _set_point(
        self, budget: float | Mapping[str, float] | None, quality: float | None, confidence: float | None
    ) -> None:
        costs = self._calibrator.costs
        limits = None if budget is None else checked_budget(budget, costs)
        rates = (1.0,) if limits is None else self._calibrator.balanced(limits)
        if rates != self._walked.rates:
            self._use(self._calibrator.walked(rates))
        if limits is not None:
            point = self._calibrator.within(self._walked, limits)
        else:
            assert quality is not None  # one of the two is given
            point = self.path_.reaching(float(quality), "quality_target")
        self.guarantee_ = None
        if confidence is not None:
            point, self.guarantee_ = self._calibrator.guaranteed(self._walked, limits, quality, confidence, point)
        elif self.mix == "deterministic":
            cheap, dear = point.parameters
            point = self.path_.realised(cheap if quality is None else dear)
        self.point_ = point
        self.policy_ = Policy(
            self.models_,
            self.rule,
            self._settings,
            point.parameters,
            point.share,
            int(self.seed),
            costs,
            rates,
            self.step_weights_,
        )
        self.budget_ = limits
        self._target, self._confidence = quality, confidence

    def _check_settings(self) -> None:
        choices = {"rule": tuple(RULES), "answer": ("best", "last"), "mix": ("per-query", "deterministic")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}; got {getattr(self, name)!r}")
        qualities = self._given_qualities()
        if not qualities:
            raise ValueError("quality: expected at least one estimator, got none")
        costs = () if self.cost is None else (self.cost,)
        for name, estimator in (*(("quality", given) for given in qualities), *(("cost", given) for given in costs)):
            if isinstance(estimator, str):
                continue
            # A class has its methods, too, but is not yet an estimator.
            if isinstance(estimator, type) or not isinstance(estimator, QualityEstimator):
                raise TypeError(f"{name}: expected an estimator with fit and predict, got {estimator!r}")
        for name, least in (("n_folds", 2), ("seed", 0), ("max_depth", 1)):
            checked_int(name, getattr(self, name), least)
        if self.order is not None and self.rule not in ("cascade", "threshold-cascade"):
            raise ValueError(f"order: expected None for {self.rule}, which has no order of its own, got {self.order!r}")
        _check_step_weights(self.step_weights)


def _check_step_weights(weights: Any) -> None:
    if weights is None or (isinstance(weights, str) and weights == "search"):
        return
    wanted = 'finite numbers > 0, or "search"'
    if isinstance(weights, str) or not hasattr(weights, "__iter__"):
        raise ValueError(f"step_weights: expected {wanted}, got {weights!r}")
    for weight in weights:
        if isinstance(weight, bool) or not isinstance(weight, Real) or not 0.0 < float(weight) < np.inf:
            raise ValueError(f"step_weights: expected {wanted}, got {weight!r}")


def _check_wanted(budget: Any, quality_target: Any, confidence: Any) -> None:
    if budget is not None and quality_target is not None:
        raise ValueError("budget, quality_target: expected at most one of them")
    if quality_target is not None:
        checked_number("quality_target", quality_target)
    if confidence is None:
        return
    _check_confidence(confidence)
    if budget is None and quality_target is None:
        raise ValueError("confidence: expected a budget or a quality_target to promise")


def _check_confidence(confidence: Any) -> None:
    if isinstance(confidence, bool) or not isinstance(confidence, Real) or not 0.0 < float(confidence) < 1.0:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence!r}")


def _best(errors: Sequence[FloatArray]) -> int:
    """Which errors are the smallest on average; the first ones, unless others are by more than a standard error."""
    best = 0
    for other in range(1, len(errors)):
        gain = errors[best] - errors[other]
        if gain.mean() > gain.std() / np.sqrt(len(gain)):
            best = other
    return best


def _alike(rows: npt.NDArray[Any]) -> list[IndexArray]:
    """Group the numbers of equal rows."""
    if not len(rows):
        return []
    _, group = np.unique(rows, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    return np.split(order, np.cumsum(np.bincount(group.ravel()))[:-1])


def _content_id(columns: Mapping[str, Any]) -> str:
    """Give a query without an id one: a hash of its columns, which doesn't show them."""
    text = json.dumps(
        columns, sort_keys=True, default=lambda value: value.tolist() if hasattr(value, "tolist") else repr(value)
    )
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
