"""Calibration on given queries: one pair of estimators, fitted on the others, and a walk of these."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.calibration.walk import budget_path, walk
from headrace.datasets import NoisyOracle, simulate
from headrace.estimators import ConstantCost, ConstantQuality
from headrace.rules import make_rule

Floats = npt.NDArray[np.float64]


class Counting:
    """A cost estimator that remembers how many labels it has seen."""

    def fit(self, queries: Mapping[str, Any], responses: hr.Responses, targets: Floats) -> Self:
        self.n_seen = len(targets)
        self.mean = np.asarray(targets).mean(axis=0)
        return self

    def predict(self, queries: Mapping[str, Any], responses: hr.Responses) -> Floats:
        return np.tile(self.mean, (len(responses), 1))


def some_router(rule: str = "cascade-routing", **settings: Any) -> hr.Router:
    return hr.Router(quality=NoisyOracle(fusion=True), cost=Counting(), rule=rule, n_folds=3, **settings)


@pytest.fixture(scope="module")
def tables() -> tuple[hr.Outcomes, hr.Outcomes]:
    return simulate(200, 3, rng=1), simulate(150, 3, rng=2)


def test_one_pair_of_estimators_is_fitted_on_all_queries(tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    fitting, calibration = tables
    router = some_router().fit(fitting, calibration=calibration)
    ((_, (cost,)),) = router.estimators_
    assert isinstance(cost, Counting)
    assert cost.n_seen == 200
    np.testing.assert_array_equal(cost.mean, fitting.cost.mean(axis=0))
    # Without it, each of three pairs sees two thirds.
    assert [pair[1][0].n_seen for pair in some_router().fit(fitting).estimators_] in (  # type: ignore[attr-defined]
        [133, 133, 134],
        [133, 134, 133],
        [134, 133, 133],
    )


@pytest.mark.parametrize("rule", ["cascade-routing", "routing", "cascade", "index", "threshold-cascade"])
def test_the_path_is_a_walk_of_the_given_queries(rule: str, tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    fitting, calibration = tables
    router = some_router(rule).fit(fitting, calibration=calibration, budget=0.003)
    everything = fitting.responses_for(np.ones(3, np.bool_))
    quality = NoisyOracle(fusion=True).fit(fitting.queries, everything, fitting.quality)
    mean = fitting.cost.mean(axis=0)

    def believe(
        rows: npt.NDArray[np.intp], run: npt.NDArray[np.bool_], *, priced: bool = True
    ) -> tuple[hr.Belief, Floats]:
        queries = {name: values[rows] for name, values in calibration.queries.items()}
        return quality.predict(queries, calibration.responses_for(run).take(rows)), np.tile(mean, (len(rows), 1))

    stops = walk(make_rule(rule, 0.0, dict(router.policy_.settings)), calibration, believe)
    path = budget_path(stops, calibration.costs)
    for name, column in path.to_dict().items():
        np.testing.assert_allclose(router.path_.to_dict()[name], column, rtol=1e-9, atol=1e-12)
    assert router.path_.n_queries == 150
    assert router.point_ == router.path_.at(budget=0.003)


def test_settings_are_chosen_without_the_given_queries(tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    fitting, calibration = tables
    spoilt = dataclasses.replace(calibration, quality=1.0 - calibration.quality)
    scales = [some_router().fit(fitting, calibration=c).uncertainty_scale_ for c in (calibration, spoilt)]
    assert scales[0] == scales[1] == some_router().fit(fitting).uncertainty_scale_


def test_served_queries_do_what_the_path_says(tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    fitting, calibration = tables
    router = some_router(mix="deterministic").fit(fitting, calibration=calibration, budget=0.003)
    costs = []
    for row, name in enumerate(calibration.ids):
        session = router.start({key: values[row] for key, values in calibration.queries.items()}, id=name)
        while (model := session.next()) is not None:
            j = calibration.models.index(model)
            response = {key: values[row, j] for key, values in calibration.responses.items()}
            session.observe(model, response, cost=float(calibration.cost[row, j]))
        costs.append(session.cost)
    assert np.mean(costs) == pytest.approx(router.point_.cost, abs=1e-12)


def test_the_same_ids_do_not_matter(tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    fitting, calibration = tables
    named = dataclasses.replace(calibration, ids=[f"other-{name}" for name in calibration.ids])
    paths = [some_router().fit(fitting, calibration=c).path_ for c in (calibration, named)]
    np.testing.assert_array_equal(paths[0].cost, paths[1].cost)


def test_one_query_is_enough_to_calibrate(tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    fitting, calibration = tables
    one = calibration.take([3])
    router = some_router().fit(fitting, calibration=one, budget=0.9 * float(one.cost.sum()))
    assert router.path_.n_queries == 1
    assert router.n_dropped_ == 0
    assert router.path_.cost.max() <= one.cost.sum() + 1e-15
    assert router.start({key: values[0] for key, values in one.queries.items()}).next() in one.models


def test_models_are_selected_in_both_tables(tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    fitting, calibration = tables
    mixed = calibration.select(["model-3", "model-2", "model-1"])
    names = ["model-3", "model-1"]
    one, other = (
        hr.Router(models=names, rule="routing", quality=ConstantQuality()).fit(fitting, calibration=c)
        for c in (calibration, mixed)
    )
    assert one.models_ == other.models_ == tuple(names)
    np.testing.assert_array_equal(one.path_.cost, other.path_.cost)


def test_rows_with_missing_labels_are_dropped_from_both_and_counted(tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    fitting, calibration = tables

    def holed(table: hr.Outcomes, n: int) -> hr.Outcomes:
        quality, cost = table.quality.copy(), table.cost.copy()
        quality[:n, 1], cost[n : 2 * n, 2] = math.nan, math.nan
        return dataclasses.replace(table, quality=quality, cost=cost)

    router = some_router().fit(holed(fitting, 5), calibration=holed(calibration, 3))
    assert router.n_dropped_ == 16
    rest = some_router().fit(fitting.take(np.arange(10, 200)), calibration=calibration.take(np.arange(6, 150)))
    np.testing.assert_array_equal(router.path_.cost, rest.path_.cost)


@pytest.mark.parametrize("argument", ["outcomes", "calibration"])
@pytest.mark.parametrize("column", ["quality", "cost"])
def test_a_model_without_any_label_is_named(
    argument: str, column: str, tables: tuple[hr.Outcomes, hr.Outcomes]
) -> None:
    given = dict(zip(("outcomes", "calibration"), tables, strict=True))
    values = np.array(getattr(given[argument], column))
    values[:, 1] = math.nan
    given[argument] = dataclasses.replace(given[argument], **{column: values})
    with pytest.raises(ValueError, match=rf"^{argument}: no quality or no cost at all for 'model-2'; leave it out"):
        some_router().fit(**given)
    # Doing so helps.
    kept = ["model-1", "model-3"]
    assert hr.Router(models=kept, rule="routing", quality=ConstantQuality()).fit(**given).n_dropped_ == 0


def test_other_models_or_costs_are_refused(tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    fitting, calibration = tables
    for other in (
        calibration.select(["model-1", "model-2"]),
        calibration.select(["model-2", "model-1", "model-3"]),
        dataclasses.replace(calibration, models=["a", "b", "c"]),
        dataclasses.replace(calibration, cost_name="usd"),
        dataclasses.replace(calibration, further_costs={"seconds": calibration.cost}),
    ):
        with pytest.raises(ValueError, match=r"^calibration: expected the models and costs of outcomes"):
            some_router().fit(fitting, calibration=other)


@pytest.mark.parametrize("calibration", [0.5, "half", {"quality": [[1]]}])
def test_calibration_is_a_table(calibration: Any, tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    with pytest.raises(TypeError, match=r"^calibration: expected an Outcomes table, got"):
        some_router().fit(tables[0], calibration=calibration)


def test_a_calibration_without_a_complete_row_is_refused(tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    fitting, calibration = tables
    quality = np.where(np.eye(3, dtype=np.bool_), math.nan, calibration.quality[:3])
    with pytest.raises(ValueError, match=r"no query has every model's quality and cost"):
        some_router().fit(fitting, calibration=dataclasses.replace(calibration.take([0, 1, 2]), quality=quality))


# What users ask for


@pytest.mark.parametrize("rule", ["routing", "cascade-routing"])
def test_a_budget_in_the_wrong_unit_states_what_is_feasible(rule: str, tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    router = some_router(rule).fit(tables[0])
    costliest = float(router.path_.cost.max())
    with pytest.raises(
        ValueError,
        match=rf"^budget: expected at least 0\.000\d+, .* \(the most expensive: {costliest:.6g}\); got 3e-06",
    ):
        router.with_budget(3e-6)


@pytest.mark.parametrize("budget", ["0.003", True, False, [0.003], np.True_])
def test_what_is_no_budget_is_refused_before_anything_is_fitted(
    budget: Any, tables: tuple[hr.Outcomes, hr.Outcomes]
) -> None:
    shares: list[float] = []
    router = some_router()
    with pytest.raises(TypeError, match=r"^budget: expected a number, got"):
        router.fit(tables[0], budget=budget, progress=shares.append)
    assert shares == []
    with pytest.raises(TypeError, match=r"^budget: expected a number, got"):
        some_router().fit(tables[0]).with_budget(budget)


def test_errors_of_a_quality_target_name_it(tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    router = some_router().fit(tables[0])
    for ask in (
        lambda: router.with_quality_target(0.999),
        lambda: some_router().fit(tables[0], quality_target=0.999),
        lambda: router.with_quality_target(math.nan),
    ):
        with pytest.raises(ValueError, match=r"^quality_target: expected at most 0\.8\d+, the best that this rule"):
            ask()
    for wrong in ("0.7", True):
        with pytest.raises(TypeError, match=r"^quality_target: expected a number, got"):
            router.with_quality_target(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^quality: expected at most"):
        router.path_.at(quality=0.999)


def test_numpy_settings_give_a_policy_that_is_json(tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    router = hr.Router(
        quality=NoisyOracle(),
        cost=ConstantCost(),
        seed=np.int64(5),  # type: ignore[arg-type]
        n_folds=np.int32(2),  # type: ignore[arg-type]
        max_depth=np.int16(2),  # type: ignore[arg-type]
        uncertainty_scale=np.float32(0.5),  # type: ignore[arg-type]
    ).fit(tables[0], budget=np.float64(0.003))
    fields = json.loads(router.policy_.to_json())
    assert (fields["seed"], fields["settings"]) == (5, {"max_depth": 2, "uncertainty_scale": 0.5})
    plain = hr.Router(quality=NoisyOracle(), cost=ConstantCost(), seed=5, n_folds=2, max_depth=2, uncertainty_scale=0.5)
    assert plain.fit(tables[0], budget=0.003).policy_ == router.policy_
    kept_apart = hr.Router(quality=NoisyOracle(), cost=ConstantCost(), seed=np.int64(5)).fit(  # type: ignore[arg-type]
        tables[0], budget=0.003, confidence=np.float64(0.8)
    )
    json.loads(kept_apart.policy_.to_json())
