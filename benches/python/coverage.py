"""Do the intervals of an evaluation cover, does its verdict keep still without a signal, and what is a value worth?

    python benches/python/coverage.py > docs/results/coverage.md

Fitting and test tables are drawn, with replacement, from two populations of simulated queries, so that what the test
numbers estimate is known: the same numbers of the same fitted router on the whole test population. ``--part`` runs one
part only, ``--repetitions`` and ``--tables`` say how much.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import headrace as hr
from headrace.datasets import NoisyOracle, simulate
from headrace.evaluation import Evaluation
from headrace.evaluation.bootstrap import Estimate
from headrace.evaluation.conclusion import conclusion

N_POPULATION = 1_000
GROUP = 10
BUDGET = 0.002
MIXED = "linear interpolation"


class Setting(NamedTuple):
    """One population and one way to fit on it."""

    name: str
    rule: str = "routing"
    noise: str = "low"
    n_queries: int = 200
    grouped: bool = False
    signal: bool = True


SETTINGS = (
    Setting("routing, 200 queries"),
    Setting("routing, 60 queries", n_queries=60),
    Setting("routing, 20 groups of 10", grouped=True),
    Setting("cascade routing, much noise", rule="cascade-routing", noise="high"),
    Setting("no signal, two models", signal=False),
)


def populations(setting: Setting) -> tuple[hr.Outcomes, hr.Outcomes]:
    """Make the queries that fitting tables are drawn from, and those of the test tables."""
    table = simulate(2 * N_POPULATION, 3, noise=setting.noise, rng=100)
    rng = np.random.default_rng(0)
    if not setting.signal:
        table = table.select(["model-1", "model-3"])
        table = dataclasses.replace(table, queries={"a": rng.normal(size=len(table))}, responses={})
    order = rng.permutation(len(table))
    if setting.grouped:
        # Neighbours by difficulty, with noise, make a group; every second group is for fitting.
        by = np.argsort(table.quality.mean(axis=1) + 0.5 * rng.normal(size=len(table)))
        order = by.reshape(-1, 2, GROUP).transpose(1, 0, 2).ravel()
    return table.take(order[:N_POPULATION]), table.take(order[N_POPULATION:])


def drawn(population: hr.Outcomes, setting: Setting, rng: np.random.Generator, name: str) -> hr.Outcomes:
    """Draw a table, of whole groups where there are any."""
    if setting.grouped:
        first = GROUP * rng.integers(0, len(population) // GROUP, setting.n_queries // GROUP)
        rows = (first[:, None] + np.arange(GROUP)).ravel()
    else:
        rows = rng.integers(0, len(population), setting.n_queries)
    ids = [f"{name}-{i}" for i in range(len(rows))]
    groups = np.arange(len(rows)) // GROUP if setting.grouped else None
    return dataclasses.replace(population.take(rows), ids=ids, groups=groups)


def fitted(setting: Setting, table: hr.Outcomes, seed: int) -> hr.Router:
    quality: Any = NoisyOracle(fusion=True) if setting.signal else "linear"
    return hr.Router(quality=quality, cost="constant", rule=setting.rule, seed=seed).fit(table, budget=BUDGET)


def judged(router: hr.Router, test: hr.Outcomes, fitting: hr.Outcomes, **given: Any) -> Evaluation:
    return hr.evaluate(router, test, fitting=fitting, baselines=[MIXED], n_examples=0, **given)


def numbers(card: Evaluation) -> dict[str, Estimate]:
    """Give the numbers whose intervals are checked; the dearest model is the best one of each population."""
    single = card.singles[-1]
    return {
        "area": Estimate(card["router"].area, *card["router"].interval),
        "area over mixing": card.difference("router", MIXED),
        "quality at the budget": card.chosen.quality,
        "the same over mixing": card.gain_over(MIXED),
        "saving": single.saving,
        "saving, half a point less": single.near_saving,
    }


def repetitions(setting: Setting, n: int) -> Iterator[tuple[dict[str, Estimate], dict[str, float]]]:
    """Give the numbers on drawn tables, and what each is on the population."""
    sources = populations(setting)
    for seed in range(n):
        rng = np.random.default_rng([7, seed])
        fitting, test = (
            drawn(source, setting, rng, name) for source, name in zip(sources, ("fit", "test"), strict=True)
        )
        router = fitted(setting, fitting, seed)
        truth = numbers(judged(router, sources[1], fitting, n_resamples=2))
        found = numbers(judged(router, test, fitting, seed=seed))
        yield found, {name: whole.value for name, whole in truth.items()}


def share(count: int, n: int) -> str:
    """Write a share with 1.96 of its binomial standard errors."""
    rate = count / n
    return f"{rate:.1%} ± {1.96 * math.sqrt(rate * (1.0 - rate) / n):.1%}"


def intervals(n: int, settings: Sequence[Setting] = SETTINGS) -> None:
    """Print how often intervals cover the same router's number, and the mean over all fits."""
    print("| setting | number | covered | too high, too low | covers the mean over fits | mean width | sd of errors |")
    print("|---|---|---|---|---|---|---|")
    for setting in settings:
        played = list(repetitions(setting, n))
        for name in played[0][0]:
            found, truth = (np.array([one[part][name] for one in played]) for part in (0, 1))
            value, low, high = found.T
            above, below = low > truth + 1e-12, high < truth - 1e-12
            covered = share(int((~above & ~below).sum()), n)
            centre = truth.mean()
            other = share(int(((low <= centre) & (centre <= high)).sum()), n) if np.isfinite(centre) else "-"
            finite = np.isfinite(high - low) & np.isfinite(value - truth)
            width, spread = (high - low)[finite].mean(), (value - truth)[finite].std()
            sides = f"{above.mean():.1%}, {below.mean():.1%}"
            print(
                f"| {setting.name} | {name} | {covered} | {sides} | {other} | {width:.4f} | {spread:.4f} |", flush=True
            )


def without_signal(means: tuple[float, ...], n_queries: int, seed: int) -> hr.Outcomes:
    """Draw queries whose columns, costs and answers say nothing of the qualities, which are independent."""
    rng = np.random.default_rng([11, seed])
    k = len(means)
    return hr.Outcomes(
        models=[f"model-{j + 1}" for j in range(k)],
        quality=(rng.random((n_queries, k)) < means).astype(np.float64),
        cost=np.geomspace(1e-4, 1e-2, k) * np.exp(0.5 * rng.normal(size=(n_queries, 1))),
        queries={"a": rng.normal(size=n_queries), "b": rng.normal(size=n_queries)},
        responses={"signal": rng.normal(size=(n_queries, k))},
    )


MEANS = {"equal": (0.6, 0.6, 0.6), "rising": (0.35, 0.55, 0.8)}

#: A budget that affords the dearest model as well, and one that doesn't.
BUDGETS = {"all": 0.02, "some": 0.002}


def verdict(kind: str, rule: str, budget: float, seed: int, n_queries: int = 400) -> str:
    """Give the conclusion on one table without a signal."""
    fitting, test = without_signal(MEANS[kind], n_queries, seed).split(0.5, rng=seed)
    router = hr.Router(quality="linear", cost="constant", rule=rule, seed=seed).fit(fitting, budget=budget)
    return conclusion(judged(router, test, fitting, seed=seed))


def verdicts(n: int) -> None:
    """Print what is concluded where there is nothing to find."""
    print("| qualities | rule | budget affords | pays, of any kind | conclusions |")
    print("|---|---|---|---|---|")
    for kind in MEANS:
        for rule in ("routing", "cascade-routing"):
            for affords, budget in BUDGETS.items():
                said = Counter(verdict(kind, rule, budget, seed) for seed in range(n))
                pays = sum(count for name, count in said.items() if name.startswith("pays"))
                told = ", ".join(f"{name} {count}" for name, count in said.most_common())
                print(f"| {kind} | {rule} | {affords} | {share(pays, n)} | {told} |", flush=True)


def values(n_queries: int = 400) -> None:
    """Print what first decisions are believed to be worth, what is forecast, and what is realised."""
    print("| noise | mean value of the first decisions | forecast of the path | realised |")
    print("|---|---|---|---|")
    for noise in ("low", "medium", "high"):
        fitting, test = simulate(2 * n_queries, 3, noise=noise, rng=1).split(0.5)
        router = hr.Router(quality=NoisyOracle(fusion=True), cost="constant").fit(fitting, budget=BUDGET)
        worth = []
        for row, name in enumerate(test.ids):
            session = router.start({column: cells[row] for column, cells in test.queries.items()}, id=name)
            session.next()
            assert session.decision is not None
            worth.append(session.decision.value)
        realised = judged(router, test, fitting, n_resamples=2).chosen.quality.value
        print(f"| {noise} | {np.mean(worth):.3f} | {router.point_.quality:.3f} | {realised:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=["intervals", "verdicts", "values"])
    parser.add_argument(
        "--setting", type=int, choices=range(len(SETTINGS)), help="one of the settings of the intervals"
    )
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--tables", type=int, default=100)
    given = parser.parse_args()
    if given.part in (None, "intervals"):
        intervals(given.repetitions, SETTINGS if given.setting is None else SETTINGS[given.setting :][:1])
    if given.part in (None, "verdicts"):
        print()
        verdicts(given.tables)
    if given.part in (None, "values"):
        print()
        values()


if __name__ == "__main__":
    main()
