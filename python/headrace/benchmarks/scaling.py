"""Time of one decision against the number of models, on the inputs of the reference code's own runtime script."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

from headrace.benchmarks.results import Results, Table
from headrace.rules import CascadeRouting

__all__ = ["scaling"]

#: Numbers of models.
SIZES = (2, 3, 5, 8, 11, 15, 20, 30, 50, 75, 100)

#: Milliseconds of one decision by the reference code (v1.1, two cores, best of repeats, median over inputs).
REFERENCE_MS = {2: 0.22, 3: 0.46, 5: 1.36, 8: 4.0, 11: 9.5, 15: 23.0, 20: 70.0, 30: 256.0}

#: Decisions per size.
N_PROBLEMS = 50

#: Variance of each update.
VARIANCE = 0.01


def scaling(
    *, n_draws: int = 5, sizes: tuple[int, ...] = SIZES, progress: Callable[[str, float], None] | None = None
) -> Results:
    """Time single decisions of cascade routing, without and with a limit on depth.

    Parameters
    ----------
    n_draws : int
        Repeats, of which the fastest counts.
    sizes : tuple of int
        Numbers of models.
    progress : callable, optional
        As in `headrace.benchmarks.routerbench.routerbench`.

    Returns
    -------
    Results
    """
    rows = []
    for done, k in enumerate(sizes):
        free, limited = (_measured(k, depth, n_draws) for depth in (k, 5))
        rows.append((k, *free, *limited, REFERENCE_MS.get(k)))
        if progress is not None:
            progress("sizes", (done + 1) / len(sizes))
    columns = ["models"]
    for depth in ("any depth", "depth 5"):
        measures = ("microseconds, median", "microseconds, 95%", "most sets valued", "bounded (%)")
        columns += [f"{depth}: {measure}" for measure in measures]
    note = (
        "Bounded: the search met its limit of sets, and gives a proven gap instead of a proof. The reference "
        "enumerates; at 50 models it took more than 2,980 ms. Its times are of another machine's two cores: read the "
        "ratio's order of magnitude only."
    )
    about = (
        f"Quality, cost and cost weight uniform on [0, 1], variance {VARIANCE}, nothing run yet: {N_PROBLEMS} "
        f"decisions per size, each the fastest of {n_draws} calls of `CascadeRouting.select` from Python."
    )
    return Results(
        "Runtime of one decision",
        about,
        (Table("Independent estimates", (*columns, "reference: milliseconds"), tuple(rows), (note,)),),
    )


def _measured(k: int, depth: int, repeats: int) -> tuple[float, float, int, float]:
    """Median and 95% of the microseconds, most sets valued, share of the decisions that met the limit."""
    rng = np.random.default_rng(k)
    times, nodes, bounded = [], [], []
    for _ in range(N_PROBLEMS):
        quality, cost = rng.random(k).tolist(), rng.random(k).tolist()
        rule = CascadeRouting(float(rng.random()), max_depth=depth)
        best = np.inf
        for _ in range(repeats):
            started = perf_counter()
            decision = rule.select(quality, cost, variance=[VARIANCE] * k)
            best = min(best, perf_counter() - started)
        times.append(1e6 * best)
        nodes.append(decision.n_nodes)
        bounded.append(decision.status == "bounded")
    return float(np.median(times)), float(np.quantile(times, 0.95)), max(nodes), 100.0 * float(np.mean(bounded))
