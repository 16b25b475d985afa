"""The quickstart table: it loads, agrees with itself, and leaves a cascade something to gain."""

from __future__ import annotations

import doctest
from importlib import import_module, resources

import numpy as np
import numpy.typing as npt
import pytest

from headrace.datasets import load_quickstart
from headrace.outcomes import Outcomes

N_QUERIES, N_MODELS, N_DIGITS = 3600, 5, 10


@pytest.fixture(scope="module")
def table() -> Outcomes:
    return load_quickstart()


@pytest.fixture(scope="module")
def stored() -> dict[str, npt.NDArray[np.generic]]:
    path = resources.files("headrace.datasets").joinpath("quickstart.npz")
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_the_table_has_the_shapes_it_promises(table: Outcomes) -> None:
    assert table.models == ("centroid", "logistic", "network", "svm", "ensemble")
    assert table.quality.shape == table.cost.shape == (N_QUERIES, N_MODELS)
    assert table.responses["probabilities"].shape == (N_QUERIES, N_MODELS, N_DIGITS)
    assert table.responses["answer"].shape == (N_QUERIES, N_MODELS)
    assert len(table.queries) == 14
    assert {column.shape for column in table.queries.values()} == {(N_QUERIES,)}


def test_the_file_is_small_and_holds_plain_arrays(stored: dict[str, npt.NDArray[np.generic]]) -> None:
    path = resources.files("headrace.datasets").joinpath("quickstart.npz")
    assert len(path.read_bytes()) < 600_000
    assert {array.dtype.kind for array in stored.values()} <= set("uifU")


def test_nothing_is_missing_or_infinite(table: Outcomes) -> None:
    assert table.n_missing == 0
    numeric = [table.quality, table.cost, table.responses["probabilities"], *table.queries.values()]
    assert all(np.isfinite(column.astype(float)).all() for column in numeric)
    assert all(column.std() > 0 for column in table.queries.values())


def test_every_dearer_model_is_clearly_better(table: Outcomes) -> None:
    accuracy, cost = table.mean_quality, table.mean_cost
    assert accuracy[0] > 0.5
    assert accuracy[-1] < 0.99
    assert (np.diff(cost) > 0).all()
    assert cost[-1] > 100 * cost[0]
    gain = np.diff(table.quality, axis=1)
    assert (gain.mean(axis=0) > 4 * gain.std(axis=0) / np.sqrt(N_QUERIES)).all()


def test_errors_are_not_nested(table: Outcomes) -> None:
    right = table.quality == 1
    for cheaper in range(N_MODELS - 1):
        assert (right[:, cheaper] & ~right[:, -1]).any()


def test_a_cost_is_one_constant_per_model(table: Outcomes) -> None:
    assert (table.cost == table.cost[0]).all()


def test_probabilities_sum_to_one_and_the_answer_is_the_likeliest(table: Outcomes) -> None:
    probabilities = table.responses["probabilities"]
    # Sums of ten doubles.
    np.testing.assert_allclose(probabilities.sum(axis=2), 1.0, rtol=0, atol=1e-12)
    assert probabilities.min() >= 0
    assert (table.responses["answer"] == probabilities.argmax(axis=2).astype(str)).all()


def test_stored_probabilities_need_hardly_any_scaling(stored: dict[str, npt.NDArray[np.generic]]) -> None:
    # Ten roundings of at most half a step each.
    assert np.abs(stored["probabilities"].sum(axis=2, dtype=np.int64) - 4095).max() <= 5


def test_quality_says_whether_the_answer_is_the_label(
    table: Outcomes, stored: dict[str, npt.NDArray[np.generic]]
) -> None:
    label = stored["label"].astype(str)
    np.testing.assert_array_equal(table.quality, table.responses["answer"] == label[:, None])


def test_the_label_is_not_given_to_estimators(table: Outcomes) -> None:
    assert "label" not in {*table.queries, *table.responses}


def test_ids_and_groups_name_three_versions_of_each_image(table: Outcomes) -> None:
    assert table.groups is not None
    _, sizes = np.unique(table.groups.astype(str), return_counts=True)
    assert sizes.tolist() == [3] * (N_QUERIES // 3)
    assert table.n_duplicate_ids == 0
    for row in (0, 1, 2, N_QUERIES - 1):
        assert table.ids[row] == f"digit-{int(table.groups[row]):04d}-{'abc'[row % 3]}"


def test_a_split_keeps_an_image_on_one_side(table: Outcomes) -> None:
    first, second = table.split(0.5, rng=0)
    assert first.groups is not None
    assert second.groups is not None
    assert not set(first.groups) & set(second.groups)


def test_the_first_capture_tells_a_part_of_the_difficulty(table: Outcomes) -> None:
    noise = table.queries["noise"].astype(float)
    calm = noise < np.median(noise)
    quality = table.quality
    assert (quality[calm].mean(axis=0) > quality[~calm].mean(axis=0)).all()
    assert quality[calm, 2].mean() > quality[~calm, 2].mean() + 0.1


def test_a_threshold_cascade_halves_the_cost_of_the_dearest_model(table: Outcomes) -> None:
    confidence = table.responses["probabilities"].max(axis=2)
    quality, cost = table.quality, table.cost
    mean_cost, mean_quality = 0.0, 0.0
    going = np.ones(N_QUERIES, dtype=bool)
    for model, threshold in [(2, 0.97), (3, 0.97), (4, 0.0)]:
        stops = going & (confidence[:, model] >= threshold)
        mean_cost += float((cost[:, model] * going).mean())
        mean_quality += float((quality[:, model] * stops).mean())
        going &= ~stops
    assert mean_quality > quality[:, -1].mean() - 0.002
    assert mean_cost < 0.5 * cost[0, -1]


def test_examples_in_the_docstring_run() -> None:
    result = doctest.testmod(import_module("headrace.datasets.quickstart"))
    assert result.attempted > 0
    assert result.failed == 0
