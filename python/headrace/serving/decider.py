"""The decider: a policy and fitted estimators. It serves one query, a batch, a frame; it has never seen a label."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import listed
from headrace.estimators.one_query import Kinds, OneQuery
from headrace.estimators.protocol import Estimators
from headrace.estimators.responses import Responses
from headrace.notebook import html_table
from headrace.policy import Policy
from headrace.policy.budget_path import BudgetPath, PathPoint, checked_budget, shown_limits
from headrace.policy.hashing import content_id, fold_of, folds_of
from headrace.policy.run_sets import run_sets
from headrace.serving.artefact import write_artefact
from headrace.serving.batches import decided
from headrace.serving.columns import alike, checked_batch, checked_query, nothing_ran
from headrace.serving.frames import Frame
from headrace.serving.limits import Limits, limits_of
from headrace.serving.promised import Promised
from headrace.serving.resumed import resumed
from headrace.serving.served import Served
from headrace.serving.session import Session

__all__ = ["Decider"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Decider:
    """A policy and the fitted estimators that it decides by; made by `Router.fit` as ``router.decider_``.

    Immutable; threads may share it.

    Attributes
    ----------
    policy : Policy
    estimators : tuple of (QualityEstimator, tuple of CostEstimator)
        Fitted, a pair for each fold; a query is served by one of them, by a hash of its id.
    query_columns : mapping of str to (dtype, tuple of int)
        Columns of queries in the fit: type, and shape of a cell.
    response_columns : mapping of str to (dtype, tuple of int)
        Columns of responses in the fit: type, and shape of a cell.
    path : BudgetPath
        What every other cost weight would have cost and brought.
    point : PathPoint
        Mean cost, quality and number of runs that the policy had on the calibration queries.
    budget : dict of str to float or None
        The budget of each cost that has one; None for a quality target.
    quality_target : float or None
    answer : {"best", "last"}
        Answer of the model with the highest estimate among those run, or of the last one run.
    mix : {"per-query", "deterministic"}
    promised : Promised or None
        What a monitor compares with; None after `with_budget`.
    wanted : mapping of str to ndarray of shape (n_models,)
        Response columns that are to be bought after each run: the mean price of each, by model, in the first cost.
    price_changes : mapping of str to ndarray of shape (n_models,)
        Factors of the costs since the fit, as `Router.recalibrate` has found them; evidence is taken at old prices.

    Examples
    --------
    >>> import headrace as hr
    >>> fitting, fresh = hr.datasets.load_quickstart().split(0.5)
    >>> decider = hr.Router(rule="routing").fit(fitting, budget=100.0).decider_
    >>> decider
    Decider(routing, 5 models, budget 100: mean cost 100, quality 0.913 expected)
    >>> decider.start({name: column[0] for name, column in fresh.queries.items()}, id="q-17").next() in decider.models
    True
    """

    policy: Policy
    estimators: tuple[Estimators, ...]
    query_columns: Kinds
    response_columns: Kinds
    path: BudgetPath
    point: PathPoint
    budget: dict[str, float] | None = None
    quality_target: float | None = None
    answer: str = "best"
    mix: str = "per-query"
    promised: Promised | None = None
    wanted: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    price_changes: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Decider({self.headline})"

    @property
    def headline(self) -> str:
        """What it is, in one line."""
        limits = self.budget or {"quality": self.quality_target or 0.0}
        wanted = f"{'quality target' if self.budget is None else 'budget'} {shown_limits(limits)}"
        expected = f"mean {self.policy.costs[0]} {self.point.cost:.4g}, quality {self.point.quality:.3f} expected"
        bought = f", buying {' and '.join(self.wanted)}" if self.wanted else ""
        return f"{self.policy.rule}, {len(self.models)} models{bought}, {wanted}: {expected}"

    def _repr_html_(self) -> str:
        return html_table(repr(self), self.told())

    def told(self) -> list[tuple[str, str]]:
        """Say in a few lines what it is: names and values."""
        policy, point = self.policy, self.point
        limits = self.budget or {"quality": self.quality_target or 0.0}
        return [
            ("models", ", ".join(policy.models)),
            ("rule", policy.rule),
            ("quality target" if self.budget is None else "budget", shown_limits(limits)),
            (f"mean {policy.costs[0]} expected", f"{point.cost:.4g}"),
            ("mean quality expected", f"{point.quality:.4f}"),
            ("runs per query expected", f"{point.n_runs:.2f}"),
            *([("bought after each run", ", ".join(self.wanted))] if self.wanted else []),
        ]

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of the policy and of the path that it was chosen on: logs tell by it who decided."""
        digest = hashlib.blake2b(self.policy.to_json().encode(), digest_size=8)
        for values in (self.path.parameter, self.path.cost, self.path.quality):
            digest.update(values.tobytes())
        return digest.hexdigest()

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models."""
        return self.policy.models

    def start(
        self,
        query: Mapping[str, Any] | str,
        *,
        id: str | None = None,  # the word that users say
        allowed: Sequence[str] | None = None,
        deny: Sequence[str] = (),
        max_cost: float | Mapping[str, float] | None = None,
        switching_cost: Mapping[str, float] | None = None,
        prices: Mapping[str, float] | None = None,
        strict: bool = True,
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
        deny : sequence of str
            Models that may not.
        max_cost : float or mapping of str to float, optional
            Cap on the cost of all runs together, by estimate at every step; of several costs, on the first, or on each
            that is named, e.g. ``{"seconds": 2.0}``.
        switching_cost : mapping of str to float, optional
            What running a model costs more in the state that a conversation is in, such as a prompt cache that only the
            model used so far holds; models that aren't named cost nothing more.
        prices : mapping of str to float, optional
            Factors of the models' costs since the fit, e.g. ``{"large": 0.5}`` after a price cut. Estimates are taken
            times them, and a cost that is observed counts as evidence at the prices of the fit.
        strict : bool, default True
            Refuse a query with other columns than the fit had. Without it, columns that are unknown are left out, and
            those that lack count as average.

        Returns
        -------
        Session

        Raises
        ------
        UnknownColumn, MissingColumn
            Other columns than the fit had.
        TypeError, ValueError
            A value that doesn't fit its column; an unknown model or cost; a cap, a price or a switching cost that isn't
            a number >= 0.
        """
        cells = checked_query(query, self.query_columns, self._optional, strict=strict)
        query_id = content_id(cells) if id is None else str(id)
        fold = fold_of(self.policy.seed, query_id, len(self.estimators)) if len(self.estimators) > 1 else 0
        limits = self._unlimited
        is_free = allowed is None and max_cost is None and switching_cost is None and prices is None
        if not (is_free and type(deny) is tuple and not deny):
            limits = limits_of(
                self.policy,
                allowed=allowed,
                deny=deny,
                max_cost=max_cost,
                switching_cost=switching_cost,
                prices=prices,
            )
        return Session(self._served[fold], OneQuery(cells, self.query_columns), limits, query_id)

    def resume(self, state: Mapping[str, Any]) -> Session:
        """Go on with a session that `Session.to_dict` gave; it decides as it would have there.

        Parameters
        ----------
        state : mapping
            As it was given, or read from JSON again.

        Raises
        ------
        TypeError, ValueError
            Something else, or a session over other models; values that `start` and `Session.observe` refuse.

        Examples
        --------
        >>> import json
        >>> import headrace as hr
        >>> from headrace.datasets import NoisyOracle, simulate
        >>> table = simulate(300, 3)
        >>> decider = hr.Router(quality=NoisyOracle()).fit(table, budget=0.003).decider_
        >>> session = decider.start({name: column[0] for name, column in table.queries.items()}, id="q-1")
        >>> session.observe(session.next(), {}, cost=0.001)
        >>> again = decider.resume(json.loads(json.dumps(session.to_dict())))
        >>> again.next() == session.next(), again.costs == session.costs
        (True, True)
        """
        session: Session = resumed(self, state)
        return session

    def select_batch(
        self,
        queries: Mapping[str, npt.ArrayLike],
        *,
        ids: Sequence[str] | None = None,
        responses: Responses | None = None,
        threads: int | None = None,
        strict: bool = True,
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
        strict : bool, default True
            As in `start`.

        Returns
        -------
        int32 ndarray of shape (n_queries,)
            Index in `models` of the model to run next; -1 = stop.

        Raises
        ------
        UnknownColumn, MissingColumn
            Other columns than the fit had.
        TypeError, ValueError
            Columns of different lengths, or of other kinds than in the fit.

        Examples
        --------
        >>> import headrace as hr
        >>> fitting, fresh = hr.datasets.load_quickstart().split(0.5)
        >>> decider = hr.Router(rule="routing").fit(fitting, budget=100.0).decider_
        >>> chosen = decider.select_batch(fresh.queries, ids=fresh.ids)
        >>> session = decider.start({name: column[0] for name, column in fresh.queries.items()}, id=fresh.ids[0])
        >>> decider.models[chosen[0]] == session.next()
        True
        """
        columns = checked_batch(queries, self.query_columns, self._optional, strict=strict)
        n = len(next(iter(columns.values()))) if columns else len(ids or ())
        for name, values in columns.items():
            if values.ndim < 1 or len(values) != n:
                raise ValueError(f"queries: column {name!r} has shape {values.shape}, expected ({n},) or ({n}, d)")
        if ids is None:
            ids = [content_id({name: values[row] for name, values in columns.items()}) for row in range(n)]
        if len(ids) != n:
            raise ValueError(f"ids: expected one for each of {n} queries, got {len(ids)}")
        seen = nothing_ran(n, len(self.models), self.response_columns) if responses is None else responses
        if seen.run.shape != (n, len(self.models)):
            raise ValueError(f"responses: expected shape ({n}, {len(self.models)}), got {seen.run.shape}")
        fold_of_row = folds_of(self.policy.seed, ids, len(self.estimators))
        chosen = np.empty(n, dtype=np.int32)
        for rows in alike(np.column_stack([fold_of_row, seen.run])):
            here = {name: values[rows] for name, values in columns.items()}
            ran = seen if responses is None and len(rows) == n else seen.take(rows)
            those = [ids[row] for row in rows.tolist()]
            chosen[rows] = decided(self._served[fold_of_row[rows[0]]], here, ran, those, threads)
        return chosen

    def __call__(self, batch: Any, *, threads: int | None = 1) -> Any:
        """Decide a batch: it gets a column "next", the name of the model to run; null = stop.

        Parameters
        ----------
        batch : pyarrow.Table or RecordBatch, data frame, or mapping of str to array-like
            The columns of queries, ``query_id`` (without it, queries get a hash of their columns), and
            ``<model>|<column>`` of responses: a model has run where one of these isn't null.
        threads : int, optional
            As in `select_batch`, but one by default.

        Returns
        -------
        pyarrow.Table, or dict for a mapping

        Raises
        ------
        ValueError
            Columns are missing, or don't fit the models.
        """
        frame = Frame(batch)
        responses = frame.responses(self.models, self.response_columns)
        queries = frame.queries({*self.query_columns, *self._optional})
        chosen = self.select_batch(queries, ids=frame.ids(), responses=responses, threads=threads)
        return frame.with_next(self.models, chosen)

    def with_budget(self, budget: float | Mapping[str, float]) -> Decider:
        """Give the decider for another budget, from the path; no labelled query is needed.

        Raises
        ------
        ValueError
            A budget below the cheapest feasible cost (the message states it). Budgets for several costs: their exchange
            rates need the labelled queries, so ask the router.
        """
        limits = checked_budget(budget, self.policy.costs)
        if len(self.policy.costs) > 1 and (self.budget is None or set(limits) != set(self.budget) or len(limits) > 1):
            raise ValueError(
                f"budget: a decider keeps the exchange rates between its costs, and has a budget for "
                f"{listed(self.budget or ())}; for others, use Router.with_budget"
            )
        return self._at(self.path.chosen(limits, mix=self.mix), budget=limits, quality_target=None)

    def with_quality_target(self, quality_target: float) -> Decider:
        """Give the decider for another quality target; as `with_budget`."""
        point = self.path.chosen(quality_target=quality_target, mix=self.mix)
        return self._at(point, budget=None, quality_target=float(quality_target))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the decider to one file, which `headrace.load` reads; whole or not at all.

        The file holds numbers and names, no code, and no text of the queries and answers of the fit. Run sets whose
        estimates have been fitted are in it: those of a decider that was warmed need no fit later.

        Parameters
        ----------
        path : path-like
            Usually ``<name>.headrace``. A file that is there keeps its mode; a symbolic link is followed.

        Raises
        ------
        ArtefactError
            Of kind "unsupported": an estimator without ``get_state`` and ``from_state``, or a function that no package
            registers (`headrace.estimators.state`).
        OSError
            The file can't be written.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> import headrace as hr
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "digits.headrace"
        >>> hr.Router(rule="routing").fit(hr.datasets.load_quickstart(), budget=100.0).decider_.save(path)
        >>> hr.load(path)
        Decider(routing, 5 models, budget 100: mean cost 100, quality 0.922 expected)
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["policy"] = json.loads(self.policy.to_json())
        values["path"] = {field.name: getattr(self.path, field.name) for field in fields(self.path)}
        values["point"] = self.point._asdict()
        values["promised"] = None if self.promised is None else vars(self.promised)
        write_artefact(path, {"models": self.models, "costs": self.policy.costs, **values})

    def warm(self, *, max_runs: int | None = None) -> Decider:
        """Fit now what estimators otherwise fit when a run set is first met, so that no request waits for it.

        Parameters
        ----------
        max_runs : int, optional
            Most models that run for one query; by default what the rule allows.

        Returns
        -------
        Decider
            This one; its decisions are the same.

        Raises
        ------
        ValueError
            More than 4,096 run sets: give a smaller `max_runs`.

        Examples
        --------
        >>> import headrace as hr
        >>> table = hr.datasets.load_quickstart().take(range(300))
        >>> decider = hr.Router(quality="linear", max_depth=2).fit(table, budget=100.0).decider_
        >>> decider.warm() is decider
        True
        """
        runs = run_sets(self.policy, max_runs)
        for served in self._served:
            served.estimators.warm(runs)
        return self

    def _at(self, point: PathPoint, **wanted: Any) -> Decider:
        policy = replace(self.policy, parameters=point.parameters, share=point.share)
        return replace(self, policy=policy, point=point, promised=None, **wanted)

    @cached_property
    def _served(self) -> list[Served]:
        """What the sessions of each fold share."""
        forecast = self.point.forecast(self.policy.costs[0])
        shared = self.response_columns, self.answer, self.price_changes, forecast, self.wanted
        return [Served.by(self.policy, pair, *shared) for pair in self.estimators]

    @cached_property
    def _unlimited(self) -> Limits:
        return limits_of(self.policy)

    @cached_property
    def _optional(self) -> frozenset[str]:
        """Columns of queries that estimators read where they are there, though the fit need not have had them."""
        quality, costs = self.estimators[0]
        return frozenset().union(*(getattr(one, "optional_queries", ()) for one in (quality, *costs)))
