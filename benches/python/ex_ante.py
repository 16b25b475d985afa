"""Estimators of quality before any run.

    nice python benches/python/ex_ante.py DATA_DIR [--seeds 5] > docs/results/ex_ante.md

DATA_DIR and the draws are those of estimators.py beside this file. The logistic regression is scikit-learn's.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from estimators import CASES, interval, parts, table_of
from sklearn.linear_model import LogisticRegression

import headrace as hr
from headrace.arguments import FloatArray
from headrace.estimators import (
    BoostingQuality,
    ClusterQuality,
    ConstantQuality,
    JointQuality,
    KNeighborsQuality,
    LinearQuality,
    Queries,
    QueryFeatures,
)
from headrace.estimators.belief import Belief

#: Inverse penalties tried, and folds in which they are.
STRENGTHS = np.geomspace(1e-3, 10.0, 9)
N_FOLDS = 5


class Logistic:
    """One regularised logistic regression per model, on the features of `LinearQuality`.

    Its penalty is that of the smallest squared error on held-out folds.
    """

    def fit(self, queries: Queries, responses: hr.Responses, targets: FloatArray) -> Self:
        self._encoder = QueryFeatures().fit(queries)
        raw = self._encoder.transform(queries, len(targets))
        self._centre, self._scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-9)
        x, fold = (raw - self._centre) / self._scale, np.random.default_rng(0).permutation(len(targets)) % N_FOLDS
        self._of_models = [self._best(x, y, fold) for y in targets.T]
        return self

    def predict(self, queries: Queries, responses: hr.Responses) -> Belief:
        x = (self._encoder.transform(queries, len(responses)) - self._centre) / self._scale
        return Belief(np.column_stack([of_model(x) for of_model in self._of_models]))

    def _best(self, x: FloatArray, y: FloatArray, fold: FloatArray) -> Callable[[FloatArray], FloatArray]:
        def error(strength: float) -> float:
            off = [_logistic(x[fold != f], y[fold != f], strength)(x[fold == f]) - y[fold == f] for f in range(N_FOLDS)]
            return float((np.concatenate(off) ** 2).sum())

        return _logistic(x, y, min(STRENGTHS, key=error))


def _logistic(x: FloatArray, y: FloatArray, strength: float) -> Callable[[FloatArray], FloatArray]:
    if len(np.unique(y > 0.5)) < 2:
        return lambda fresh: np.full(len(fresh), y.mean())
    # A score in between counts as right in part.
    both, labels = np.concatenate([x, x]), np.repeat([1, 0], len(x))
    weights = np.concatenate([y, 1.0 - y])
    regression = LogisticRegression(C=strength, max_iter=300).fit(both, labels, sample_weight=weights)
    return lambda fresh: np.asarray(regression.predict_proba(fresh)[:, 1])


KINDS: dict[str, Callable[[], Any]] = {
    "constant": ConstantQuality,
    "linear (ridge)": LinearQuality,
    "joint belief": JointQuality,
    "logistic, as many features": Logistic,
    "linear, n-grams": lambda: LinearQuality(n_grams=True),
    "neighbours": KNeighborsQuality,
    "clusters": ClusterQuality,
    "boosting": BoostingQuality,
}
NAMES = ("mmlu_pro, 5", "routerbench, 5", "swebench, 5 agents")
N_FIT = (200, 1500)

HEAD = """# Before any run

`python benches/python/ex_ante.py DATA_DIR --seeds {seeds}`: mean squared error (Brier score) of the estimates from the
query alone, on up to 1,500 test queries; mean of {seeds} draws, and the difference to *linear* with half the width of
its 95% interval. Neighbours, clusters, boosting and *n-grams* see what the text says (hashed
n-grams), the others task and length only.
"""

TAIL = """
The logistic regression's errors differ from the ridge's by less than .001, in either direction, and no interval is off
zero: there is no estimator of its own for it. Neighbours are about as good but on SWE-bench, where they are behind.
Clusters are behind everywhere; so is boosting, but for mmlu_pro with 1,500 labels. N-grams change the ridge's error by
.0013 at most; only on mmlu_pro with 1,500 labels is that beyond its own error.
"""


def error(make: Callable[[], Any], fitting: hr.Outcomes, test: hr.Outcomes) -> float:
    k = fitting.n_models
    fitted = make().fit(fitting.queries, fitting.responses_for(np.ones(k, dtype=bool)), fitting.quality)
    estimates = fitted.predict(test.queries, test.responses_for(np.zeros(k, dtype=bool))).quality
    return float(np.mean((estimates - test.quality) ** 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    print(HEAD.format(seeds=options.seeds))
    print("| data | queries to fit | estimator | error | minus linear |\n|---|---|---|---|---|")
    for case in [case for case in CASES if case.name in NAMES]:
        table = table_of(options.directory, case)
        for n_fit in N_FIT:
            if n_fit + 200 > table.n_queries:
                continue
            sized = case._replace(n_fit=n_fit, n_test=min(case.n_test, 1500))
            draws = [parts(table, sized, seed) for seed in range(options.seeds)]
            errors = {kind: np.array([error(make, *draw) for draw in draws]) for kind, make in KINDS.items()}
            for kind, found in errors.items():
                off = found - errors["linear (ridge)"]
                versus = "" if kind == "linear (ridge)" else f"{off.mean():+.4f} ± {interval(off):.4f}"
                print(f"| {case.name} | {n_fit:,} | {kind} | {found.mean():.4f} | {versus} |", flush=True)
    print(TAIL, end="")


if __name__ == "__main__":
    main()
