"""The paper's ablation: what pruning, search, the expected maximum and depth are worth, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import comb
from time import perf_counter

import numpy as np

from headrace.arguments import FloatArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import cross_fit
from headrace.benchmarks.draws import Draws, drawn
from headrace.benchmarks.results import Results, Table
from headrace.benchmarks.routerbench import COST_NOISE, ELEVEN, FIT_SHARE, noisy_curves
from headrace.datasets import NOISE_LEVELS, NoisyCost, NoisyOracle, with_noise
from headrace.evaluation.baselines import GREEDY, NO_EXPECTED_MAX
from headrace.evaluation.method import Curves
from headrace.outcomes import Outcomes
from headrace.rules import CascadeRouting, expected_max

__all__ = ["ablation"]

#: Depth of the paper.
DEPTH = 5

#: Other depths.
DEPTHS = (1, 2, 3, 11)

#: Decisions that are timed, and enumerated.
N_DECISIONS = 300

#: The paper's areas in % and milliseconds per step, at low noise.
PAPER = {
    "exact search, depth 5": (87.29, 15.3),
    "no pruning: every set": (87.30, 78.9),
    "greedy growth": (85.93, 1.4),
    "no expected max": (85.98, 4.8),
}


def ablation(outcomes: Outcomes, *, n_draws: int = 2, progress: Callable[[str, float], None] | None = None) -> Results:
    """Leave out parts of cascade routing, one at a time, in the paper's noise protocol with eleven models.

    Parameters
    ----------
    outcomes : Outcomes
        RouterBench, or a part of it.
    n_draws, progress
        As in `headrace.benchmarks.routerbench.routerbench`.

    Returns
    -------
    Results
    """
    table = outcomes.select(ELEVEN).complete()
    variants: dict[str, tuple[str, int]] = {
        "exact search, depth 5": ("cascade-routing", DEPTH),
        "greedy growth": (GREEDY, DEPTH),
        "no expected max": (NO_EXPECTED_MAX, DEPTH),
    }
    variants |= {f"depth {depth}": ("cascade-routing", depth) for depth in DEPTHS}
    found: dict[str, dict[str, Draws]] = {name: {} for name in variants}
    for level, noise in NOISE_LEVELS.items():
        for done, (name, (method, depth)) in enumerate(variants.items()):

            def one(
                seed: int,
                level: str = level,
                noise: tuple[float, float] = noise,
                method: str = method,
                depth: int = depth,
            ) -> Curves:
                return noisy_curves(table, noise, COST_NOISE[level], seed, methods=[method], max_depth=depth)

            found[name][level] = Draws.of(one, n_draws)
            if progress is not None:
                progress(f"{level} noise", (done + 1) / len(variants))
    effort = _effort(table)
    rows = []
    for name, (method, depth) in variants.items():
        areas = [found[name][level].area(method) for level in NOISE_LEVELS]
        rows.append((name, *areas, *effort.get(name, (None, None)), *PAPER.get(name, (None, None))))
        if depth == DEPTH and method == "cascade-routing":
            every = "no pruning: every set"
            rows.append((every, None, None, None, *effort[every], *PAPER[every]))
    columns = ("variant", *(f"{level} noise" for level in NOISE_LEVELS))
    columns += ("sets valued per decision", "microseconds per decision", "paper: low noise", "paper: ms per step")
    note = (
        f"No pruning has no area of its own: on {N_DECISIONS} first decisions of a low-noise draw, the search's plan "
        f"has the best tradeoff of all {_n_sets(len(ELEVEN), DEPTH):,} sets, to 1e-9. Its time is that of one call per "
        "set from Python. Times are the best of three passes over those decisions, on the machine at hand."
    )
    about = (
        f"The noise protocol of `headrace bench routerbench` on {table.n_queries:,} queries and {len(ELEVEN)} models; "
        f"mean area in % over {drawn(n_draws)}, brackets as there. Each variant chooses its uncertainty scale and cost "
        "weights in its own fit; greedy growth takes the search's scale."
    )
    return Results("Ablation", about, (Table("Cascade routing without its parts", columns, tuple(rows), (note,)),))


def _effort(table: Outcomes) -> dict[str, tuple[float, float]]:
    """Count sets valued and microseconds of a first decision, by search and by enumeration.

    Raises
    ------
    AssertionError
        The search isn't exact.
    """
    fitting, test = with_noise(table, NOISE_LEVELS["low"], COST_NOISE["low"], rng=0).split(FIT_SHARE, rng=0)
    beliefs = cross_fit(fitting, NoisyOracle(), NoisyCost(), n_folds=5, seed=0)
    held_out = BeliefTable.served(test, beliefs.estimators)
    rows = np.arange(min(N_DECISIONS, test.n_queries))
    belief, cost = held_out(rows, np.zeros(test.n_models, dtype=np.bool_))
    assert belief.variance is not None  # the oracle gives one
    # Prices from slack to tight: a decision at either end is easy.
    weights = np.geomspace(1.0, 1000.0, len(rows))
    problems = [
        (weight, *row)
        for weight, row in zip(weights.tolist(), zip(belief.quality, cost, belief.variance, strict=True), strict=True)
    ]

    def search(weight: float, quality: FloatArray, cost: FloatArray, variance: FloatArray) -> tuple[float, int]:
        decision = CascadeRouting(weight, max_depth=DEPTH).select(quality, cost, variance=variance)
        return decision.tradeoff, decision.n_nodes

    searched = [search(*problem) for problem in problems]
    seconds, every = timed(lambda: [enumerated(*problem) for problem in problems], passes=1)
    for (found, _), best in zip(searched, every, strict=True):
        assert abs(found - best) <= 1e-9, "the search's plan isn't the best set"
    per_search, _ = timed(lambda: [search(*problem) for problem in problems])
    nodes = float(np.mean([n_nodes for _, n_nodes in searched]))
    microseconds = 1e6 / len(rows)
    return {
        "exact search, depth 5": (nodes, per_search * microseconds),
        "no pruning: every set": (float(_n_sets(test.n_models, DEPTH)), seconds * microseconds),
    }


def enumerated(weight: float, quality: FloatArray, cost: FloatArray, variance: FloatArray) -> float:
    """Best tradeoff of all sets of at most five models, one after the other."""
    best = -np.inf
    for size in range(1, DEPTH + 1):
        for models in combinations(range(len(quality)), size):
            chosen = list(models)
            value = expected_max(quality[chosen], variance=variance[chosen])
            best = max(best, value - weight * float(cost[chosen].sum()))
    return best


def _n_sets(n_models: int, depth: int) -> int:
    return sum(comb(n_models, size) for size in range(1, depth + 1))


def timed(run: Callable[[], Sequence[float]] | Callable[[], object], passes: int = 3) -> tuple[float, Sequence[float]]:
    """Seconds of the fastest of some passes, and what the last one gave."""
    best, result = np.inf, None
    for _ in range(passes):
        started = perf_counter()
        result = run()
        best = min(best, perf_counter() - started)
    return best, result  # type: ignore[return-value]
