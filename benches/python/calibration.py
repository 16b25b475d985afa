"""Time and memory of whole budget paths on simulated queries: ``make bench-calibration``.

The estimates are given (the noisy oracle, fitted once), so that the times are those of the walk: beliefs looked up,
profiles searched, path summed.
"""

from __future__ import annotations

import resource
import time

import headrace as hr
from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import fit_estimators
from headrace.calibration.walk import budget_path, walk
from headrace.datasets import NoisyOracle, simulate
from headrace.estimators import ConstantCost
from headrace.rules import make_rule

CASES = [
    ("cascade-routing", 5, 500),
    ("cascade-routing", 11, 500),
    ("cascade-routing", 11, 1_800),
    ("cascade-routing", 11, 2_000),
    ("cascade-routing", 11, 8_000),
    ("cascade", 11, 2_000),
    ("routing", 11, 2_000),
    ("threshold-cascade", 11, 2_000),
    ("index", 11, 2_000),
]


def main() -> None:
    print("rule               models  queries  noise    seconds   points   peak MiB of the process")
    for rule, n_models, n_queries in CASES:
        for noise in ("low", "high"):
            outcomes = simulate(n_queries, n_models, noise=noise, rng=1)
            estimators = fit_estimators(simulate(500, n_models, noise=noise, rng=2), NoisyOracle(), ConstantCost())
            table = BeliefTable.served(outcomes, [estimators])
            settings = {"max_depth": 5} if rule in ("cascade", "cascade-routing") else {}
            started = time.perf_counter()
            path = budget_path(walk(make_rule(rule, 0.0, settings), outcomes, table), outcomes.costs)
            seconds = time.perf_counter() - started
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{rule:18} {n_models:6} {n_queries:8}  {noise:6} {seconds:9.3f} {len(path.cost):8}   {peak:8.0f}",
                flush=True,
            )
    print(f"headrace {hr.__version__}")


if __name__ == "__main__":
    main()
