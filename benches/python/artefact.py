"""Files of routers: size, and times of saving and loading, for every built-in estimator.

A router is fitted on 2,000 queries of the bundled table (5 models, 5 folds: each file holds 5 pairs of estimators),
warmed, saved and loaded. Beside it stands a pickle of the same decider, which may run anything when it is loaded.

    python benches/python/artefact.py
"""

from __future__ import annotations

import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import headrace as hr
from headrace.estimators import CalibratedQuality, ClusterQuality, KNeighborsQuality, LinearQuality, make

N_QUERIES = 2_000
N_TIMES = 15

QUALITIES: dict[str, Callable[[], Any]] = {
    "constant": lambda: make("constant"),
    "clusters": lambda: make("clusters"),
    "neighbors": lambda: make("neighbors"),
    "boosting": lambda: make("boosting"),
    "joint": lambda: make("joint"),
    "linear": lambda: make("linear"),
    "linear, ex ante": lambda: LinearQuality(ex_ante=KNeighborsQuality()),
    "calibrated": lambda: CalibratedQuality(ClusterQuality()),
}


def median_ms(action: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Give the median time of an action by a clock."""
    times = []
    for _ in range(N_TIMES):
        start = clock()
        action()
        times.append(clock() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    """Print the table."""
    table = hr.datasets.load_quickstart().take(range(N_QUERIES))
    print(f"{N_QUERIES} queries x {len(table.models)} models; medians of {N_TIMES}, ms; cpu: of this process alone")
    print(
        f"{'quality':16} {'cost':9} {'MB':>6} {'save':>7} {'load':>7} {'load cpu':>9} {'pickle MB':>10} {'unpickle':>9}"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "router.headrace"
        for name, quality in QUALITIES.items():
            for cost in ("constant", "linear"):
                decider = hr.Router(quality=quality(), cost=cost).fit(table, budget=100.0).decider_.warm()
                save = median_ms(lambda decider=decider: decider.save(path), time.perf_counter)
                load = median_ms(lambda: hr.load(path), time.perf_counter)
                cpu = median_ms(lambda: hr.load(path), time.process_time)
                pickled = pickle.dumps(decider)
                unpickle = median_ms(lambda pickled=pickled: pickle.loads(pickled), time.perf_counter)
                size = path.stat().st_size / 1e6
                print(
                    f"{name:16} {cost:9} {size:6.2f} {save:7.1f} {load:7.1f} {cpu:9.1f} "
                    f"{len(pickled) / 1e6:10.2f} {unpickle:9.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
