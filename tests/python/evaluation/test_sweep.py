"""Sweeps: the same bits by every map, one fit for settings that differ in the budget only, and a real local Ray."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import headrace as hr
from headrace.evaluation.sweep import Swept, joblib_map, sweep
from headrace.policy import Policy
from headrace.serving import BeliefDecider

SETTINGS: list[dict[str, Any]] = [
    {"rule": rule, "budget": budget, "seed": seed, "quality": "linear"}
    for rule in ("routing", "cascade-routing")
    for budget in (50.0, 200.0)
    for seed in (0, 1)
] + [{"rule": "index", "quality": "constant", "quality_target": 0.8}]


@pytest.fixture(scope="module")
def halves() -> tuple[hr.Outcomes, hr.Outcomes]:
    first, second = hr.datasets.load_quickstart().take(np.arange(400)).split(0.5)
    return first, second


@pytest.fixture(scope="module")
def serial(halves: tuple[hr.Outcomes, hr.Outcomes]) -> list[Swept]:
    return sweep(halves[0], SETTINGS, test=halves[1])


def test_each_setting_is_fitted_as_by_hand(halves: tuple[hr.Outcomes, hr.Outcomes], serial: list[Swept]) -> None:
    assert [one.settings for one in serial] == SETTINGS
    for one in serial[::4]:
        keywords = dict(one.settings)
        point = {name: keywords.pop(name) for name in ("budget", "quality_target") if name in keywords}
        router = hr.Router(**keywords).fit(halves[0], **point)
        assert one.policy == router.policy_
        assert one.expected == router.point_
    # What a routing policy chooses for each test query, by hand.
    one, test = serial[0], halves[1]
    router = hr.Router(rule="routing", quality="linear", seed=0).fit(halves[0], budget=50.0)
    quality, cost = np.zeros(2), np.zeros(2)
    for which, parameter in enumerate(one.policy.parameters):
        alone = Policy(one.policy.models, "routing", {}, (parameter, parameter))
        chosen = dataclasses.replace(router.decider_, policy=alone).select_batch(test.queries, ids=test.ids)
        rows = np.arange(len(test))
        quality[which], cost[which] = test.quality[rows, chosen].mean(), test.cost[rows, chosen].mean()
    shares = [one.policy.share, 1.0 - one.policy.share]
    assert one.quality == pytest.approx(shares @ quality)
    assert one.cost == pytest.approx(shares @ cost)


def test_a_largest_cost_is_that_of_the_fit(halves: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    largest = float(halves[0].cost.max())
    common: dict[str, Any] = {"rule": "routing", "quality": "constant", "cost": "constant", "confidence": 0.9}
    settings = [{**common, "budget": 150.0, "largest_cost": times * largest} for times in (1.0, 1.5)]
    for one in sweep(halves[0], settings):
        keywords = {name: one.settings[name] for name in ("rule", "quality", "cost")}
        point = {name: one.settings[name] for name in ("budget", "confidence", "largest_cost")}
        assert one.policy == hr.Router(**keywords).fit(halves[0], **point).policy_
    target = {**common, "quality_target": 0.6, "largest_cost": largest}
    with pytest.raises(ValueError, match="largest_cost: expected None for a quality_target"):
        sweep(halves[0], [settings[0], target])


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib_gives_the_same_bits(backend: str, halves: tuple[hr.Outcomes, hr.Outcomes], serial: list[Swept]) -> None:
    assert sweep(halves[0], SETTINGS, test=halves[1], map=joblib_map(2, backend=backend)) == serial


def test_an_executor_gives_the_same_bits(halves: tuple[hr.Outcomes, hr.Outcomes], serial: list[Swept]) -> None:
    with ThreadPoolExecutor(2) as executor:
        assert sweep(halves[0], SETTINGS, test=halves[1], map=executor.map) == serial


def test_settings_that_differ_in_the_budget_share_a_fit(halves: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    n_tasks = []

    def counting(function: Any, items: Any) -> list[Any]:
        tasks = list(items)
        n_tasks.append(len(tasks))
        return [function(task) for task in tasks]

    settings = [{"quality": "constant", "cost": "constant", "budget": budget} for budget in (50.0, 100.0, 200.0)]
    swept = sweep(halves[0], [*settings, settings[0] | {"seed": 1}, settings[0] | {"confidence": 0.5}], map=counting)
    assert n_tasks == [3]
    assert [one.expected.cost for one in swept[:3]] == pytest.approx([50.0, 100.0, 200.0])
    assert all(one.cost is None and one.quality is None for one in swept)


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"budget": 1.0, "speed": 3}, TypeError, "settings: unknown keyword 'speed' in setting 1"),
        ({"seed": 1}, ValueError, "settings: expected a budget or a quality_target in setting 1"),
        ({"budget": 1.0, "quality_target": 0.5}, ValueError, "settings: expected a budget or a quality_target"),
        ({"budget": 1e-9}, ValueError, "budget: expected at least"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    setting: dict[str, Any], error: type[Exception], message: str, halves: tuple[hr.Outcomes, hr.Outcomes]
) -> None:
    good = {"quality": "constant", "cost": "constant", "budget": 100.0}
    with pytest.raises(error, match=message):
        sweep(halves[0], [good, {"quality": "constant", "cost": "constant"} | setting])


# Ray


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    library = pytest.importorskip("ray")
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    library.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    # The workers can't import this file.
    library.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield library
    library.shutdown()


@dataclass(frozen=True)
class Fatal(Policy):
    """A policy whose first batch kills the process that decides it."""

    marker: str = ""

    def select_batch(self, *arguments: Any, **keywords: Any) -> npt.NDArray[np.int32]:
        try:
            os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return super().select_batch(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("default")
def test_ray_gives_the_same_bits_though_a_worker_is_killed(ray: Any, tmp_path: Path) -> None:
    from headrace.integrations.ray import decide_dataset

    rng = np.random.default_rng(0)
    n, models = 20_000, ("small", "medium", "large")
    lists = {
        "quality": rng.uniform(size=(n, 3)),
        "cost": rng.uniform(0.0001, 0.005, size=(n, 3)),
        "variance": rng.uniform(0.0, 0.1, size=(n, 3)),
    }
    columns = {name: pa.FixedSizeListArray.from_arrays(pa.array(v.ravel()), 3) for name, v in lists.items()}
    table = pa.table({"query_id": [f"q-{row}" for row in range(n)], **columns})
    (tmp_path / "beliefs").mkdir()
    for part in range(4):
        pq.write_table(table.slice(part * 5_000, 5_000), tmp_path / "beliefs" / f"{part}.parquet")
    plain = Policy(models, "cascade-routing", {"max_depth": 3}, (150.0, 60.0), 0.4)
    wanted = dict(zip(table["query_id"].to_pylist(), BeliefDecider(plain)(table)["next"].to_pylist(), strict=True))
    fatal = Fatal(models, "cascade-routing", {"max_depth": 3}, (150.0, 60.0), 0.4, marker=str(tmp_path / "killed"))
    decided = decide_dataset(ray.data.read_parquet(str(tmp_path / "beliefs")), fatal, batch_rows=1_000)
    decided.write_parquet(str(tmp_path / "decisions"))
    assert (tmp_path / "killed").exists()
    found = pq.read_table(tmp_path / "decisions")
    assert dict(zip(found["query_id"].to_pylist(), found["next"].to_pylist(), strict=True)) == wanted
    assert found.num_rows == n


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("default")
def test_a_sweep_on_ray_gives_the_same_bits(
    ray: Any, halves: tuple[hr.Outcomes, hr.Outcomes], serial: list[Swept]
) -> None:
    from headrace.integrations.ray import ray_map

    assert sweep(halves[0], SETTINGS, test=halves[1], map=ray_map) == serial
