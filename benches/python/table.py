"""Print one table: what a call costs, what it is compared with, and whether the goal is reached: ``make bench``.

Per problem, the best of several rounds in which the case and what it is compared with take turns, less the empty loop;
then the median and the 99th percentile over the problems. E is an empty native method with the same arguments; NumPy
makes the same exact decision, and equal answers are checked before anything is timed. "Reference" is the code of
Dekoninck et al. on the inputs of its own runtime script: measured once on two cores, cited, not run here.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import pbkdf2_hmac
from pathlib import Path
from threading import Thread
from timeit import Timer
from typing import Any, NamedTuple

import numpy as np
from baselines import (
    FloatArray,
    Problem,
    covariance,
    empty_call,
    hard,
    numpy_decision,
    numpy_expected_max,
    one_factor,
    typical,
)
from fit import simulated

import headrace as hr
from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import fit_estimators
from headrace.calibration.walk import budget_path, walk
from headrace.datasets import NoisyOracle, simulate
from headrace.estimators import ConstantCost
from headrace.rules import make_rule

#: Problems per case, and rounds over all of them.
N_PROBLEMS, N_ROUNDS = 100, 15

#: Seconds that one timing of one problem takes, or one call if that is longer.
SLICE = 5e-5

#: CPU seconds of the reference on two cores, by number of models: one decision, with variances and with a covariance.
REFERENCE = {2: 0.22e-3, 5: 1.36e-3, 11: 9.5e-3, 20: 70e-3}
REFERENCE_COVARIANCE = {5: 2.8e-3, 11: 10.9e-3}

#: The same for fitting one budget on 500 queries of 5 models with one cost weight for all steps.
REFERENCE_FIT = 92.0

#: Where two threads of plain hashing bring less than this, the machine is too busy to judge what they bring to a batch.
BUSY = 1.6

VERDICTS = {True: "reached", False: "MISSED", None: "too busy"}

Call = Callable[[], object]


class Judged(NamedTuple):
    """What a case is compared with, and what comes out; `reached` is None where the machine is too busy to tell."""

    baseline: str
    seconds: float | None
    ratio: str
    goal: str = ""
    reached: bool | None = True


class Case(NamedTuple):
    """One case of the table; where it is one problem, there are no percentiles."""

    name: str
    median: float
    p99: float | None
    judged: list[Judged]


def at_most(baseline: str, ours: float, theirs: float, goal: float | None = None) -> Judged:
    """Judge how many times a baseline's time a case takes."""
    times = ours / theirs
    return Judged(baseline, theirs, f"{times:.1f} x", f"<= {goal:g} x" if goal else "", not goal or times <= goal)


def faster(baseline: str, ours: float, theirs: float, goal: float | None = None) -> Judged:
    """Judge how many times as fast as a baseline a case is."""
    times = theirs / ours
    ratio = f"{times:,.0f} x as fast" if times >= 10 else f"{times:.2f} x as fast"
    return Judged(baseline, theirs, ratio, f">= {goal:,g} x" if goal else "", not goal or times >= goal)


def within(seconds: float, goal: float) -> Judged:
    """Judge a time by the clock alone."""
    return Judged("the clock", None, "", f"<= {readable(goal)}", seconds <= goal)


def exact(calls: Sequence[Mapping[str, Any]]) -> Judged:
    """Judge the largest gap that decisions leave unproven."""
    gap = max(decided(call).gap for call in calls)
    return Judged("the optimum", None, f"gap {gap:.3g}", "0", gap == 0.0)


def steady(median: float, p99: float) -> Judged:
    """Judge how far the slowest problems are from the usual one."""
    return Judged("its own median", median, f"p99 {p99 / median:.1f} x", "<= 3 x", p99 <= 3 * median)


def readable(seconds: float) -> str:
    """Write a time with three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


class Timed:
    """Seconds that a call takes: the shortest of its timings, less the shortest of an empty loop."""

    def __init__(self, call: Call | Mapping[str, Any]) -> None:
        if callable(call):
            self.timer = Timer("call()", globals={"call": call})
        else:
            # What a user writes, without a wrapper: calls of 20 nanoseconds are timed.
            keywords = "".join(f", {name}={name}" for name in call if name not in ("select", "quality", "cost"))
            self.timer = Timer(f"select(quality, cost{keywords})", globals=dict(call))
        self.empty = Timer("pass")
        self.shortest, self.shortest_empty = self.timer.timeit(1), float("inf")
        self.number = max(1, min(2000, int(SLICE / self.shortest)))
        if self.number > 1:
            self.shortest = float("inf")

    def again(self) -> None:
        self.shortest = min(self.shortest, self.timer.timeit(self.number))
        self.shortest_empty = min(self.shortest_empty, self.empty.timeit(self.number))

    @property
    def seconds(self) -> float:
        return (self.shortest - self.shortest_empty) / self.number


def timed(*columns: Sequence[Call | Mapping[str, Any]], rounds: int = N_ROUNDS) -> list[FloatArray]:
    """Time the calls of each column, the columns taking turns."""
    timers = [[Timed(call) for call in column] for column in columns]
    for _ in range(rounds):
        for at in range(max(map(len, timers))):
            for column in timers:
                if at < len(column):
                    column[at].again()
    return [np.array([timer.seconds for timer in column]) for column in timers]


def usual(seconds: FloatArray) -> float:
    return float(np.median(seconds))


def summary(seconds: FloatArray) -> tuple[float, float]:
    return usual(seconds), float(np.percentile(seconds, 99))


def selection(problem: Problem, max_depth: int, **belief: Any) -> dict[str, Any]:
    """Give what a call of `CascadeRouting.select` is made of."""
    select = hr.CascadeRouting(problem.cost_weight, max_depth=max_depth).select
    belief = belief or {"variance": problem.variance}
    return {"select": select, "quality": problem.quality, "cost": problem.cost} | belief


def empty(call: Mapping[str, Any]) -> dict[str, Any]:
    return {**call, "select": empty_call()}


def decided(call: Mapping[str, Any]) -> Any:
    return call["select"](*(value for name, value in call.items() if name in ("quality", "cost")), **{
        name: value for name, value in call.items() if name not in ("select", "quality", "cost")
    })  # fmt: skip


def decisions(kind: str, k: int, max_depth: int, *, in_numpy: bool) -> tuple[float, float, float, float | None]:
    """Time decisions of one kind: median and p99 of ours, the empty call, and the median of NumPy's."""
    problems = (typical if kind == "typical" else hard)(k, N_PROBLEMS)
    ours = [selection(problem, max_depth) for problem in problems]
    theirs: list[Call] = []
    if in_numpy:
        for problem, call in zip(problems, ours, strict=True):
            expected, got = numpy_decision(problem, max_depth), decided(call).next
            if expected != got:
                sys.exit(f"{kind}, {k} models: NumPy runs model {expected} next, headrace model {got}: {problem}")
        theirs = [lambda problem=problem: numpy_decision(problem, max_depth) for problem in problems[:20]]
    seconds, nothing, numpys = timed(ours, [empty(call) for call in ours], theirs)
    return *summary(seconds), usual(nothing), usual(numpys) if in_numpy else None


def typical_cases() -> Iterator[Case]:
    goals = {2: (3, None, None), 5: (6, 100, 400), 11: (12, 300, 1000)}
    clocks = {20: 12e-6, 50: 70e-6, 100: 300e-6}
    for k in (2, 5, 11, 20, 50, 100):
        median, p99, nothing, numpys = decisions("typical", k, k, in_numpy=k <= 11)
        of_empty, of_numpy, of_reference = goals.get(k, (None, None, None))
        judged = [at_most("E", median, nothing, of_empty)]
        judged += [faster("NumPy", median, numpys, of_numpy)] if numpys else []
        judged += [faster("reference", median, REFERENCE[k], of_reference)] if k in REFERENCE else []
        judged += [within(median, clocks[k])] if k in clocks else [steady(median, p99)]
        yield Case(f"CascadeRouting, {k} models", median, p99, judged)


def hard_cases() -> Iterator[Case]:
    for k in (5, 11, 20, 40, 80, 128):
        median, p99, _, numpys = decisions("hard", k, 5, in_numpy=k <= 11)
        judged = [
            within(p99, 5e-3 if k <= 40 else 1e-3),
            exact([selection(problem, 5) for problem in hard(k, N_PROBLEMS)]),
        ]
        judged += [faster("NumPy", median, numpys)] if numpys else []
        yield Case(f"hard set, depth 5, {k} models", median, p99, judged)


def dependent_cases() -> Iterator[Case]:
    for k in (5, 11):
        problems = typical(k, N_PROBLEMS)
        alone, factor, matrix = timed(
            [selection(problem, k) for problem in problems],
            [selection(problem, k, **one_factor(problem)) for problem in problems],
            [selection(problem, k, **covariance(problem)) for problem in problems],
        )
        median, p99 = summary(factor)
        yield Case(f"one factor, {k} models", median, p99, [at_most("independent", median, usual(alone))])
        median, p99 = summary(matrix)
        judged = [at_most("independent", median, usual(alone), 4), faster("reference", median, REFERENCE_COVARIANCE[k])]
        yield Case(f"covariance, {k} models", median, p99, judged)


def other_rules() -> Iterator[Case]:
    problems = typical(100, N_PROBLEMS)
    ours = [{**selection(problem, 5), "select": hr.IndexRule(problem.cost_weight).select} for problem in problems]
    seconds, nothing = timed(ours, [empty(call) for call in ours])
    (median, p99), bare = summary(seconds), usual(nothing)
    beyond = Judged("E", bare, f"E + {readable(median - bare)}", "<= E + 3 us", median - bare <= 3e-6)
    yield Case("IndexRule, 100 models", median, p99, [beyond])
    for k in (5, 11):
        problems = typical(k, N_PROBLEMS)
        ours = [{**selection(problem, 5), "select": hr.Routing(problem.cost_weight).select} for problem in problems]
        seconds, nothing = timed(ours, [empty(call) for call in ours])
        median, p99 = summary(seconds)
        yield Case(f"Routing (single models), {k} models", median, p99, [at_most("E", median, usual(nothing))])


def kinds_of_input() -> Iterator[Case]:
    made: dict[str, Callable[[list[float]], Any]] = {"lists": list, "tuples": tuple, "arrays": np.array}
    calls = {
        kind: [
            {name: value if name == "select" else make(value) for name, value in selection(problem, 5).items()}
            for problem in typical(5, N_PROBLEMS)
        ]
        for kind, make in made.items()
    }
    seconds = timed(*calls.values(), *([empty(call) for call in column] for column in calls.values()))
    for kind, ours, nothing in zip(made, seconds, seconds[len(made) :], strict=False):
        median, p99 = summary(ours)
        yield Case(f"5 models in {kind}", median, p99, [at_most("E", median, usual(nothing))])


def batches(n: int) -> Iterator[Case]:
    for k, goal in ((5, 1e-6), (11, 8e-6)):
        rng = np.random.default_rng(k)
        quality, cost, variance = rng.random((n, k)), rng.random((n, k)), np.full((n, k), 0.01)
        rule = hr.CascadeRouting(0.5)

        def batch(threads: int, rule: hr.Rule = rule, given: Any = (quality, cost, variance)) -> Call:
            return lambda: rule.select_batch(given[0], given[1], variance=given[2], threads=threads)

        rows = range(0, n, n // 2000)
        problems = [Problem(quality[i].tolist(), cost[i].tolist(), variance[i].tolist(), 0.5) for i in rows]
        singles = [selection(problem, 5) for problem in problems]
        models = rule.select_batch(quality, cost, variance=variance)[rows]
        assert [-1 if (model := decided(call).next) is None else model for call in singles] == models.tolist()
        one, two, loop, in_turn, at_once = timed(
            [batch(1)], [batch(2)], singles, [hashed_in_turn], [hashed_at_once], rounds=7
        )
        alone, both = float(one[0]) / n, float(two[0]) / n
        name = f"select_batch, {n:,} x {k}"
        yield Case(f"{name}, 1 thread", alone, None, [faster("select in a loop", alone, float(loop.mean()))])
        if (os.cpu_count() or 1) >= 2:
            times, to_be_had = alone / both, float(in_turn[0] / at_once[0])
            ratio = f"{times:.2f} of {to_be_had:.2f} x"
            reached = times >= 0.8 * to_be_had if to_be_had > BUSY else None
            scaled = Judged("1 thread", alone, ratio, ">= 80%", reached)
            yield Case(f"{name}, 2 threads", both, None, [scaled, within(both, goal)])


def hashed() -> None:
    """Work for some 50 ms without the interpreter's lock."""
    pbkdf2_hmac("sha256", b"", b"", 100_000)


def hashed_in_turn() -> None:
    hashed()
    hashed()


def hashed_at_once() -> None:
    """Do the same on two threads: what a second thread brings on this machine, as busy as it is."""
    other = Thread(target=hashed)
    other.start()
    hashed()
    other.join()


def expected_maxima() -> Iterator[Case]:
    for k in (5, 11):
        problems = hard(k, N_PROBLEMS)
        for problem in problems:
            got, expected = hr.expected_max(problem.quality, variance=problem.variance), numpy_expected_max(problem)
            assert abs(got - expected) < 1e-6, (got, expected, problem)
        ours: list[Call] = [lambda p=p: hr.expected_max(p.quality, variance=p.variance) for p in problems]
        theirs: list[Call] = [lambda p=p: numpy_expected_max(p) for p in problems]
        seconds, numpys = timed(ours, theirs)
        median, p99 = summary(seconds)
        yield Case(f"expected_max, {k} models", median, p99, [faster("NumPy", median, usual(numpys))])


def paths() -> Iterator[Case]:
    outcomes = simulate(500, 5, noise="low", rng=1)
    estimators = fit_estimators(simulate(500, 5, noise="low", rng=2), NoisyOracle(), ConstantCost())
    rule = make_rule("cascade-routing", 0.0, {"max_depth": 5})

    def path() -> object:
        return budget_path(walk(rule, outcomes, BeliefTable.served(outcomes, [estimators])), outcomes.costs)

    (seconds,) = timed([path], rounds=3)
    median = float(seconds[0])
    judged = [faster("reference, one budget", median, REFERENCE_FIT)]
    yield Case("budget path, 5 models x 500 queries", median, None, judged)


def fitted_router(path: Path | None) -> tuple[hr.Router, hr.Outcomes]:
    """Fit on half of a table of outcomes, by default a simulated one; five models of different costs."""
    table = simulated(3_000, 5) if path is None else hr.Outcomes.from_file(path).complete()
    by_cost = np.argsort(table.mean_cost)[np.linspace(0, table.n_models - 1, 5).round().astype(int)]
    table = table.select([table.models[j] for j in by_cost])
    table = table.take(np.random.default_rng(0).permutation(len(table))[:3_000])
    fitting, test = table.split(0.5, rng=0)
    budget = float(np.median(fitting.mean_cost))
    return hr.Router(rule="cascade-routing").fit(fitting, budget=budget), test


def fitted_cases(path: Path | None) -> Iterator[Case]:
    """Time decisions of a fitted router on queries that it has not seen: the first, and the one after a first run."""
    router, test = fitted_router(path)
    rule, beliefs = router.decider_.policy.rules[1], BeliefTable.served(test, router.estimators_)
    started: dict[int | None, list[int]] = {None: list(range(N_PROBLEMS))}
    for n_run, name in enumerate(("first decisions", "second decisions")):
        ours, alone = [], []
        following: dict[int | None, list[int]] = defaultdict(list)
        for model, here in started.items():
            run = np.arange(test.n_models) == model if model is not None else np.zeros(test.n_models, dtype=np.bool_)
            belief, cost = beliefs(np.array(here), run)
            spread = np.broadcast_to(belief.variance, belief.quality.shape)
            for row, *numbers in zip(here, belief.quality, cost, spread, strict=True):
                quality, price, variance = (column.tolist() for column in numbers)
                call = {"select": rule.select, "quality": quality, "cost": price, "variance": variance}
                call |= {"run": [model]} if model is not None else {}
                ours.append(call)
                alone.append({**call, "select": hr.Routing(rule.cost_weight).select})
                following[decided(call).next].append(row)
        seconds, singles = timed(ours, alone)
        mean, judged = float(seconds.mean()), at_most("Routing", usual(seconds), usual(singles))
        clock = Judged("the clock", None, f"mean {readable(mean)}", "<= 800 ns", mean <= 8e-7)
        yield Case(f"fitted router, 5 models, {name}", *summary(seconds), [judged, *([clock] if n_run == 0 else [])])
        started = {model: here for model, here in following.items() if model is not None}


def lines(cases: Sequence[Case]) -> Iterator[str]:
    """Lay the table out."""
    heads = ("case", "median", "p99", "compared with", "its time", "ratio", "goal", "")
    rows = [heads]
    for case in cases:
        name, median, p99 = case.name, readable(case.median), readable(case.p99) if case.p99 else ""
        for judged in case.judged:
            time_text = readable(judged.seconds) if judged.seconds else ""
            verdict = VERDICTS[judged.reached] if judged.goal else ""
            rows.append((name, median, p99, judged.baseline, time_text, judged.ratio, judged.goal, verdict))
            name = median = p99 = ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    right = (1, 2, 4, 5)
    for row in rows:
        cells = (
            text.rjust(w) if at in right else text.ljust(w)
            for at, (text, w) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def machine() -> str:
    """Say what the times were taken on."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text(encoding="utf-8")) if info.exists() else None
    cpu = found[1] if found else platform.machine()
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, headrace {hr.__version__}"
    return f"{cpu}, {os.cpu_count()} cores; {versions}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="batches of 1,000,000 queries as well")
    parser.add_argument(
        "--fitted", type=Path, metavar="FILE", help="table that the router of fitted cases is fitted on"
    )
    arguments = parser.parse_args()
    started = time.perf_counter()
    groups = [typical_cases(), hard_cases(), dependent_cases(), other_rules(), kinds_of_input(), expected_maxima()]
    groups += [
        fitted_cases(arguments.fitted),
        batches(100_000),
        *([batches(1_000_000)] if arguments.full else []),
        paths(),
    ]
    cases = []
    for group in groups:
        for case in group:
            print(f"  {time.perf_counter() - started:5.0f} s  {case.name}", file=sys.stderr, flush=True)
            cases.append(case)
    print("\n".join(lines(cases)))
    verdicts = [judged.reached for case in cases for judged in case.judged if judged.goal]
    counts = ", ".join(f"{verdicts.count(verdict)} {word}" for verdict, word in VERDICTS.items())
    print(f"Goals: {counts}. {machine()}")


if __name__ == "__main__":
    main()
