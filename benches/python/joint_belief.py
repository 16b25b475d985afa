"""The joint belief next to a regression per run set: errors, missing cells, times, areas with few labels.

    nice python benches/python/joint_belief.py DATA_DIR [--seeds 5] > docs/results/joint_belief.md

DATA_DIR holds ``mmlu_pro.parquet`` and ``routerbench_arc_mbpp_winogrande.parquet``: a table of outcomes each, columns
``<model>|quality``, ``|cost``, ``|answer``, ``|response_len``. Every seed draws the queries of both parts anew.
Intervals are of 95%, by Student's t over the seeds. It takes some ten minutes on
one core.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
from estimators import interval, shown
from partial_logs import area

import headrace as hr
from headrace.arguments import BoolArray, FloatArray
from headrace.estimators import JointQuality, LinearQuality, QualityEstimator
from headrace.estimators.gaussian import Strengths

FIVE = [
    "Meta-Llama-3_1-8B-Instruct",
    "gemini-1.5-flash-002",
    "Meta-Llama-3_1-70B-Instruct",
    "gemini-1.5-pro-002",
    "gpt-4o (May-2024 run)",
]
SIX_MORE = [
    "Phi-3-mini-4k-instruct",
    "mathstral-7B",
    "Mixtral-8x7B-Instruct-v0.1",
    "deepseek-chat-v2 (May-2024 run)",
    "jamba-1.5-large",
    "c4ai-command-r-v01",
]
ROUTERBENCH_FIVE = [
    "mistralai/mistral-7b-chat",
    "mistralai/mixtral-8x7b-chat",
    "zero-one-ai/Yi-34B-Chat",
    "gpt-3.5-turbo-1106",
    "gpt-4-1106-preview",
]

N_FIT = (100, 200, 1500)
N_TEST = 1500
SHARES = (0.0, 0.5, 0.8)

#: Most queries on which areas are taken, and run sets whose regressions are timed.
MOST_TEST = 3000
N_DRAWN = 60

#: Run sets per size on which errors are taken.
RUN_SETS = 5

Fit = Callable[[], QualityEstimator]


def tables(folder: Path) -> Iterator[tuple[str, hr.Outcomes]]:
    mmlu = hr.Outcomes.from_file(folder / "mmlu_pro.parquet")
    routerbench = hr.Outcomes.from_file(folder / "routerbench_arc_mbpp_winogrande.parquet")
    yield "mmlu_pro 5", mmlu.select(FIVE).complete()
    yield "mmlu_pro 11", mmlu.select(FIVE + SIX_MORE).complete()
    yield "routerbench 5", routerbench.select(ROUTERBENCH_FIVE).complete()
    yield "routerbench 11", routerbench.complete()


def parts(table: hr.Outcomes, seed: int, n_fit: int, n_test: int) -> tuple[hr.Outcomes, hr.Outcomes]:
    order = np.random.default_rng(seed).permutation(table.n_queries)
    return table.take(order[:n_fit]), table.take(order[n_fit : n_fit + n_test])


def run_sets(n_models: int) -> list[list[BoolArray]]:
    """Some run sets of each size."""
    rng = np.random.default_rng(0)
    by_size = []
    for size in range(n_models + 1):
        sets = list(itertools.combinations(range(n_models), size))
        drawn = rng.permutation(len(sets))[:RUN_SETS]
        by_size.append([np.isin(np.arange(n_models), sets[i]) for i in drawn])
    return by_size


def errors_by_size(estimator: QualityEstimator, test: hr.Outcomes) -> FloatArray:
    """Mean squared errors of the estimates after 0, 1, ... models have run."""
    by_size = []
    for masks in run_sets(test.n_models):
        estimates = [estimator.predict(test.queries, test.responses_for(run)).quality for run in masks]
        by_size.append(np.mean([np.mean((quality - test.quality) ** 2) for quality in estimates]))
    return np.array(by_size)


def fitted(estimator: QualityEstimator, fitting: hr.Outcomes, run: BoolArray | None = None) -> QualityEstimator:
    run = np.ones(fitting.quality.shape, dtype=bool) if run is None else run
    return estimator.fit(fitting.queries, fitting.responses_for(run), np.where(run, fitting.quality, np.nan))


def seconds(action: Callable[[], object], repeats: int = 1) -> float:
    """Time of the processor: other work on the machine doesn't count."""
    start = time.process_time()
    for _ in range(repeats):
        action()
    return (time.process_time() - start) / repeats


KINDS: dict[str, Fit] = {
    "regressions": LinearQuality,
    "joint": JointQuality,
    "no pooling": lambda: JointQuality(strengths=Strengths(0.0, 0.3, 0.03)),
    "pooled alone": lambda: JointQuality(strengths=Strengths(1e3, 0.3, 0.03)),
}

HEAD = """# The joint belief next to a regression per run set

`python benches/python/joint_belief.py DATA_DIR --seeds {seeds}`: `JointQuality` (one shrunk Gaussian) and
`LinearQuality` (a ridge regression per run set) on the same features. Five models, or eleven of several families and
prices; every seed draws the queries of both parts anew. *Pooled alone* is the covariance's mean over all renamings of
the models, which holds the one-factor model of equal loadings; *no pooling* is a ridge on the sample covariance.
"""

ERRORS = """## Errors

Mean squared error of the estimates of all models on {n_test:,} test queries, averaged over the sizes of the run set
from none to all: mean of {seeds} draws. *Difference*: joint minus regressions, with half the width of its 95% interval.
"""

MISSING = """## Missing cells

Cells of the fitting part (a run and its label) missing at random; the same mean error of the joint belief, with half
the width of its 95% interval. The regressions need complete rows. Areas: partial_logs.md.
"""

TIMES = """## Times

Processor seconds on one core, eleven models; medians of {repeats} fits. *Regressions*: the fits of all 2,048 run sets
with their leave-one-out updates, from a sample of {n_drawn}, without the time that a prediction takes. *Joint*: the
whole fit, cross-validation of the strengths and the gains of all 2,048 run sets included. *Query*: microseconds of one
query's belief after five runs, *10,000*: seconds of that many.
"""

AREAS = """## Areas with few labels

Area under quality against cost of cascade routing, in %, on up to {n_test:,} test queries: mean of {seeds} draws
(`joint_belief.py DATA_DIR areas --seeds {seeds}`); the difference is paired. With 1,500 labels: estimators.md.
"""

BEHIND = """## What stays behind

- A single structure for all models (*pooled alone*) loses from a few hundred queries on: whether an agreement is with a
  strong or with a weak model matters, and signals differ between models. Cross-validation then lowers the pooling to
  0.1 to 0.3 of the weight of the sample.
- With 1,500 queries the errors of the two are the same to .0003: both are then linear in the same features, and the
  one's advantage, that it knows what holds for all models, is used up. Where areas differ then, it is by tenths of a
  point (estimators.md).
- With missing cells a fit takes seconds: EM meets a pattern of its own in nearly every query. Where a router's rule
  decided what is missing, the prior leaves a part of the bias of the known cells.
"""


def header(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |\n|{'---|' * len(cells)}")


def row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def errors(named: dict[str, hr.Outcomes], seeds: int) -> None:
    print(ERRORS.format(n_test=N_TEST, seeds=seeds))
    header("data", "queries to fit", "regressions", "joint", "difference", "no pooling", "pooled alone")
    for (name, table), n_fit in itertools.product(named.items(), N_FIT):
        draws = [parts(table, seed, n_fit, N_TEST) for seed in range(seeds)]
        found = {
            kind: np.array([errors_by_size(fitted(make(), fitting), test).mean() for fitting, test in draws])
            for kind, make in KINDS.items()
        }
        difference = found["joint"] - found["regressions"]
        means = [f"{values.mean():.4f}" for values in found.values()]
        row(name, f"{n_fit:,}", *means[:2], f"{difference.mean():+.4f} ± {interval(difference):.4f}", *means[2:])


def missing_cells(named: dict[str, hr.Outcomes], seeds: int) -> None:
    print(MISSING)
    header("data", "queries to fit", *(f"{share:.0%}" for share in SHARES), "seconds to fit")
    for (name, table), n_fit in itertools.product(named.items(), N_FIT[1:]):
        cells, taken = [], []
        for share in SHARES:
            found = []
            for seed in range(seeds):
                fitting, test = parts(table, seed, n_fit, N_TEST)
                run = np.random.default_rng(seed).random(fitting.quality.shape) >= share
                estimator = JointQuality()
                taken.append(seconds(lambda: fitted(estimator, fitting, run)))  # noqa: B023  # called at once
                found.append(errors_by_size(estimator, test).mean())
            cells.append(f"{np.mean(found):.4f} ± {interval(np.array(found)):.4f}")
        by_share = np.reshape(taken, (len(SHARES), seeds)).mean(axis=1)
        row(name, f"{n_fit:,}", *cells, ", ".join(f"{x:.1f}" for x in by_share))


def times(named: dict[str, hr.Outcomes], seeds: int) -> None:
    print(TIMES.format(repeats=seeds, n_drawn=N_DRAWN))
    header("data", "queries to fit", "regressions", "joint", "ratio", "query (us)", "10,000 (s)")
    for (name, table), n_fit in itertools.product(named.items(), N_FIT[1:]):
        k = table.n_models
        if k < 11:
            continue
        every = [np.isin(np.arange(k), s) for size in range(k + 1) for s in itertools.combinations(range(k), size)]
        drawn = [every[i] for i in np.random.default_rng(0).permutation(len(every))[:N_DRAWN]]
        fitting, test = parts(table, 0, n_fit, N_TEST)
        one, many = test.take([0]), test.take(np.arange(10_000) % N_TEST)
        separate, joint = [], []
        for _ in range(seeds):
            regressions, estimator = LinearQuality(), JointQuality()
            start = seconds(lambda: fitted(regressions, fitting))  # noqa: B023  # called at once
            ask = lambda: [regressions.predict(one.queries, one.responses_for(run)) for run in drawn]  # noqa: B023, E731
            separate.append(start + (seconds(ask) - seconds(ask)) * len(every) / len(drawn))
            joint.append(seconds(lambda: fitted(estimator, fitting)))  # noqa: B023
        run = np.arange(k) < 5
        single, batch = one.responses_for(run), many.responses_for(run)
        query = min(seconds(lambda: estimator.predict(one.queries, single), 20) for _ in range(50))  # noqa: B023
        block = min(seconds(lambda: estimator.predict(many.queries, batch)) for _ in range(3))  # noqa: B023
        first, second = median(separate), median(joint)
        row(
            name,
            f"{n_fit:,}",
            f"{first:.2f}",
            f"{second:.3f}",
            f"{first / second:.0f}",
            f"{1e6 * query:.0f}",
            f"{block:.3f}",
        )


def areas(named: dict[str, hr.Outcomes], seeds: int) -> None:
    print(AREAS.format(n_test=MOST_TEST, seeds=seeds))
    header("data", "queries to fit", "regressions", "joint", "difference")
    for (name, table), n_fit in itertools.product(named.items(), N_FIT[1:2]):
        draws = [parts(table, seed, n_fit, min(MOST_TEST, table.n_queries - n_fit)) for seed in range(seeds)]
        first, second = (np.array([area(make(), *draw) for draw in draws]) for make in (LinearQuality, JointQuality))
        row(name, f"{n_fit:,}", shown(first), shown(second), shown(second - first, "+"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = {"errors": errors, "missing": missing_cells, "times": times, "areas": areas}
    parser.add_argument("folder", type=Path, metavar="DATA_DIR")
    parser.add_argument("sections", nargs="*", choices=list(sections), default=list(sections), metavar="section")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    named = dict(tables(options.folder))
    print(HEAD.format(seeds=options.seeds))
    for section in options.sections:
        sections[section](named, options.seeds)
        print(flush=True)
    print(BEHIND)


if __name__ == "__main__":
    main()
