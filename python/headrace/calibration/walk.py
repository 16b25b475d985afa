"""The walk of labelled queries for all values of a rule's parameter at once.

Every query is walked once for *all* cost weights (lambda) at the same time. Under a run set R the rule's next model is
a step function of lambda with few pieces (`Rule.profile_batch`); each piece leads to a larger R, where the estimators
are asked again, until it stops. Summing the stops of all queries gives the realised cost and quality of every lambda:
the budget path. Several rules, or settings of one, are walked together, so that estimators are asked once for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.estimators.belief import Belief
from headrace.outcomes import Outcomes
from headrace.policy.budget_path import BudgetPath
from headrace.rules import Routing, Rule, ThresholdCascade

__all__ = ["Believer", "Runs", "Stops", "budget_path", "walk", "walk_together"]

IntArray = npt.NDArray[np.int64]

#: Most models of a table that is walked: those that a rule takes.
MOST_MODELS = 128

#: Stops whose costs are summed at a time: with 128 models, they take 17 MB.
CHUNK = 2**14


class Believer(Protocol):
    """Gives what is believed of some rows of a table once the models of one run set have run."""

    def __call__(self, rows: IndexArray, run: BoolArray, /, *, priced: bool = True) -> tuple[Belief, FloatArray]:
        """Give the belief, and the estimated costs of shape (len(rows), n_models); any, where they aren't `priced`."""


class _Walkers(NamedTuple):
    """Stretches of the parameter that have led to the same place: a query, a run set (by number), a last model."""

    row: IntArray
    run: IntArray
    lower: FloatArray
    upper: FloatArray
    last: IntArray

    def take(self, index: npt.NDArray[np.int64]) -> _Walkers:
        row, run, last = (column.take(index) for column in (self.row, self.run, self.last))
        return _Walkers(row, run, self.lower.take(index), self.upper.take(index), last)

    @staticmethod
    def join(parts: list[_Walkers]) -> _Walkers:
        row, run, lower, upper, last = (np.concatenate(column) for column in zip(*parts, strict=True))
        return _Walkers(row, run, lower, upper, last)


class Runs(NamedTuple):
    """Runs on the walks: for stretches of the parameter, which model a query ran, and what that was expected to cost.

    Attributes
    ----------
    row, model : ndarray of int of shape (n_runs,)
        The query and the model.
    lower, upper : ndarray of shape (n_runs,)
        Ends of the stretch.
    expected : ndarray of shape (n_runs,)
        Estimate of the cost just before the run; of several costs, all at their exchange rates.
    """

    row: IntArray
    model: IntArray
    lower: FloatArray
    upper: FloatArray
    expected: FloatArray

    def at(self, parameter: float) -> IntArray:
        """Index of all runs at one value of the parameter."""
        return _here(self.lower, self.upper, parameter)


class Stops(NamedTuple):
    """Where walks ended: for stretches of the parameter, what a query cost and which answer it got.

    Attributes
    ----------
    row : ndarray of int of shape (n_stops,)
        The query.
    lower, upper : ndarray of shape (n_stops,)
        Ends of the stretch; those of one query leave no gaps.
    run : ndarray of int of shape (n_stops,)
        Models run: a row of `run_sets`.
    cost, quality : ndarray of shape (n_stops,)
        Realised cost of all models run, and realised quality of the answer.
    n_runs, answer : ndarray of int of shape (n_stops,)
        Number of models run, and the model whose answer is returned.
    run_sets : ndarray of bool of shape (n_run_sets, n_models)
        The different run sets that the walks have reached.
    runs : Runs
        What ran on the way.
    """

    row: IntArray
    lower: FloatArray
    upper: FloatArray
    run: IntArray
    cost: FloatArray
    quality: FloatArray
    n_runs: IntArray
    answer: IntArray
    run_sets: BoolArray
    runs: Runs

    def at(self, parameter: float) -> IntArray:
        """Index of the stop of each query at one value of the parameter, in the order of the queries."""
        here = _here(self.lower, self.upper, parameter)
        return here[np.argsort(self.row[here], kind="stable")]

    def of(self, rows: IndexArray) -> Stops:
        """Give the stops of some queries, in rising order, numbered anew."""
        here, there = np.isin(self.row, rows), np.isin(self.runs.row, rows)
        ran: dict[str, Any] = {name: column[there] for name, column in self.runs._asdict().items()}
        whole = ("run_sets", "runs")
        ended: dict[str, Any] = {name: cells[here] for name, cells in self._asdict().items() if name not in whole}
        runs = Runs(**ran | {"row": np.searchsorted(rows, ran["row"])})
        return Stops(**ended | {"row": np.searchsorted(rows, ended["row"])}, run_sets=self.run_sets, runs=runs)

    @staticmethod
    def joined(parts: Sequence[tuple[IndexArray, Stops]]) -> Stops:
        """Put together the stops of parts of a table, each given with its rows, which are in rising order."""
        run_sets, number = np.unique(
            np.concatenate([stops.run_sets for _, stops in parts]), axis=0, return_inverse=True
        )
        first = np.cumsum([0] + [len(stops.run_sets) for _, stops in parts])
        moved = [
            stops._replace(
                row=rows[stops.row],
                run=number[begin + stops.run],
                run_sets=run_sets,
                runs=stops.runs._replace(row=rows[stops.runs.row]),
            )
            for begin, (rows, stops) in zip(first, parts, strict=False)
        ]
        runs = Runs(*(np.concatenate(column) for column in zip(*(stops.runs for stops in moved), strict=True)))
        whole = ("run_sets", "runs")
        cells = [name for name in Stops._fields if name not in whole]
        columns: dict[str, Any] = {name: np.concatenate([getattr(stops, name) for stops in moved]) for name in cells}
        return Stops(**columns, run_sets=run_sets, runs=runs)

    def total(self, cost: FloatArray) -> FloatArray:
        """Sum a cost, an array of shape (n_queries, n_models), over the models run: shape (n_stops,)."""
        return _total(cost, self.row, self.run, self.run_sets)


def walk(
    rule: Rule,
    outcomes: Outcomes,
    believe: Believer,
    *,
    answer: str = "best",
    progress: Callable[[float], None] | None = None,
) -> Stops:
    """Walk every query of a table for all values of a rule's parameter at once; arguments as in `walk_together`."""
    return walk_together([rule], outcomes, believe, answer=answer, progress=progress)[0]


def walk_together(
    rules: Sequence[Rule],
    outcomes: Outcomes,
    believe: Believer,
    *,
    answer: str = "best",
    progress: Callable[[float], None] | None = None,
) -> list[Stops]:
    """Walk every query of a table with each rule, for all values of its parameter at once.

    Parameters
    ----------
    rules : sequence of Rule
        Their own parameters are ignored.
    outcomes : Outcomes
        Complete table of labelled queries, of at most 128 models.
    believe : Believer
        ``believe(rows, run, priced=priced)`` gives the belief and the estimated costs of the given rows once the models
        of the mask `run` have run. It is asked once for each run set, of all rows that any rule leads there. Where no
        rule may run more models, costs don't matter, and `priced` is False.
    answer : {"best", "last"}
        Which answer is returned: that of the model with the highest estimate among those run, or of the last.
    progress : callable, optional
        Called with the share of the steps done.

    Returns
    -------
    list of Stops
        Of each rule, the same as if it were walked alone.

    Raises
    ------
    ValueError
        Too many models, or what a rule refuses.
    """
    n_models = outcomes.n_models
    if n_models > MOST_MODELS:
        raise ValueError(f"outcomes: expected at most {MOST_MODELS} models in a calibration, got {n_models}")
    if answer not in ("best", "last"):
        raise ValueError(f'answer: expected "best" or "last", got {answer!r}')
    walks = [_Walk(rule, outcomes, answer) for rule in rules]
    place = np.empty(outcomes.n_queries, dtype=np.intp)
    most_runs = max(_most_runs(rule, n_models) for rule in rules)
    for step in range(n_models + 1):
        places = [walked.places() for walked in walks]
        # Run sets in the order of their bits, which is that of a rule alone.
        reached = sorted(set().union(*places))
        for done, bits in enumerate(reached):
            if progress is not None:
                progress((step + done / len(reached)) / (1 + most_runs))
            here = [(walked, found[bits]) for walked, found in zip(walks, places, strict=True) if bits in found]
            there = np.zeros(len(place), dtype=np.bool_)
            for walked, index in here:
                there[walked.walkers.row[index]] = True
            rows = np.flatnonzero(there)
            place[rows] = np.arange(len(rows))
            run = _mask(bits, n_models)
            belief, cost = believe(rows, run, priced=step < most_runs)
            for walked, index in here:
                walked.decide(bits, index, run, belief, cost, place)
        is_left = [walked.advance() for walked in walks]
        if not any(is_left):
            break
    return [walked.stops(outcomes) for walked in walks]


class _Walk:
    """The walk of one rule."""

    def __init__(self, rule: Rule, outcomes: Outcomes, answer: str) -> None:
        n = outcomes.n_queries
        start = -np.inf if isinstance(rule, ThresholdCascade) else 0.0
        nothing = np.zeros(n, np.int64)
        self.walkers = _Walkers(np.arange(n), nothing, np.full(n, start), np.full(n, np.inf), nothing - 1)
        self._rule, self._answer = rule, answer
        self._sets = _RunSets(outcomes.n_models)
        self._going: list[_Walkers] = []
        self._stopped: list[_Walkers] = []
        self._answers: list[IntArray] = []
        self._runs: list[Runs] = []

    def places(self) -> dict[int, IndexArray]:
        """Give where the walkers of each run set are, by its bits."""
        return self._sets.grouped(self.walkers.run) if len(self.walkers.row) else {}

    def decide(
        self, bits: int, index: IndexArray, run: BoolArray, belief: Belief, cost: FloatArray, place: IndexArray
    ) -> None:
        """Move the walkers that share a run set by one decision; `place` of a query is where its belief is."""
        here = self.walkers.take(index)
        of_row = place[here.row]
        if not np.array_equal(of_row, np.arange(len(cost))):
            belief, cost = belief.take(of_row), cost.take(of_row, axis=0)
        piece, lower, upper, model = self._rule.profile_batch(
            belief.quality,
            cost,
            lower=here.lower,
            upper=here.upper,
            run=run,
            variance=belief.variance,
            covariance=belief.covariance,
            loading=belief.loading,
        )
        pieces = here.take(piece)._replace(lower=lower, upper=upper)
        goes_on, stops = np.flatnonzero(model >= 0), np.flatnonzero(model < 0)
        ahead, ended = pieces._replace(last=model.astype(np.int64)).take(goes_on), pieces.take(stops)
        expected = cost[piece[goes_on], ahead.last]
        self._runs.append(Runs(ahead.row, ahead.last, ahead.lower, ahead.upper, expected))
        self._going.append(ahead._replace(run=self._sets.after(bits, ahead.last)))
        self._stopped.append(ended)
        best = np.where(run, belief.quality, -np.inf).argmax(axis=1)[piece[stops]]
        self._answers.append(best if self._answer == "best" else ended.last)

    def advance(self) -> bool:
        """Go on to the next step; tell whether anything is left to decide."""
        if len(self.walkers.row):
            self.walkers, self._going = _Walkers.join(self._going), []
        return bool(len(self.walkers.row))

    def stops(self, outcomes: Outcomes) -> Stops:
        """Give where the walkers ended, and what they ran."""
        ended = _Walkers.join(self._stopped)
        answered = np.concatenate(self._answers)
        run_sets = self._sets.masks()
        cost = _total(outcomes.cost, ended.row, ended.run, run_sets)
        quality = outcomes.quality[ended.row, answered]
        n_runs = run_sets.sum(axis=1)[ended.run]
        runs = Runs(*(np.concatenate(column) for column in zip(*self._runs, strict=True)))
        return Stops(ended.row, ended.lower, ended.upper, ended.run, cost, quality, n_runs, answered, run_sets, runs)


class _RunSets:
    """The run sets that a walk has reached, numbered as they are first reached; their bits are those of an int."""

    def __init__(self, n_models: int) -> None:
        self._n_models = n_models
        self._bits = [0]
        self._number = {0: 0}

    def masks(self) -> BoolArray:
        """Give the run sets as masks, in the order of their numbers."""
        return np.array([_mask(bits, self._n_models) for bits in self._bits])

    def after(self, bits: int, model: IntArray) -> IntArray:
        """Give the number of a run set once one model more has run, for each of some models."""
        found = np.zeros(self._n_models, dtype=np.int64)
        for j in np.flatnonzero(np.bincount(model, minlength=self._n_models)).tolist():
            larger = bits | 1 << j
            if larger not in self._number:
                self._number[larger] = len(self._bits)
                self._bits.append(larger)
            found[j] = self._number[larger]
        return found[model]

    def grouped(self, run: IntArray) -> dict[int, IndexArray]:
        """Give where each of the run sets among some is, by its bits."""
        counts = np.bincount(run, minlength=len(self._bits))
        numbers = np.flatnonzero(counts)
        places = np.split(np.argsort(run, kind="stable"), np.cumsum(counts[numbers])[:-1])
        return {self._bits[number]: index for number, index in zip(numbers.tolist(), places, strict=True)}


def _most_runs(rule: Rule, n_models: int) -> int:
    return 1 if isinstance(rule, Routing) else min(n_models, getattr(rule, "max_depth", n_models))


def _mask(bits: int, n_models: int) -> BoolArray:
    octets = np.frombuffer(bits.to_bytes((n_models + 7) // 8, "little"), dtype=np.uint8)
    return np.unpackbits(octets, count=n_models, bitorder="little").view(np.bool_)


def _here(lower: FloatArray, upper: FloatArray, parameter: float) -> IntArray:
    """Index of the stretches that hold a value of the parameter; the last of them have no end."""
    last = np.isinf(upper) & (parameter == np.inf)
    return np.flatnonzero(((lower <= parameter) & (parameter < upper)) | last)


def _total(cost: FloatArray, row: IntArray, run: IntArray, run_sets: BoolArray) -> FloatArray:
    total = np.empty(len(row))
    for begin in range(0, len(row), CHUNK):
        some = slice(begin, begin + CHUNK)
        ran = np.take(run_sets, run[some], axis=0)
        total[some] = np.where(ran, np.take(cost, row[some], axis=0), 0.0).sum(axis=1)
    return total


def budget_path(stops: Stops, costs: Mapping[str, FloatArray]) -> BudgetPath:
    """Sum the stops of all queries to one path.

    Parameters
    ----------
    stops : Stops
        From `walk`.
    costs : mapping of str to ndarray of shape (n_queries, n_models)
        Realised costs of the table walked, the first one first: ``outcomes.costs``.

    Returns
    -------
    BudgetPath
    """
    parameter, place = np.unique(np.concatenate([stops.lower, stops.upper]), return_inverse=True)
    n_queries = len(next(iter(costs.values())))

    def mean(values: npt.NDArray[np.float64] | IntArray) -> FloatArray:
        steps = np.bincount(place, weights=np.concatenate([-values, values]), minlength=len(parameter))
        # Summed from the cheap end, where the sums are small, so that rounding is small there.
        return np.asarray(np.cumsum(steps[::-1])[::-1][1:] / n_queries)

    means = {name: mean(stops.total(cost)) for name, cost in costs.items()}
    first = next(iter(means))
    return BudgetPath(
        parameter[:-1],
        means.pop(first),
        mean(stops.quality),
        mean(stops.n_runs),
        n_queries,
        cost_name=first,
        further_costs=means,
    )
