"""Shortlists of many models: against a slow loop and all sets of a size, and what a fit makes of them."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.calibration import shortlist as module
from headrace.calibration.shortlist import N_BEST, best_alone, cost_weights, shortlist
from headrace.evaluation.sweep import sweep

Array = npt.NDArray[np.float64]

# What is left of the worth of the best set, at least.
GREEDY = 1.0 - 1.0 / np.e


def worth(quality: Array, costs: Array, some: tuple[int, ...]) -> float:
    """Sum over the cost weights of the mean over queries of the best values, the best one N_BEST times: a loop."""
    total = 0.0
    for cost in costs:
        for weight in cost_weights(quality, cost):
            for q, c in zip(quality, cost, strict=True):
                values = q - weight * c
                best = sorted([*(values[j] for j in some), *[values.min()] * N_BEST], reverse=True)[:N_BEST]
                total += sum((N_BEST - rank) * value for rank, value in enumerate(best)) / len(quality)
    return total


def slow(quality: Array, costs: Array, number: int, first: tuple[int, ...] = ()) -> list[int]:
    """Add the model of the largest worth with those chosen."""
    chosen = first[:number]
    while len(chosen) < number:
        left = [j for j in range(quality.shape[1]) if j not in chosen]
        chosen = (*chosen, max(left, key=lambda j: worth(quality, costs, (*chosen, j))))
    return sorted(chosen)


def drawn(seed: int, n: int, k: int, n_costs: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.random((n, k)), rng.lognormal(size=(n_costs, 1, k)) * rng.uniform(0.5, 2.0, (n_costs, n, k))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 8), k=st.integers(1, 8), n_costs=st.integers(1, 2))
def test_it_is_what_a_slow_loop_chooses(seed: int, n: int, k: int, n_costs: int) -> None:
    quality, costs = drawn(seed, n, k, n_costs)
    first = tuple(best_alone(quality, costs)[:2].tolist())
    for number in range(1, k + 1):
        for begun in ((), first):
            mine, expected = shortlist(quality, costs, number, first=begun), slow(quality, costs, number, begun)
            assert len(set(mine.tolist())) == number
            assert set(begun[:number]) <= set(mine.tolist())
            # Where none gains anything, any may be added.
            assert worth(quality, costs, tuple(mine)) == pytest.approx(worth(quality, costs, tuple(expected)))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_near_the_best_set_of_its_number(seed: int) -> None:
    quality, costs = drawn(seed, 20, 8)
    worths = {some: worth(quality, costs, some) for some in itertools.combinations(range(8), 3)}
    nothing = worth(quality, costs, ())
    mine = worths[tuple(shortlist(quality, costs, 3).tolist())]
    assert mine - nothing >= GREEDY * (max(worths.values()) - nothing)


def test_a_query_has_several_good_models() -> None:
    # Models 0 to 5 are good for query 0, in this order; 6 for query 1; 7 for none.
    quality = np.array([[0.95, 0.94, 0.93, 0.92, 0.91, 0.9, 0.1, 0.0], [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.0]])
    costs = np.ones((1, 2, 8))
    assert shortlist(quality, costs, 5).tolist() == [0, 1, 2, 3, 6]
    assert shortlist(quality, costs, 7).tolist() == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("costs", [np.zeros((1, 3, 2)), np.ones((1, 3, 2))])
def test_models_that_cost_nothing_or_are_equal_do(costs: Array) -> None:
    assert len(shortlist(np.full((3, 2), 0.5), costs, 1)) == 1
    assert shortlist(np.array([[0.1, 0.9]] * 3), costs, 1).tolist() == [1]
    assert shortlist(np.array([[0.1, 0.9]] * 3), costs, 5).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("quality", "cost"), [(1e140, 1e-200), (1e150, 1e-300), (1e-300, 1e140), (0.0, 1.0), (1.0, 0.0)]
)
def test_numbers_of_any_size_do(table: hr.Outcomes, quality: float, cost: float) -> None:
    scaled = hr.Outcomes(
        models=table.models, quality=table.quality * quality, cost=table.cost * cost, queries=table.queries
    )
    with np.errstate(all="raise"):
        assert len(cost_weights(scaled.quality, scaled.cost)) in (1, module.N_WEIGHTS)
        assert len(best_alone(scaled.quality, scaled.cost[None])) >= 1
    chosen = shortlist(scaled.quality, scaled.cost[None], 2)
    if quality > 0.0 and len(cost_weights(scaled.quality, scaled.cost)) == 1:
        assert table.mean_quality.argmax() in chosen
    assert len(hr.Router(2, quality="constant").fit(scaled).models_) == 2


@pytest.mark.parametrize("seed", range(5))
def test_the_best_alone_are_those_of_each_cost_weight(seed: int) -> None:
    quality, costs = drawn(seed, 30, 12, 2)
    expected = {int(quality.mean(axis=0).argmax())}
    for cost in costs:
        for weight in cost_weights(quality, cost):
            expected.add(int(np.argmax([np.mean(quality[:, j] - weight * cost[:, j]) for j in range(12)])))
    found = best_alone(quality, costs).tolist()
    assert (set(found), len(found)) == (expected, len(expected))
    assert found[0] == quality.mean(axis=0).argmax()
    assert set(found) <= set(shortlist(quality, costs, 12, first=found).tolist())


@pytest.fixture(scope="module")
def table() -> hr.Outcomes:
    return hr.datasets.load_quickstart().take(range(400))


def test_a_number_of_models_is_as_good_as_their_names(table: hr.Outcomes, tmp_path: Path) -> None:
    fitting, test = table.split(0.5)
    router = hr.Router(3).fit(fitting, budget=100.0)
    assert len(router.models_) == 3
    assert [name for name in table.models if name in router.models_] == list(router.models_)
    assert fitting.models[int(fitting.mean_quality.argmax())] in router.models_
    assert router.get_params()["models"] == 3
    router.save(tmp_path / "router.headrace")
    assert hr.load(tmp_path / "router.headrace").models == router.models_
    assert pickle.loads(pickle.dumps(router)).models_ == router.with_budget(90.0).models_ == router.models_
    named = hr.Router(router.models_).fit(fitting, budget=100.0)
    assert named.point_ == router.point_
    # Tables of all models do wherever a table goes.
    evaluation = hr.evaluate(router, test, fitting=fitting, baselines=["linear interpolation"], n_resamples=10)
    assert evaluation.models == router.models_
    assert router.diagnose(test).models == router.models_
    assert (router.n_seen(test), router.n_seen(fitting)) == (0, fitting.n_queries)
    assert router.recalibrate(test).models_ == router.models_
    assert len(sweep(fitting, [{"budget": 100.0}], test=test)) == 1


@pytest.mark.parametrize("number", [5, 7, np.int64(6)])
def test_all_models_stay_where_there_are_no_more(table: hr.Outcomes, number: int) -> None:
    assert hr.Router(number, quality="constant").fit(table).models_ == table.models


@pytest.mark.parametrize("number", [0, -2, True])
def test_a_number_below_one_is_refused(table: hr.Outcomes, number: int) -> None:
    with pytest.raises(ValueError, match=f"models: expected an int >= 1, got {number}"):
        hr.Router(number).fit(table)


@pytest.mark.parametrize("given", [True, False])
def test_labels_that_calibrate_have_no_say(table: hr.Outcomes, given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    estimates = module._estimates
    monkeypatch.setattr(module, "_estimates", lambda fitting, *rest: asked.append(fitting) or estimates(fitting, *rest))
    fitting, apart = table.split(0.5, rng=0)
    if given:
        hr.Router(3).fit(fitting, calibration=apart)
    else:
        hr.Router(3, seed=0).fit(table, budget=300.0, confidence=0.9)
    assert asked[0].ids == fitting.ids


def test_rows_with_missing_cells_and_groups_do(table: hr.Outcomes) -> None:
    quality = table.quality.copy()
    quality[:10, 0] = np.nan
    holed = hr.Outcomes(
        models=table.models, quality=quality, cost=table.cost, queries=table.queries, groups=np.arange(400) // 2
    )
    router = hr.Router(3, quality="constant").fit(holed)
    assert (len(router.models_), router.n_dropped_) == (3, 10)


def test_at_most_so_many_queries_choose(table: hr.Outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_QUERIES", 50)
    quality, costs = module._estimates(table, 5, 0)
    assert quality.shape == (50, 5)
    assert costs.shape == (1, 50, 5)
