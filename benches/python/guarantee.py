"""How often a budget is broken on fresh queries, with and without a confidence, and what the confidence costs.

    python benches/python/guarantee.py > docs/results/guarantee.md

Tables are drawn, with replacement, from a population of simulated queries, so that the true mean cost and quality of
any policy are known. The rule is routing, which decides the whole population in one call.
"""

from __future__ import annotations

import time

import numpy as np

import headrace as hr
from headrace.datasets import NoisyOracle, simulate
from headrace.estimators import ConstantCost

N_POPULATION, N_MODELS, N_REPETITIONS = 20_000, 3, 400
SIZES = (200, 500, 1_000, 2_000)
BUDGET = 0.002


def truth(router: hr.Router, population: hr.Outcomes) -> tuple[float, float]:
    """Mean cost and quality of a routing policy on the population, over its folds and its mixture."""
    nothing = population.responses_for(np.zeros(N_MODELS, dtype=bool))
    rows = np.arange(population.n_queries)
    means = []
    for quality, (cost,) in router.estimators_:
        belief, costs = quality.predict(population.queries, nothing), cost.predict(population.queries, nothing)
        for rule in router.policy_.rules:
            chosen = rule.select_batch(belief.quality, costs)
            means.append((population.cost[rows, chosen].mean(), population.quality[rows, chosen].mean()))
    cheap, costly = np.mean(means[0::2], axis=0), np.mean(means[1::2], axis=0)
    share = router.policy_.share
    spent, reached = share * cheap + (1.0 - share) * costly
    return float(spent), float(reached)


def main() -> None:
    population = simulate(N_POPULATION, N_MODELS, rng=100)
    print("| labelled queries | confidence | budget broken | mean cost / budget | true quality | seconds per fit |")
    print("|---|---|---|---|---|---|")
    for n_queries in SIZES:
        for confidence in (None, 0.8, 0.95):
            rng = np.random.default_rng(1)
            broken, spent, reached, seconds, n_refused = 0, [], [], 0.0, 0
            for seed in range(N_REPETITIONS):
                table = population.take(rng.integers(0, N_POPULATION, n_queries))
                router = hr.Router(quality=NoisyOracle(fusion=True), cost=ConstantCost(), rule="routing", seed=seed)
                started = time.perf_counter()
                try:
                    router.fit(table, budget=BUDGET, confidence=confidence)
                except ValueError:
                    n_refused += 1
                    continue
                seconds += time.perf_counter() - started
                cost, quality = truth(router, population)
                broken += cost > BUDGET
                spent.append(cost / BUDGET)
                reached.append(quality)
            said = "none" if confidence is None else f"{confidence:g}"
            refused = f" ({n_refused} fits refused)" if n_refused else ""
            line = f"| {n_queries} | {said}{refused} | {broken / N_REPETITIONS:.1%} | {np.mean(spent):.3f} | "
            line += f"{np.mean(reached):.4f} | {seconds / max(len(spent), 1):.3f} |"
            print(line, flush=True)


if __name__ == "__main__":
    main()
