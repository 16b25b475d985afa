"""How often a budget that was promised is broken on fresh queries: light tails, heavy tails, groups, outliers.

    python benches/python/guarantee.py --sizes 500      # docs/results/guarantee.md

Tables are drawn, with replacement, from a population of simulated queries, so that the true mean cost, quality and
largest cost of any policy are known. The rule is routing, which decides the whole population in one call. Each table is
fitted once, and asked for each confidence: without a largest cost, and with the largest of the population.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import headrace as hr
from headrace.datasets import NoisyOracle, simulate
from headrace.estimators import ConstantCost

N_POPULATION, N_MODELS = 10_000, 3
CONFIDENCES = (None, 0.8, 0.9, 0.95)
BUDGET = 0.006

#: Queries of one group, which are the same query.
GROUP_SIZE = 5

#: An outlier's cost is so many times what it was.
OUTLIER = 100.0


class Means(NamedTuple):
    """What a policy does on the population."""

    cost: float
    quality: float
    largest: float


def truth(router: hr.Router, population: hr.Outcomes) -> Means:
    """Mean cost and quality of a routing policy on the population, over its folds and its mixture; its largest cost."""
    nothing = population.responses_for(np.zeros(N_MODELS, dtype=bool))
    rows = np.arange(population.n_queries)
    share, found = router.policy_.share, np.zeros(2)
    largest = 0.0
    for quality, (cost,) in router.estimators_:
        belief, costs = quality.predict(population.queries, nothing), cost.predict(population.queries, nothing)
        for weight, rule in zip((share, 1.0 - share), router.policy_.rules, strict=True):
            if weight > 0.0:
                chosen = rule.select_batch(belief.quality, costs)
                spent = population.cost[rows, chosen]
                found += weight * np.array([spent.mean(), population.quality[rows, chosen].mean()])
                largest = max(largest, float(spent.max()))
    return Means(*(found / len(router.estimators_)).tolist(), largest)


def scaled(population: hr.Outcomes, factor: np.ndarray) -> hr.Outcomes:
    """Multiply the costs of each query, with the mean costs as they were."""
    return dataclasses.replace(population, cost=population.cost * (factor / factor.mean())[:, None])


def outliers(population: hr.Outcomes, share: float) -> hr.Outcomes:
    """Let a share of the queries cost much more, the others as before: nothing foretells it."""
    rows = np.random.default_rng(2).permutation(N_POPULATION)[: round(share * N_POPULATION)]
    cost = population.cost.copy()
    cost[rows] *= OUTLIER
    return dataclasses.replace(population, cost=cost)


def drawn(population: hr.Outcomes, n_queries: int, rng: np.random.Generator, *, grouped: bool) -> hr.Outcomes:
    """Draw a table; in groups, each query comes several times."""
    size = GROUP_SIZE if grouped else 1
    rows = np.repeat(rng.integers(0, N_POPULATION, n_queries // size), size)
    return dataclasses.replace(population.take(rows), groups=np.arange(n_queries) // size if grouped else None)


POPULATIONS: dict[str, Callable[[hr.Outcomes], hr.Outcomes]] = {
    "light tail": lambda population: population,
    "groups of 5": lambda population: population,
    "lognormal, sd of the log 1.5": lambda population: scaled(
        population, np.random.default_rng(3).lognormal(sigma=1.5, size=N_POPULATION)
    ),
    "0.1% cost 100 times": lambda population: outliers(population, 0.001),
    "0.5% cost 100 times": lambda population: outliers(population, 0.005),
}


class Tally:
    """Counts of one row of the table."""

    def __init__(self) -> None:
        self.n_asked = self.n_refused = self.n_broken = self.n_as_said = self.n_warned = self.n_silent = 0
        self.spent: list[float] = []
        self.quality: list[float] = []

    def ask(self, fitted: hr.Router, confidence: float | None, population: hr.Outcomes) -> None:
        """Ask for a budget, and look what it comes to."""
        self.n_asked += 1
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                router = fitted.with_budget(BUDGET, confidence=confidence)
            except ValueError:
                self.n_refused += 1
                return
        means = truth(router, population)
        is_broken = means.cost > BUDGET
        self.n_warned += bool(caught)
        self.n_broken += is_broken
        self.n_silent += is_broken and not caught
        if router.guarantee_ is not None:
            self.n_as_said += is_broken and means.largest <= router.guarantee_.largest["cost"]
        self.spent.append(means.cost / BUDGET)
        self.quality.append(means.quality)

    def row(self, name: str, n_queries: int, largest: str, confidence: float | None) -> str:
        """Write the row."""
        promised = "none" if confidence is None else f"{confidence:g} (at most {1.0 - confidence:.0%})"
        counts = [self.n_refused, self.n_warned, self.n_broken, self.n_silent, self.n_as_said]
        shares = [f"{count / self.n_asked:.1%}" for count in counts]
        if confidence is None:
            shares[1] = shares[3] = shares[4] = ""
        means = [f"{np.mean(values):.3f}" if values else "" for values in (self.spent, self.quality)]
        return "| " + " | ".join([name, str(n_queries), largest, promised, *shares, *means]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200, help="tables for each population and size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 4_000], help="labelled queries of a table")
    given = parser.parse_args()
    plain = simulate(N_POPULATION, N_MODELS, rng=100)
    print(
        "| costs | labelled queries | largest cost | confidence | refused | warned | broken | broken, no warning "
        "| broken, no query beyond the cap | mean cost / budget | true quality |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    started = time.perf_counter()
    for name, change in POPULATIONS.items():
        population = change(plain)
        largest_costs = {"not given": None, "given": float(population.cost.max())}
        for n_queries in given.sizes:
            rng = np.random.default_rng(1)
            tallies = {(said, level): Tally() for said in largest_costs for level in CONFIDENCES}
            for seed in range(given.repetitions):
                table = drawn(population, n_queries, rng, grouped=name.startswith("groups"))
                fitting, calibration = table.split(0.5, rng=seed)
                for said, largest in largest_costs.items():
                    router = hr.Router(quality=NoisyOracle(fusion=True), cost=ConstantCost(), rule="routing", seed=seed)
                    router.fit(fitting, calibration=calibration, largest_cost=largest)
                    for level in CONFIDENCES:
                        if level is not None or largest is None:
                            tallies[said, level].ask(router, level, population)
            for (said, level), tally in tallies.items():
                if tally.n_asked:
                    print(tally.row(name, n_queries, said, level), flush=True)
    print(f"\n{time.perf_counter() - started:.0f} seconds.")


if __name__ == "__main__":
    main()
