"""Files of routers: what is loaded decides as what was saved, and no text of the fit is in it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.datasets import NoisyOracle, simulate
from headrace.errors import ArtefactError
from headrace.estimators import (
    BoostingQuality,
    CalibratedQuality,
    ClusterQuality,
    ConstantCost,
    ConstantQuality,
    JointQuality,
    KNeighborsQuality,
    LinearCost,
    LinearQuality,
    PriceTable,
    SwitchingCost,
    estimator_names,
)
from headrace.estimators.ridge import RidgeRegressions
from headrace.policy import Policy
from headrace.policy.run_sets import run_sets
from headrace.serving import BudgetController, Monitor
from headrace.serving.artefact import read_artefact, write_artefact

MODELS = ("small", "medium", "large")
WORDS = ("planted", "river", "stone", "wheel", "grain", "miller", "sluice")
N = 260


def rich_table(seed: int = 0, n: int = N) -> hr.Outcomes:
    """Make queries with text, a category, an embedding, and numbers; and responses of every kind."""
    rng = np.random.default_rng(seed)
    k = len(MODELS)
    hard = rng.normal(size=n)
    quality = (hard[:, None] + rng.normal(size=(n, k)) < np.array([0.0, 0.8, 1.5])).astype(np.float64)
    texts = [f"secretquery {row} " + " ".join(rng.choice(WORDS, size=8 + row % 5)) for row in range(n)]
    right = np.array([f"secretanswer {row % 40}" for row in range(n)], dtype=object)
    wrong = np.array([[f"secretwrong {rng.integers(9)}" for _ in MODELS] for _ in range(n)], dtype=object)
    logits = rng.normal(size=(n, k, 12)) + 3.0 * quality[:, :, None] * (np.arange(12) == 4)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    tokens = np.empty((n, k), dtype=object)
    for row, j in product(range(n), range(k)):
        tokens[row, j] = (-rng.exponential(2.0 - quality[row, j], size=3 + row % 4)).tolist()
    return hr.Outcomes(
        models=MODELS,
        quality=quality,
        cost=np.array([1.0, 4.0, 20.0]) * rng.uniform(0.5, 1.5, size=(n, 1)),
        queries={
            "text": np.array(texts, dtype=object),
            "topic": np.array([f"secrettopic {row % 3}" for row in range(n)], dtype=object),
            "embedding": rng.normal(size=(n, 80)) + hard[:, None] * (np.arange(80) < 4),
            "size": np.exp(rng.normal(size=n)),
        },
        responses={
            "answer": np.where(quality > 0.0, right[:, None], wrong),
            "probabilities": probabilities,
            "logprobs": tokens,
            "output_tokens": rng.integers(5, 400, size=(n, k)).astype(np.float64),
            "wide": rng.normal(size=(n, k, 70)),
        },
    )


PRICES = PriceTable([0.1, 0.5, 2.0], [0.5, 1.5, 9.0], cached_price=(0.05, 0.2, 1.0))
QUALITIES: dict[str, Callable[[], Any]] = {
    "boosting": lambda: BoostingQuality(n_trees=12),
    "calibrated": lambda: CalibratedQuality(ClusterQuality(n_clusters=9)),
    "calibrated, isotonic": lambda: CalibratedQuality(method="isotonic", logit_variance=True),
    "calibrated, joint": lambda: CalibratedQuality(JointQuality(covariance=True), method=None),
    "clusters": lambda: ClusterQuality(n_clusters=12),
    "constant": ConstantQuality,
    "joint": JointQuality,
    "linear": LinearQuality,
    "linear, ex ante": lambda: LinearQuality(ex_ante=KNeighborsQuality(), covariance=True, n_grams=True),
    "linear, trees": lambda: LinearQuality(ex_ante=BoostingQuality(n_trees=5)),
    "neighbors": lambda: KNeighborsQuality(n_neighbors=20),
}
COSTS: dict[str, Callable[[], Any]] = {
    "constant": ConstantCost,
    "linear": LinearCost,
    "prices": lambda: PRICES,
    "switching": lambda: SwitchingCost(LinearCost()),
    "switching, prices": lambda: SwitchingCost(PRICES),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Grow trees on one thread: several wait for each other where tests run side by side."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    # What is loaded later would not be limited.
    pytest.importorskip("sklearn.ensemble")
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        yield


@pytest.fixture(scope="module")
def rich() -> hr.Outcomes:
    return rich_table()


@pytest.fixture(scope="module")
def fresh() -> hr.Outcomes:
    return rich_table(1, 200)


@pytest.fixture(scope="module")
def router(rich: hr.Outcomes) -> hr.Router:
    return hr.Router(quality=LinearQuality(), n_folds=2).fit(rich, budget=6.0)


def again(decider: hr.Decider, tmp_path: Path) -> hr.Decider:
    decider.save(tmp_path / "router.headrace")
    return hr.load(tmp_path / "router.headrace")


def walks(decider: hr.Decider, table: hr.Outcomes) -> list[Any]:
    """Walk all queries: what ran, what each decision was worth, and which answer came out."""
    found = []
    for row, query_id in enumerate(table.ids):
        session = decider.start({name: values[row] for name, values in table.queries.items()}, id=query_id)
        steps: list[Any] = []
        while (model := session.next()) is not None:
            assert session.decision is not None
            steps.append((model, session.decision.value, session.decision.tradeoff))
            j = table.models.index(model)
            session.observe(model, {name: values[row, j] for name, values in table.responses.items()})
        found.append((steps, session.model, session.costs))
    return found


def every_run(n_models: int) -> np.ndarray:
    return np.array(list(product((False, True), repeat=n_models)))


def bits(estimate: Any) -> list[bytes | None]:
    arrays = estimate if isinstance(estimate, tuple) else (estimate,)
    return [None if array is None else np.ascontiguousarray(array).tobytes() for array in arrays]


# Round trips


def test_every_built_in_estimator_is_tried() -> None:
    assert {name.split(",")[0] for name in QUALITIES} >= set(estimator_names("quality"))
    assert {name.split(",")[0] for name in COSTS} >= set(estimator_names("cost"))


@pytest.mark.parametrize("name", QUALITIES)
def test_a_loaded_router_decides_bit_for_bit_as_before(
    name: str, rich: hr.Outcomes, fresh: hr.Outcomes, tmp_path: Path
) -> None:
    decider = hr.Router(quality=QUALITIES[name](), n_folds=2, max_depth=2).fit(rich, budget=6.0).decider_
    loaded = again(decider, tmp_path)
    assert repr(loaded) == repr(decider)
    assert walks(loaded, fresh) == walks(decider, fresh)
    before = decider.select_batch(fresh.queries, ids=fresh.ids)
    np.testing.assert_array_equal(loaded.select_batch(fresh.queries, ids=fresh.ids), before)


@pytest.mark.parametrize("name", COSTS)
def test_a_loaded_router_knows_costs_bit_for_bit_as_before(
    name: str, rich: hr.Outcomes, fresh: hr.Outcomes, tmp_path: Path
) -> None:
    decider = hr.Router(quality="linear", cost=COSTS[name](), n_folds=2).fit(rich, budget=6.0).decider_
    assert walks(again(decider, tmp_path), fresh) == walks(decider, fresh)


@pytest.mark.parametrize("kind", ["quality", "cost"])
def test_regressions_that_were_not_fitted_before_are_the_same_after(
    kind: str, rich: hr.Outcomes, fresh: hr.Outcomes, tmp_path: Path
) -> None:
    all_ran = rich.responses_for([True] * 3)
    targets = rich.quality if kind == "quality" else rich.cost
    for name, make in (QUALITIES if kind == "quality" else COSTS).items():
        estimator = make().fit(rich.queries, all_ran, targets)
        write_artefact(tmp_path / "estimator", {"estimator": estimator})
        loaded = read_artefact(tmp_path / "estimator").values["estimator"]
        assert repr(loaded) == repr(estimator), name
        for run in every_run(3):
            seen = fresh.responses_for(run)
            wanted = bits(estimator.predict(fresh.queries, seen))
            assert bits(loaded.predict(fresh.queries, seen)) == wanted, (name, run)
        # What has been asked since is kept, too.
        write_artefact(tmp_path / "asked", {"estimator": loaded})
        asked = read_artefact(tmp_path / "asked").values["estimator"]
        assert bits(asked.predict(fresh.queries, seen)) == wanted, name


@pytest.mark.parametrize("rule", ["cascade-routing", "cascade", "index", "routing", "threshold-cascade"])
def test_the_bundled_table_and_every_rule(rule: str, tmp_path: Path) -> None:
    fitting, rest = hr.datasets.load_quickstart().split(0.15)
    budget = 300.0 if "cascade" in rule else 100.0
    decider = hr.Router(quality=["linear", "joint"], rule=rule, max_depth=3).fit(fitting, budget=budget).decider_
    few = rest.take(range(200))
    assert walks(again(decider, tmp_path), few) == walks(decider, few)


@pytest.mark.parametrize("name", [name for name in QUALITIES if name not in ("linear", "joint")])
def test_the_bundled_table_and_every_estimator(name: str, tmp_path: Path) -> None:
    fitting, rest = hr.datasets.load_quickstart().split(0.1)
    decider = hr.Router(quality=QUALITIES[name](), n_folds=2, max_depth=2).fit(fitting, budget=100.0).decider_
    few = rest.take(range(200))
    assert walks(again(decider, tmp_path), few) == walks(decider, few)


def test_a_simulated_table_with_two_costs(tmp_path: Path) -> None:
    table = simulate(400, 4)
    outcomes = hr.Outcomes(
        models=table.models,
        quality=table.quality,
        cost={"usd": table.cost, "seconds": 100.0 * table.cost[:, ::-1]},
        queries=table.queries,
        responses=table.responses,
    )
    budget = {"usd": 0.004, "seconds": 0.4}
    decider = hr.Router(quality="linear", n_folds=2, max_depth=2).fit(outcomes, budget=budget).decider_
    loaded = again(decider, tmp_path)
    assert loaded.budget == budget
    assert loaded.policy == decider.policy
    assert loaded.point == decider.point
    few = outcomes.take(range(200))
    assert walks(loaded, few) == walks(decider, few)


def test_what_a_decider_does_a_loaded_one_does(router: hr.Router, fresh: hr.Outcomes, tmp_path: Path) -> None:
    router.save(tmp_path / "r.headrace")
    loaded = hr.load(tmp_path / "r.headrace")
    for name, values in router.decider_.path.to_dict().items():
        np.testing.assert_array_equal(loaded.path.to_dict()[name], values)
    assert loaded.with_budget(9.0).policy == router.decider_.with_budget(9.0).policy
    assert loaded.with_quality_target(0.7).policy == router.decider_.with_quality_target(0.7).policy
    assert Monitor(loaded).report() == Monitor(router.decider_).report()
    BudgetController(loaded)
    assert dict(loaded.response_columns) == dict(router.decider_.response_columns)
    batch = {**fresh.queries, "query_id": np.array(fresh.ids, dtype=object)}
    assert loaded(batch)["next"].tolist() == router.decider_(batch)["next"].tolist()
    # It can be saved again, pickled, and gives the same file.
    loaded.save(tmp_path / "again.headrace")
    assert (tmp_path / "again.headrace").read_bytes() == (tmp_path / "r.headrace").read_bytes()
    assert walks(pickle.loads(pickle.dumps(loaded)), fresh) == walks(loaded, fresh)


def test_other_budgets_are_saved_without_a_promise(router: hr.Router, tmp_path: Path) -> None:
    other = again(router.decider_.with_budget(9.0), tmp_path)
    assert other.promised is None
    assert other.budget == {"cost": 9.0}


def test_a_router_without_a_budget_has_nothing_to_save(rich: hr.Outcomes, tmp_path: Path) -> None:
    unset = hr.Router(quality="constant", n_folds=2).fit(rich)
    with pytest.raises(ValueError, match=r"save: no budget yet"):
        unset.save(tmp_path / "router.headrace")


IN_ANOTHER_PROCESS = """
import json, sys
import numpy as np
import headrace as hr

decider = hr.load(sys.argv[1])
with np.load(sys.argv[2], allow_pickle=True) as table:
    queries = {name: table[name] for name in table.files}
ids = [f"q-{row}" for row in range(200)]
chosen = decider.select_batch(queries, ids=ids).tolist()
unwanted = [name for name in ("pandas", "pyarrow", "matplotlib", "sklearn", "skops") if name in sys.modules]
print(json.dumps([chosen, unwanted]))
"""


@pytest.mark.parametrize("name", ["linear, ex ante", "linear, trees", "joint"])
def test_another_process_decides_the_same_without_what_fits(
    name: str, rich: hr.Outcomes, fresh: hr.Outcomes, tmp_path: Path
) -> None:
    decider = hr.Router(quality=QUALITIES[name](), n_folds=2).fit(rich, budget=6.0).decider_
    decider.save(tmp_path / "router.headrace")
    np.savez(tmp_path / "queries.npz", **fresh.queries)
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, "router.headrace", "queries.npz"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=True)
    chosen, unwanted = json.loads(done.stdout)
    assert unwanted == []
    ids = [f"q-{row}" for row in range(200)]
    assert chosen == decider.select_batch(fresh.queries, ids=ids).tolist()


# Warm


def test_a_warm_decider_fits_nothing_any_more(
    rich: hr.Outcomes, fresh: hr.Outcomes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decider = hr.Router(quality="linear", cost=COSTS["switching, prices"](), n_folds=2).fit(rich, budget=6.0).decider_
    for quality, costs in decider.estimators:
        quality._regressions._fitted.clear()  # type: ignore[attr-defined]
        quality._updates.clear()  # type: ignore[attr-defined]
        costs[0]._base._regressions._fitted.clear()  # type: ignore[attr-defined]
        costs[0]._base._smearing.clear()  # type: ignore[attr-defined]
    loaded = again(decider, tmp_path)
    wanted = walks(decider, fresh)
    assert loaded.warm() is loaded
    kept = again(loaded, tmp_path)

    def refuse(*_: Any, **options: Any) -> None:
        raise AssertionError("a fit in a request")

    monkeypatch.setattr(RidgeRegressions, "fit", refuse)
    for warmed in (loaded, kept):
        assert walks(warmed, fresh) == wanted
    regressions = again(kept.warm(), tmp_path).estimators[0][0]._regressions  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match="a fit in a request"):
        regressions._fit(np.zeros(3, bool), left_out=False)


def test_a_warm_decider_of_many_models_is_warm_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = hr.datasets.simulate(200, 13, rng=3)
    decider = (
        hr.Router(quality="linear", n_folds=2, max_depth=1).fit(table, budget=float(table.mean_cost.mean())).decider_
    )
    kept = again(decider.warm(max_runs=1), tmp_path)
    runs = np.vstack([np.zeros((1, 13), bool), np.eye(13, dtype=bool)])
    wanted = [decider.estimators[0][0].predict(table.queries, table.responses_for(run)) for run in runs]
    monkeypatch.setattr(RidgeRegressions, "fit", None)
    for run, before in zip(runs, wanted, strict=True):
        belief = kept.estimators[0][0].predict(table.queries, table.responses_for(run))
        np.testing.assert_array_equal(belief.quality, before.quality)
        assert before.variance is not None
        np.testing.assert_array_equal(belief.variance, before.variance)


def test_only_run_sets_that_a_rule_meets_are_warmed() -> None:
    models, ends = ("a", "b", "c"), (1.0, 1.0)
    cascade = Policy(models, "cascade", {"max_depth": 2, "order": (2, 0, 1)}, ends)
    assert run_sets(cascade).astype(int).tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 1]]
    assert run_sets(Policy(models, "routing", {}, ends)).sum(axis=1).tolist() == [0, 1, 1, 1]
    assert run_sets(Policy(models, "cascade-routing", {"max_depth": 2}, ends)).sum(axis=1).tolist() == [0] + 3 * [
        1
    ] + 3 * [2]
    assert len(run_sets(Policy(models, "index", {}, ends))) == 8
    assert len(run_sets(Policy(models, "index", {}, ends), 0)) == 1


def test_too_many_run_sets_are_refused(router: hr.Router) -> None:
    with pytest.raises(ValueError, match=r"max_runs: expected an int >= 0, got 1.5"):
        router.decider_.warm(max_runs=1.5)  # type: ignore[arg-type]
    table = simulate(40, 14)
    decider = hr.Router(quality="constant", rule="index", n_folds=2).fit(table, budget=0.02).decider_
    with pytest.raises(ValueError, match=r"max_runs: .* at most 4096 run sets; up to 14 of 14 models are 16384"):
        decider.warm()
    decider.warm(max_runs=2)


# No text


def test_no_text_of_the_fit_is_in_a_file_or_a_pickle(rich: hr.Outcomes, tmp_path: Path) -> None:
    for name, make in QUALITIES.items():
        cost = SwitchingCost(PRICES) if name == "linear, ex ante" else LinearCost()
        router = hr.Router(quality=make(), cost=cost, n_folds=2).fit(rich, budget=6.0)
        router.save(tmp_path / "router.headrace")
        session = router.start({"size": 1.0, "prompt_tokens": 90.0}, strict=False)
        session.next()
        found = {
            "file": (tmp_path / "router.headrace").read_bytes(),
            "router": pickle.dumps(router),
            "decider": pickle.dumps(router.decider_),
            "session": pickle.dumps(session),
        }
        for what, data in found.items():
            assert b"secret" not in data, (name, what)


# What a file can't hold


def test_an_estimator_without_a_state_is_named(tmp_path: Path) -> None:
    decider = hr.Router(quality=NoisyOracle(), n_folds=2).fit(simulate(100, 3), budget=0.002).decider_
    path = tmp_path / "router.headrace"
    with pytest.raises(ArtefactError, match=r"NoisyOracle, which has no get_state\(\) and from_state") as raised:
        decider.save(path)
    assert raised.value.kind == "unsupported"
    assert not list(tmp_path.iterdir())


def test_a_function_that_nobody_registers_is_named(rich: hr.Outcomes, tmp_path: Path) -> None:
    quality = LinearQuality(equal=lambda a, b: a == b)
    decider = hr.Router(quality=quality, n_folds=2).fit(rich, budget=6.0).decider_
    with pytest.raises(ArtefactError, match=r"function .*lambda.*entry point of headrace\.equalities") as raised:
        decider.save(tmp_path / "router.headrace")
    assert raised.value.kind == "unsupported"


PLUGIN = """
from headrace.estimators import ConstantQuality


class Optimist(ConstantQuality):
    def __init__(self, bonus=0.0):
        self.bonus = bonus


def same_start(a, b):
    return a[:8] == b[:8]
"""
ENTRY_POINTS = """
[headrace.quality_estimators]
optimist = tiny_states:Optimist

[headrace.equalities]
same-start = tiny_states:same_start
"""


def test_registered_estimators_and_functions_are_kept_by_name(
    rich: hr.Outcomes, fresh: hr.Outcomes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    (site / "tiny_states-1.0.dist-info").mkdir(parents=True)
    (site / "tiny_states.py").write_text(PLUGIN)
    (site / "tiny_states-1.0.dist-info" / "METADATA").write_text("Name: tiny-states\nVersion: 1.0\n")
    (site / "tiny_states-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    paths: dict[str, Path] = {}
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(site))
        import tiny_states  # type: ignore[import-not-found]

        qualities = {
            "optimist": CalibratedQuality(tiny_states.Optimist(0.5), method=None),
            "same-start": LinearQuality(equal=tiny_states.same_start),
        }
        for name, quality in qualities.items():
            decider = hr.Router(quality=quality, n_folds=2).fit(rich, budget=6.0).decider_
            paths[name] = tmp_path / name
            decider.save(paths[name])
            assert walks(hr.load(paths[name]), fresh) == walks(decider, fresh)
            assert repr(hr.load(paths[name]).estimators[0][0]) == repr(decider.estimators[0][0])
        local = type("Local", (tiny_states.Optimist,), {"__module__": "tiny_states"})
        router = hr.Router(quality=local(), n_folds=2).fit(rich, budget=6.0)
        with pytest.raises(ArtefactError, match=r"tiny_states\.Local: no installed package registers it"):
            router.save(tmp_path / "local")
    for name, path in paths.items():
        with pytest.raises(ArtefactError, match=rf"it needs '{name}': no installed package") as raised:
            hr.load(path)
        assert raised.value.kind == "unsupported"


def test_numbers_only(tmp_path: Path) -> None:
    for value in (np.array(["text"], dtype=object), np.array(["text"]), {1: 2}, object(), 1j, print):
        with pytest.raises(ArtefactError, match=r"decider: a file can't hold") as raised:
            write_artefact(tmp_path / "file", {"value": value})
        assert raised.value.kind == "unsupported"


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = {
        "$array": [1, 2.5, True, None, "x"],
        "tuple": (1, (2, float("inf")), [float("-inf")]),
        "runs": {np.array([True, False]).tobytes(): 1.0},
        "fortran": np.asfortranarray(rng.normal(size=(3, 4))),
        "strided": rng.normal(size=(6, 4))[::2, 1:],
        "none": np.empty((0, 3)),
        "single": np.array(2.5),
        "flags": np.array([True, False]),
        "half": np.arange(6, dtype=np.float32).reshape(2, 3),
        "big-endian": np.arange(3, dtype=">f8"),
        "dtype": (np.dtype(object), np.dtype(np.float64)),
        "odd": -0.0,
    }
    write_artefact(tmp_path / "file", values)
    loaded = read_artefact(tmp_path / "file").values
    assert loaded.keys() == values.keys()
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(loaded[name], value)
            assert loaded[name].dtype == value.dtype.newbyteorder("<")
            assert not loaded[name].flags.writeable
        else:
            assert loaded[name] == value
    assert loaded["fortran"].flags.f_contiguous
    assert str(loaded["odd"]) == "-0.0"


# Writing


def test_a_file_keeps_its_mode_and_a_link_its_place(router: hr.Router, tmp_path: Path) -> None:
    real, link = tmp_path / "folder" / "real.headrace", tmp_path / "link.headrace"
    real.parent.mkdir()
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    router.save(link)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert hr.load(link).models == MODELS
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "link.headrace", "real.headrace"]


def test_a_new_file_has_the_usual_mode(router: hr.Router, tmp_path: Path) -> None:
    router.save(tmp_path / "router.headrace")
    (tmp_path / "other").write_text("")
    assert (tmp_path / "router.headrace").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_save_that_fails_leaves_what_was_there(
    router: hr.Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "router.headrace"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        router.save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        router.save(tmp_path / "nowhere" / "router.headrace")
