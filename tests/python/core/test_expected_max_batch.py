"""Expected maxima of many plans: those of a loop over `expected_max`, bit for bit, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace._core import expected_max_batch

Floats = npt.NDArray[np.float64]

#: Axes of each kind of uncertainty when the queries share it.
AXES = {"variance": 1, "covariance": 2, "loading": 1}


def one_by_one(
    quality: Floats, plans: npt.NDArray[np.bool_], row: npt.NDArray[np.intp], scale: float, spread: dict[str, Floats]
) -> list[float]:
    values = []
    for i, plan in zip(row.tolist(), plans, strict=True):
        of_row = {name: numbers if numbers.ndim == AXES[name] else numbers[i] for name, numbers in spread.items()}
        of_plan = {n: v[np.ix_(plan, plan)] if v.ndim == 2 else v[plan] for n, v in of_row.items()}
        values.append(hr.expected_max(quality[i, plan], **of_plan, uncertainty_scale=scale))
    return values


def spreads(rng: np.random.Generator, kind: str, shape: tuple[int, ...], k: int) -> dict[str, Floats]:
    """Give an uncertainty of k models for each of `shape`; () is one that all share."""
    root = 0.3 * rng.normal(size=(*shape, k, k)) * rng.choice([0.0, 1.0], (*shape, k, 1), p=[0.2, 0.8])
    variance, loading = rng.uniform(0.0, 0.2, (*shape, k)), 0.2 * rng.normal(size=(*shape, k))
    return {
        "certain": {},
        "independent": {"variance": variance},
        "correlated": {"covariance": root @ root.swapaxes(-1, -2)},
        "one factor": {"variance": variance, "loading": loading},
    }[kind]


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 6),
    k=st.integers(1, 9),
    n_plans=st.sampled_from([0, 1, 5, 16, 17, 64, 65, 200]),
    kind=st.sampled_from(["certain", "independent", "correlated", "one factor"]),
    is_shared=st.booleans(),
    scale=st.sampled_from([0.0, 0.25, 1.0]),
    far=st.sampled_from([0.0, -1e10]),
)
def test_a_batch_is_a_loop_bit_for_bit(
    seed: int, n: int, k: int, n_plans: int, kind: str, is_shared: bool, scale: float, far: float
) -> None:
    rng = np.random.default_rng(seed)
    n_plans = min(n_plans, 40) if kind in ("correlated", "one factor") else n_plans
    quality, spread = rng.uniform(size=(n, k)), spreads(rng, kind, () if is_shared else (n,), k)
    quality[0, 0] += far
    plans, row = rng.random((n_plans, k)) < 0.6, rng.integers(0, n, n_plans)
    plans[np.arange(n_plans), rng.integers(0, k, n_plans)] = True
    expected = np.array(one_by_one(quality, plans, row, scale, spread))
    for threads in (1, 3, None):
        found = expected_max_batch(
            quality,
            plans,
            row=row,
            uncertainty_scale=scale,
            threads=threads,
            **spread,  # type: ignore[arg-type]
        )
        assert found.shape == (n_plans,)
        np.testing.assert_array_equal(found, expected)


def test_any_kind_of_whole_numbers_and_of_rows_will_do() -> None:
    quality, plans = [[0.5, 0.7], [0.2, 0.1]], [[True, False], [True, True], [False, True]]
    for kind in (np.int8, np.uint64, np.int64):
        found = expected_max_batch(quality, np.asfortranarray(plans), row=np.array([1, 0, 1], kind))
        assert found.tolist() == [0.2, 0.7, 0.1]
    assert expected_max_batch(np.zeros((0, 2)), np.zeros((0, 2), bool), row=np.zeros(0, int)).shape == (0,)
    many = np.random.default_rng(0).uniform(size=(1, 128))
    assert expected_max_batch(many, np.ones((1, 128), bool), row=[0]) == many.max()


JOINT = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.0, 2.0, 1.0]])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"plans": [[True] * 3] * 2 + [[False] * 3]},
            ValueError,
            "plans: expected at least one model in each row, got",
        ),
        ({"plans": [[1, 1, 1]] * 3}, TypeError, "plans: expected an array of bool, got list of dtype int64"),
        (
            {"plans": [True] * 3},
            ValueError,
            r"plans: expected shape \(n_plans, n_models\) = \(3, 3\), got shape \(3,\)",
        ),
        ({"plans": np.ones((2, 3), bool)}, ValueError, r"plans: expected .* = \(3, 3\), got shape \(2, 3\)"),
        ({"row": [0, 1, 2]}, IndexError, "row: expected indices from 0 to 2 - 1, got 2"),
        ({"row": [0, -1, 1]}, IndexError, "row: expected indices from 0 to 2 - 1, got -1"),
        ({"row": [0.0, 1.0, 1.0]}, TypeError, "row: expected an array of whole numbers, got list of dtype float64"),
        ({"row": 1}, ValueError, r"row: expected shape \(n_plans,\), got shape \(\)"),
        ({"quality": [0.5] * 3}, ValueError, r"quality: expected shape \(n_queries, n_models\), got shape \(3,\)"),
        ({"quality": [[0.5] * 3, [0.5, np.nan, 0.5]]}, ValueError, "row 1: quality: .* got NaN for model 1"),
        ({"quality": np.zeros((2, 0))}, ValueError, "quality: expected at least one model, got none"),
        ({"variance": [0.1, 0.1, -0.1]}, ValueError, "row 0: variance: expected numbers >= 0, got -0.1 for model 2"),
        ({"variance": np.ones((3, 3))}, ValueError, r"variance: expected shape \(2, 3\) or \(3,\), got shape \(3, 3\)"),
        ({"covariance": JOINT}, ValueError, "row 1: covariance: expected a positive semi-definite .* at model 2 "),
        ({"covariance": JOINT, "variance": [0.1] * 3}, ValueError, "covariance: expected None where a variance is"),
        ({"loading": [0.1] * 3}, ValueError, "variance: expected one where a loading is given, got None"),
        ({"uncertainty_scale": -1.0}, ValueError, "uncertainty_scale: expected a number from 0 to 1e150, got -1"),
        ({"threads": 0}, ValueError, "threads: expected 1 to 1024, got 0"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any], error: type[Exception], message: str, threads: int) -> None:
    plans = [[True, False, False], [False, True, True], [True, False, False]]
    arguments = {"quality": [[0.5, 0.6, 0.7]] * 2, "plans": plans, "row": [0, 1, 0], "threads": threads}
    with pytest.raises(error, match=message):
        expected_max_batch(**arguments | changed)
    if "plans" not in changed and "row" not in changed:  # the same mistake among many plans, worked on by threads
        many = {"plans": plans * 100, "row": [0, 1, 0] * 100}
        with pytest.raises(error, match=message):
            expected_max_batch(**arguments | many | changed)


@pytest.mark.parametrize("threads", [1, 2, None])
def test_the_first_faulty_plan_is_named(threads: int | None) -> None:
    quality = np.full((100, 3), 0.5)
    quality[[7, 70]] = np.nan
    good = np.arange(80, 100).repeat(10)
    row = np.concatenate([good, [70], good, [7], good])  # of two tasks, the later query comes first
    with pytest.raises(ValueError, match="row 70: quality"):
        expected_max_batch(quality, np.ones((len(row), 3), bool), row=row, threads=threads)
