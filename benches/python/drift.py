"""How often the monitor of a model's cost is wrong, and how soon it sees another price: docs/results/drift.md.

    python benches/python/drift.py

Three shapes of a model's realised over estimated cost, and the models of fitted routers.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import numpy.typing as npt

import headrace as hr
from headrace.beliefs.belief_table import BeliefTable
from headrace.calibration.walk import walk
from headrace.datasets import NoisyOracle, simulate
from headrace.serving.promised import log_ratio
from headrace.serving.ranks import RankDetector

Floats = npt.NDArray[np.float64]

CONFIDENCE, N_MODELS = 0.95, 3
#: The monitor shares its error between cost, quality and the models.
EACH = 1.0 - (1.0 - CONFIDENCE) / (2 + N_MODELS)

N_STREAMS, N_KNOWN, N_RUNS = 100, 1_000, 10_000
#: Prices rise at once, or after so many unchanged runs; of a router, after half of those of the fresh queries.
N_BEFORE, N_AFTER = 5_000, 10_000
FACTORS = (1.2, 1.5, 2.0)

N_ROUTERS, N_FITTING, N_FRESH = 10, 2_000, 20_000
#: Spread of the logarithm of each simulated model's costs that no estimate foresees.
SPREADS = (0.2, 0.5, 1.0)


def tokens(rng: np.random.Generator, n: int) -> Floats:
    """Draw costs per token with noise on the number of tokens, over the expected cost."""
    return rng.poisson(200.0, n) / 200.0


def lognormal(rng: np.random.Generator, n: int) -> Floats:
    """Draw costs as of a model that reasons."""
    return np.exp(rng.normal(size=n))


def mixture(rng: np.random.Generator, n: int) -> Floats:
    """Draw costs of which one in 200 is 100 times as high."""
    return np.exp(0.3 * rng.normal(size=n)) * np.where(rng.uniform(size=n) < 0.005, 100.0, 1.0)


Shape = Callable[[np.random.Generator, int], Floats]
SHAPES: dict[str, Shape] = {
    "tokens, sd 7%": tokens,
    "lognormal, sigma 1": lognormal,
    "sigma 0.3, 0.5% x100": mixture,
}


def of_a_stream(shape: Shape, seed: int) -> tuple[bool, dict[tuple[float, bool], float]]:
    """Tell whether a stream that never changes raises an alarm, and how soon rises at once and later are seen."""
    rng = np.random.default_rng(seed)
    known, stream, after = (np.log(shape(rng, n)) for n in (N_KNOWN, N_RUNS, N_AFTER))
    detector, watched = RankDetector(known, CONFIDENCE), RankDetector(known, EACH)
    delays = {}
    for is_later, part in ((False, stream[:N_BEFORE]), (True, stream[N_BEFORE:])):
        for factor in FACTORS:
            delays[factor, is_later] = seen_after(copy.deepcopy(watched), after + np.log(factor))
        for value in part.tolist():
            detector.add(value)
            if not is_later:
                watched.add(value)
    return detector.verdict != "as promised", delays


def seen_after(detector: RankDetector, values: Floats) -> float:
    """Count the runs until a rise is seen: infinite where it isn't."""
    for n, value in enumerate(values.tolist(), start=1):
        detector.add(value)
        if detector.verdict == "above":
            return float(n)
    return np.inf


def table(n: int, seed: int) -> hr.Outcomes:
    """Simulate models whose costs are foreseen in part: by a query's size, with noise that differs between models."""
    simulated, rng = simulate(n, N_MODELS, rng=seed), np.random.default_rng(seed)
    noise = np.exp(np.array(SPREADS) * rng.normal(size=(n, N_MODELS)) - np.array(SPREADS) ** 2 / 2.0)
    return dataclasses.replace(simulated, cost=simulated.cost * noise)


def streams(seed: int) -> Iterator[tuple[str, Floats, Floats]]:
    """Give the log ratios of each model of a fitted router: those that the fit saw, and those of fresh queries."""
    router = hr.Router(quality=NoisyOracle(fusion=True)).fit(table(N_FITTING, seed), budget=0.004)
    decider, fresh = router.decider_, table(N_FRESH, 1_000 + seed)
    policy = decider.policy
    believed = BeliefTable.served(fresh, decider.estimators, seed=policy.seed)
    runs = walk(policy.rules[0], fresh, believed).runs
    cheaply = np.array([policy.rule_for(name) is policy.rules[0] for name in fresh.ids])
    here = [runs.at(parameter) for parameter in policy.parameters]
    served = np.concatenate([here[0][cheaply[runs.row[here[0]]]], here[1][~cheaply[runs.row[here[1]]]]])
    served = served[runs.row[served].argsort(kind="stable")]
    ratios = log_ratio(fresh.cost[runs.row[served], runs.model[served]], runs.expected[served])
    assert decider.promised is not None
    for j, name in enumerate(decider.models):
        yield name, decider.promised.ratios[name], ratios[runs.model[served] == j]


def of_a_router(seed: int) -> dict[str, tuple[bool, dict[tuple[float, bool], float], int]]:
    """Give of each model whether its runs, unchanged, raise an alarm, the delays, and the number of runs in the fit."""
    found = {}
    for name, known, fresh in streams(seed):
        detector, half = RankDetector(known, EACH), len(fresh) // 2
        delays = {}
        for is_later, part in ((False, fresh[:half]), (True, fresh[half:])):
            for factor in FACTORS:
                delays[factor, is_later] = seen_after(copy.deepcopy(detector), part + np.log(factor))
            for value in part.tolist():
                detector.add(value)
        found[name] = detector.verdict != "as promised", delays, len(known)
    return found


def row(name: str, n_known: int, alarms: list[bool], delays: list[dict[tuple[float, bool], float]]) -> str:
    """Give a row of the table: medians and ninth deciles."""
    cells = [name, f"{n_known:,}", f"{sum(alarms)} of {len(alarms)}"]
    for is_later in (False, True):
        for factor in FACTORS:
            ends = np.quantile([each[factor, is_later] for each in delays], [0.5, 0.9], method="higher")
            cells.append(" / ".join(f"{end:,.0f}" if np.isfinite(end) else "not seen" for end in ends))
    return f"| {' | '.join(cells)} |"


def main() -> None:
    heads = [f"+{factor - 1.0:.0%} {place}" for place in ("at once", "later") for factor in FACTORS]
    print(f"| costs | runs in the fit | false alarms | {' | '.join(heads)} |")
    print("|---" * (3 + len(heads)) + "|")
    with ProcessPoolExecutor(2) as pool:
        for name, shape in SHAPES.items():
            alarms, delays = zip(*pool.map(of_a_stream, [shape] * N_STREAMS, range(N_STREAMS)), strict=True)
            print(row(name, N_KNOWN, list(alarms), list(delays)), flush=True)
        found = list(pool.map(of_a_router, range(N_ROUTERS)))
    for name in found[0]:
        alarms, delays, n_known = zip(*(models[name] for models in found), strict=True)
        print(row(f"router, {name}", round(np.mean(n_known)), list(alarms), list(delays)), flush=True)


if __name__ == "__main__":
    main()
