"""An item-response model next to the package's two estimators: errors after every number of runs, and areas.

    nice python benches/python/item_response.py DATA_DIR [--seeds 5] > docs/results/item_response.md

DATA_DIR and the draws of the queries are those of estimators.py beside this file. Intervals are of 95%, by Student's t
over the seeds.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from estimators import CASES, interval, parts, shown, table_of
from item_response_model import ItemResponse
from joint_belief import errors_by_size, header, row

import headrace as hr
from headrace.arguments import FloatArray
from headrace.estimators import JointQuality, LinearQuality, QualityEstimator

#: Test queries on which errors are taken where there are eleven models: 2^11 states cost.
N_ERRORS = 600

KINDS: dict[str, Any] = {
    "regressions": LinearQuality,
    "joint": JointQuality,
    "factor": lambda: ItemResponse("factor", own_effects=False),
    "outcomes": lambda: ItemResponse("outcomes", own_effects=True),
}

#: The cases of estimators.py, and the numbers of queries to fit.
NAMES = {
    "mmlu_pro, 5": (100, 200, 1500),
    "mmlu_pro, 11": (100, 200, 1500),
    "routerbench, 11": (100, 200, 1500),
    "swebench, 5 agents": (100, 250),
}

#: Numbers of runs whose errors are shown.
SHOWN = (0, 1, 2, 3, 5, 11)

HEAD = """# An item-response model next to the joint belief

`python benches/python/item_response.py DATA_DIR`: the two estimators of the package and a two-parameter item-response
model, P(model j right) = sigmoid(slope_j factor + intercept_j), with one factor per query on a grid of 17 nodes, its
mean linear in the query's features, fitted by EM. Penalties and the weight of the signals' likelihoods are chosen by
cross-validation. *Factor*: after a run, its signals (length and agreement of answers) have likelihoods given the
factor. *Outcomes*: they have likelihoods given which of the models run are right, and those outcomes are summed over
exactly, 2^r for r runs; each model's intercept depends on the query's features as well. On SWE-bench the outcome is
known after the run, and enters by its likelihood given the factor in both.

Mean squared error of the estimates of all models (Brier score) on 1,500 test queries (eleven models: 600, SWE-bench:
250), after 0, 1, ... runs, averaged over up to five run sets of each size, and the mean over all sizes; mean of {seeds}
draws, and the difference to the joint belief with half the width of its 95% interval. Area of cascade routing (at most
three models per query where there are eleven, and with 200 labels only) on 1,500 test queries, in %, on the same draws.
"""

TAIL = """## What it says

- Where only the factor carries what a run says (*factor*), errors hardly fall with more runs, and on RouterBench they
  rise: an agreement raises the estimates of all models alike, those of other answers included.
- With likelihoods given who is right (*outcomes*), the item-response model is level with the joint belief before any
  run, and falls behind with each run more where answers agree or don't: by .01 to .09 after all. The agreements of
  one answer with several others aren't independent even given who is right, and one weight of their likelihoods can't
  make them so; the Gaussian has their covariance.
- On SWE-bench, where outcomes are known and nothing agrees, its likelihood is the right one. Its errors are still
  .002 to .005 larger: it makes less of costs and numbers of calls. With 100 labels its area is larger by 0.3 to 0.4
  points all the same, with 250 it isn't: the only place where it wins.
- On the other tables areas are behind by 0.3 to 1.0 points (*outcomes*) and by 0.8 to 3.0 (*factor*).
- Between the two of the package: the joint belief has the smaller errors with 100 and 200 labels on every table, and
  with 1,500 the two are equal.
"""


def area(quality: QualityEstimator, fitting: hr.Outcomes, test: hr.Outcomes) -> float:
    router = hr.Router(rule="cascade-routing", quality=quality, max_depth=3 if test.n_models > 5 else 5).fit(fitting)
    return 100.0 * hr.evaluate(router, test, baselines=[], n_resamples=2, n_examples=0).methods[0].area


def measured(make: Any, fitting: hr.Outcomes, test: hr.Outcomes) -> tuple[FloatArray, float]:
    """Errors by number of runs, and the area; NaN where it would take too long."""
    everything = fitting.responses_for(np.ones(fitting.n_models, dtype=bool))
    fitted = make().fit(fitting.queries, everything, fitting.quality)
    some = test if test.n_models <= 5 else test.take(np.random.default_rng(0).permutation(len(test))[:N_ERRORS])
    with_area = test.n_models <= 5 or len(fitting) == 200
    return errors_by_size(fitted, some), area(make(), fitting, test) if with_area else np.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name begins so")
    options = parser.parse_args()
    print(HEAD.format(seeds=options.seeds))
    for case in [case for case in CASES if case.name in NAMES and case.name.startswith(options.only)]:
        table = table_of(options.directory, case)
        sizes = [size for size in SHOWN if size <= table.n_models]
        cells = ["queries to fit", "estimator", *map(str, sizes), "mean", "minus joint", "area", "minus joint"]
        print(f"## {case.name}\n")
        header(*cells)
        for n_fit in NAMES[case.name]:
            started = time.perf_counter()
            sized = case._replace(n_fit=n_fit, n_test=min(case.n_test, 1500))
            draws = [parts(table, sized, seed) for seed in range(options.seeds)]
            found = {kind: [measured(make, *draw) for draw in draws] for kind, make in KINDS.items()}
            errors = {kind: np.array([of[0] for of in values]) for kind, values in found.items()}
            areas = {kind: np.array([of[1] for of in values]) for kind, values in found.items()}
            for kind in KINDS:
                mean, gain = errors[kind].mean(axis=1), areas[kind] - areas["joint"]
                off = mean - errors["joint"].mean(axis=1)
                versus = [f"{off.mean():+.4f} ± {interval(off):.4f}", shown(gain, "+")]
                versus = ["", ""] if kind == "joint" else versus
                of_area = ["", ""] if np.isnan(gain).any() else [shown(areas[kind]), versus[1]]
                by_size = [f"{error:.4f}" for error in errors[kind].mean(axis=0)[sizes]]
                row(f"{n_fit:,}", kind, *by_size, f"{mean.mean():.4f}", versus[0], *of_area)
            print(f"{case.name}, {n_fit}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        print()
    print(TAIL, end="")


if __name__ == "__main__":
    main()
