"""What callers can get wrong: the type of the error, the argument it names, what came and what was wanted."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import headrace as hr

RULES: dict[str, hr.Rule] = {
    "Routing": hr.Routing(0.5),
    "ThresholdCascade": hr.ThresholdCascade(0.7),
    "Cascade": hr.Cascade(0.5),
    "CascadeRouting": hr.CascadeRouting(0.5),
    "IndexRule": hr.IndexRule(0.5),
}
QUALITY, COST, VARIANCE = [0.5, 0.6], [0.1, 0.2], [0.01, 0.04]
COVARIANCE = [[0.01, 0.0], [0.0, 0.04]]
N = 20


class Unreadable:
    """Raises whatever is asked of it."""

    def __iter__(self) -> Any:
        raise ZeroDivisionError("not to be read")

    __float__ = __len__ = __index__ = __iter__

    def __repr__(self) -> str:
        return "Unreadable()"


class Refused:
    """An error: its type, and the text after the name of the argument, as a pattern."""

    def __init__(self, kind: type[Exception], text: str) -> None:
        self.kind = kind
        self.text = text

    def check(self, call: Callable[[], object]) -> None:
        with pytest.raises(self.kind, match=f"^{self.text}$") as caught:
            call()
        assert type(caught.value) is self.kind


def value_error(text: str) -> Refused:
    return Refused(ValueError, re.escape(text))


def type_error(text: str) -> Refused:
    return Refused(TypeError, re.escape(text))


NUMBERS = "expected a sequence of real numbers, got"
ARRAY = "expected an array of real numbers, got"
INDICES = "expected a sequence of model indices, or one bool per model, got"

# Keyword arguments of `select` that are wrong, in place of QUALITY, COST, and none of the others.
SELECT: list[tuple[dict[str, Any], Refused]] = [
    # Numbers that no quality, cost or uncertainty can be.
    ({"quality": [0.5, math.nan]}, value_error("quality: expected finite numbers, got NaN for model 1")),
    ({"quality": [math.inf, 0.5]}, value_error("quality: expected finite numbers, got inf for model 0")),
    ({"quality": [0.5, -math.inf]}, value_error("quality: expected finite numbers, got -inf for model 1")),
    ({"quality": [0.5, -1e151]}, value_error("quality: expected magnitudes up to 1e150, got -1e151 for model 1")),
    ({"cost": [2e150, 0.1]}, value_error("cost: expected magnitudes up to 1e150, got 2e150 for model 0")),
    ({"variance": [0, 1e300]}, value_error("variance: expected magnitudes up to 1e150, got 1e300 for model 1")),
    (
        {"covariance": [[1e308, 0.0], [0.0, 1.0]]},
        value_error("covariance: expected magnitudes up to 1e150, got 1e308 for model 0"),
    ),
    ({"cost": [0.1, math.nan]}, value_error("cost: expected finite numbers, got NaN for model 1")),
    ({"cost": [0.1, math.inf]}, value_error("cost: expected finite numbers, got inf for model 1")),
    ({"cost": [0.1, -0.2]}, value_error("cost: expected numbers >= 0, got -0.2 for model 1")),
    ({"variance": [math.nan, 0]}, value_error("variance: expected finite numbers, got NaN for model 0")),
    ({"variance": [0, math.inf]}, value_error("variance: expected finite numbers, got inf for model 1")),
    ({"variance": [0, -1e-300]}, value_error(f"variance: expected numbers >= 0, got -0.{'0' * 299}1 for model 1")),
    (
        {"covariance": [[0.01, math.nan], [math.nan, 0.01]]},
        value_error("covariance: expected finite numbers, got NaN for model 0"),
    ),
    # Matrices that are no covariances.
    (
        {"covariance": [[1.0, 0.25], [0.5, 1.0]]},
        value_error("covariance: expected a symmetric matrix, got 0.5 at (1, 0) and 0.25 at (0, 1)"),
    ),
    (
        {"covariance": [[1.0, 2.0], [2.0, 1.0]]},
        value_error("covariance: expected a positive semi-definite matrix, got pivot -3e0 at model 1 (tolerance 1e-9)"),
    ),
    (
        {"covariance": [[1.0, 0.0], [0.0, -0.5]]},
        value_error(
            "covariance: expected a positive semi-definite matrix, got pivot -5e-1 at model 1 (tolerance 1e-9)"
        ),
    ),
    (
        {"variance": VARIANCE, "covariance": COVARIANCE},
        value_error("covariance: expected None where a variance is given, got both"),
    ),
    # Shapes.
    ({"quality": []}, value_error("quality: expected at least one model, got none")),
    ({"quality": np.array([])}, value_error("quality: expected at least one model, got none")),
    ({"quality": [0.5] * 129}, value_error("quality: expected at most 128 models, got 129")),
    ({"quality": np.zeros((2, 2))}, value_error("quality: expected shape (n_models,), got shape (2, 2)")),
    ({"quality": np.zeros((1, 2), "f4")}, value_error("quality: expected shape (n_models,), got shape (1, 2)")),
    ({"quality": np.array(0.5)}, value_error("quality: expected shape (n_models,), got shape ()")),
    ({"quality": np.float32(0.5)}, value_error("quality: expected shape (n_models,), got shape ()")),
    ({"cost": np.zeros((2, 1))}, value_error("cost: expected shape (n_models,), got shape (2, 1)")),
    ({"cost": [0.1]}, value_error("cost: expected 2 values, one per model, got 1")),
    ({"cost": [0.1] * 3}, value_error("cost: expected 2 values, one per model, got 3")),
    ({"cost": []}, value_error("cost: expected 2 values, one per model, got 0")),
    ({"variance": [0.1] * 3}, value_error("variance: expected 2 values, one per model, got 3")),
    ({"variance": np.eye(2)}, value_error("variance: expected shape (n_models,), got shape (2, 2)")),
    ({"covariance": VARIANCE}, value_error("covariance: expected shape (2, 2), got shape (2,)")),
    ({"covariance": np.eye(3)}, value_error("covariance: expected shape (2, 2), got shape (3, 3)")),
    ({"covariance": 0.1}, value_error("covariance: expected shape (2, 2), got shape ()")),
    ({"covariance": np.ones((1, 2, 2))}, value_error("covariance: expected shape (2, 2), got shape (1, 2, 2)")),
    # Things that aren't numbers.
    ({"quality": None}, type_error(f"quality: {NUMBERS} NoneType")),
    ({"quality": "0.5"}, type_error(f"quality: {NUMBERS} str")),
    ({"quality": 0.5}, type_error(f"quality: {NUMBERS} float")),
    ({"quality": {0: 0.5}}, type_error(f"quality: {NUMBERS} dict")),
    ({"quality": b"ab"}, type_error(f"quality: {NUMBERS} bytes")),
    ({"quality": bytearray(2)}, type_error(f"quality: {NUMBERS} bytearray")),
    ({"quality": Unreadable()}, type_error(f"quality: {NUMBERS} Unreadable")),
    ({"quality": [0.5, "0.6"]}, type_error(f"quality: {NUMBERS} str among them")),
    ({"quality": [0.5, None]}, type_error(f"quality: {NUMBERS} NoneType among them")),
    ({"quality": (0.5, [0.6])}, type_error(f"quality: {NUMBERS} list among them")),
    ({"quality": [0.5, 0.6j]}, type_error(f"quality: {NUMBERS} complex among them")),
    ({"quality": [0.5, Unreadable()]}, type_error(f"quality: {NUMBERS} Unreadable among them")),
    ({"quality": np.array([0.5, None])}, type_error(f"quality: {NUMBERS} NoneType among them")),
    ({"quality": np.array(["0.5", "0.6"])}, type_error(f"quality: {NUMBERS} str_ among them")),
    ({"cost": None}, type_error(f"cost: {NUMBERS} NoneType")),
    ({"cost": "ab"}, type_error(f"cost: {NUMBERS} str")),
    ({"cost": np.array([{}, 0.1])}, type_error(f"cost: {NUMBERS} dict among them")),
    ({"variance": "ab"}, type_error(f"variance: {NUMBERS} str")),
    ({"variance": np.array([0.1, None])}, type_error(f"variance: {NUMBERS} NoneType among them")),
    ({"covariance": "ab"}, type_error(f"covariance: {ARRAY} str of dtype <U2")),
    ({"loading": [0.1, 0.2]}, value_error("variance: expected one where a loading is given, got None")),
    (
        {"loading": [0.1, 0.2], "covariance": COVARIANCE},
        value_error("variance: expected one where a loading is given, got None"),
    ),
    ({"variance": VARIANCE, "loading": [0.1]}, value_error("loading: expected 2 values, one per model, got 1")),
    (
        {"variance": VARIANCE, "loading": [0.1, math.nan]},
        value_error("loading: expected finite numbers, got NaN for model 1"),
    ),
    ({"variance": VARIANCE, "loading": "ab"}, type_error(f"loading: {NUMBERS} str")),
    ({"covariance": np.eye(2).astype(str)}, type_error(f"covariance: {ARRAY} ndarray of dtype <U32")),
    ({"covariance": [[0.1, {}], [{}, 0.1]]}, type_error(f"covariance: {ARRAY} list of dtype object")),
    ({"covariance": np.eye(2) * 1j}, type_error(f"covariance: {ARRAY} ndarray of dtype complex128")),
    (
        {"covariance": [[0.1], [0.0, 0.1]]},
        Refused(TypeError, rf"covariance: {ARRAY} list \(ValueError: .*"),
    ),
    # Models.
    ({"run": [2]}, Refused(IndexError, "run: expected model indices below 2, got 2")),
    ({"run": [0, -1]}, Refused(IndexError, "run: expected model indices below 2, got -1")),
    ({"allowed": [0, 2]}, Refused(IndexError, "allowed: expected model indices below 2, got 2")),
    ({"allowed": np.array([0, 9])}, Refused(IndexError, "allowed: expected model indices below 2, got 9")),
    ({"run": [True]}, value_error("run: expected 2 bools, or indices only, got 1 bools among 1")),
    ({"run": np.ones(3, bool)}, value_error("run: expected 2 bools, or indices only, got 3 bools among 3")),
    ({"allowed": [True, 0]}, value_error("allowed: expected 2 bools, or indices only, got 1 bools among 2")),
    ({"run": 1}, type_error(f"run: {INDICES} int")),
    ({"allowed": True}, type_error(f"allowed: {INDICES} bool")),
    ({"run": "a"}, type_error(f"run: {INDICES} str among them")),
    ({"run": [0.0]}, type_error(f"run: {INDICES} float among them")),
    ({"run": [None]}, type_error(f"run: {INDICES} NoneType among them")),
    ({"run": np.zeros(2)}, type_error(f"run: {INDICES} float64 among them")),
    ({"allowed": Unreadable()}, type_error(f"allowed: {INDICES} Unreadable")),
    ({"allowed": []}, value_error("allowed: expected at least one model, as none has run yet; got none")),
    (
        {"allowed": np.zeros(2, bool)},
        value_error("allowed: expected at least one model, as none has run yet; got none"),
    ),
    # Caps.
    (
        {"max_cost": 0.05},
        value_error(
            "max_cost: expected at least 1e-1, the cost of the cheapest allowed model, as none has run yet; got 5e-2"
        ),
    ),
    (
        {"max_cost": 0.1, "allowed": [1]},
        value_error(
            "max_cost: expected at least 2e-1, the cost of the cheapest allowed model, as none has run yet; got 1e-1"
        ),
    ),
    ({"max_cost": -0.5}, value_error("max_cost: expected a number >= 0, got -0.5")),
    ({"max_cost": math.nan}, value_error("max_cost: expected a number >= 0, got NaN")),
]


def label(arguments: dict[str, Any]) -> str:
    return re.sub(r"\s+", " ", ", ".join(f"{name}={value!r:.40}" for name, value in arguments.items()))


def ids(table: list[tuple[dict[str, Any], Refused]]) -> list[str]:
    return [label(arguments) for arguments, _ in table]


@pytest.mark.parametrize(("arguments", "refused"), SELECT, ids=ids(SELECT))
def test_select_refuses(arguments: dict[str, Any], refused: Refused) -> None:
    refused.check(lambda: RULES["CascadeRouting"].select(**{"quality": QUALITY, "cost": COST} | arguments))


ANY_RULE = [
    ({"quality": [0.5, math.nan]}, value_error("quality: expected finite numbers, got NaN for model 1")),
    ({"cost": [0.1, -0.5]}, value_error("cost: expected numbers >= 0, got -0.5 for model 1")),
    ({"variance": [0.1, -0.5]}, value_error("variance: expected numbers >= 0, got -0.5 for model 1")),
    ({"run": [2]}, Refused(IndexError, "run: expected model indices below 2, got 2")),
    ({"allowed": []}, value_error("allowed: expected at least one model, as none has run yet; got none")),
    ({"max_cost": 0.05}, Refused(ValueError, "max_cost: expected at least 1e-1, .*; got 5e-2")),
    ({"quality": [], "cost": []}, value_error("quality: expected at least one model, got none")),
    ({"quality": [0.5] * 129}, value_error("quality: expected at most 128 models, got 129")),
]


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize(("arguments", "refused"), ANY_RULE, ids=ids(ANY_RULE))
def test_every_rule_refuses(kind: str, arguments: dict[str, Any], refused: Refused) -> None:
    refused.check(lambda: RULES[kind].select(**{"quality": QUALITY, "cost": COST} | arguments))


def test_select_wants_its_arguments_by_name() -> None:
    rule = RULES["Routing"]
    with pytest.raises(TypeError, match="cost"):
        rule.select(QUALITY)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        rule.select(QUALITY, COST, VARIANCE)
    with pytest.raises(TypeError, match="sigma"):
        rule.select(QUALITY, COST, sigma=VARIANCE)  # type: ignore[call-arg]


def test_a_refused_decision_leaves_no_trace() -> None:
    rule = RULES["CascadeRouting"]
    before = rule.select(QUALITY, COST, variance=VARIANCE)
    for arguments, refused in SELECT:
        with pytest.raises(refused.kind):
            rule.select(**{"quality": QUALITY, "cost": COST} | arguments)
        assert rule.select(QUALITY, COST, variance=VARIANCE) == before


# Batches: errors of shape name the argument, errors in the numbers also name the row.

SHAPES: list[tuple[dict[str, Any], Refused]] = [
    (
        {"quality": QUALITY},
        value_error("quality: expected shape (n_queries, n_models), got shape (2,)"),
    ),
    ({"quality": 0.5}, value_error("quality: expected shape (n_queries, n_models), got shape ()")),
    ({"quality": [QUALITY, [0.5]]}, Refused(TypeError, rf"quality: {ARRAY} list \(ValueError: .*")),
    ({"quality": "ab"}, type_error(f"quality: {ARRAY} str of dtype <U2")),
    ({"quality": None}, type_error(f"quality: {ARRAY} NoneType of dtype object")),
    ({"quality": [[0.5, None]] * N}, type_error(f"quality: {ARRAY} list of dtype object")),
    ({"quality": [["0.5", "0.6"]] * N}, type_error(f"quality: {ARRAY} list of dtype <U3")),
    ({"quality": np.full((N, 2), 0.5, object)}, type_error(f"quality: {ARRAY} ndarray of dtype object")),
    ({"quality": np.full((N, 2), 0.5j)}, type_error(f"quality: {ARRAY} ndarray of dtype complex128")),
    ({"cost": np.zeros((N, 2), "M8[D]")}, type_error(f"cost: {ARRAY} ndarray of dtype datetime64[D]")),
    ({"loading": np.zeros(2)}, value_error("variance: expected one where a loading is given, got None")),
    (
        {"variance": VARIANCE, "loading": np.zeros((2, N))},
        value_error(f"loading: expected shape ({N}, 2) or (2,), got shape (2, {N})"),
    ),
    ({"variance": np.full((N, 2), "0.5")}, type_error(f"variance: {ARRAY} ndarray of dtype <U3")),
    ({"quality": np.zeros((N, 0))}, value_error("quality: expected at least one model, got none")),
    ({"cost": [0.1]}, value_error(f"cost: expected shape ({N}, 2) or (2,), got shape (1,)")),
    ({"cost": np.zeros((N - 1, 2))}, value_error(f"cost: expected shape ({N}, 2) or (2,), got shape ({N - 1}, 2)")),
    ({"variance": np.zeros((2, N))}, value_error(f"variance: expected shape ({N}, 2) or (2,), got shape (2, {N})")),
    (
        {"covariance": np.zeros((N, 2))},
        value_error(f"covariance: expected shape ({N}, 2, 2) or (2, 2), got shape ({N}, 2)"),
    ),
    (
        {"variance": VARIANCE, "covariance": COVARIANCE},
        value_error("covariance: expected None where a variance is given, got both"),
    ),
    ({"run": np.zeros(2, np.int64)}, type_error("run: expected an array of bool, got ndarray of dtype int64")),
    ({"run": [0, 1]}, type_error("run: expected an array of bool, got list of dtype int64")),
    ({"allowed": np.ones(2)}, type_error("allowed: expected an array of bool, got ndarray of dtype float64")),
    (
        {"run": np.zeros((N, 3), bool)},
        value_error(f"run: expected shape (n_queries, n_models) = ({N}, 2) or (2,), got shape ({N}, 3)"),
    ),
    (
        {"allowed": np.zeros(N, bool)},
        value_error(f"allowed: expected shape (n_queries, n_models) = ({N}, 2) or (2,), got shape ({N},)"),
    ),
    ({"allowed": {}}, type_error("allowed: expected an array of bool, got dict of dtype object")),
    ({"max_cost": [0.5]}, value_error(f"max_cost: expected a number, or shape ({N},), got shape (1,)")),
    ({"max_cost": -1.0}, value_error("max_cost: expected numbers >= 0, got -1")),
    ({"max_cost": np.full(N, math.nan)}, value_error("max_cost: expected numbers >= 0, got NaN")),
    ({"max_cost": "ab"}, type_error(f"max_cost: {ARRAY} str of dtype <U2")),
    ({"threads": 0}, value_error("threads: expected 1 to 1024, got 0")),
    ({"threads": -1}, value_error("threads: expected 1 to 1024, got -1")),
    ({"threads": 1025}, value_error("threads: expected 1 to 1024, got 1025")),
]


def batch(**changed: Any) -> dict[str, Any]:
    return {"quality": np.tile(QUALITY, (N, 1)), "cost": COST} | changed


@pytest.mark.parametrize(("arguments", "refused"), SHAPES, ids=ids(SHAPES))
def test_a_batch_refuses(arguments: dict[str, Any], refused: Refused) -> None:
    rule = RULES["CascadeRouting"]
    refused.check(lambda: rule.select_batch(**batch(**arguments)))
    interval = {"lower": np.zeros(N), "upper": np.ones(N)}
    refused.check(lambda: rule.profile_batch(**batch(**arguments), **interval))


def table(shape: tuple[int, ...], row: int, bad: Any, rest: Any) -> Any:
    values = np.broadcast_to(rest, (N, *shape)).copy()
    values[row] = bad
    return values


# An argument in which row 7 is wrong.
ROWS: list[tuple[dict[str, Any], Refused]] = [
    (
        {"quality": table((2,), 7, [0.5, math.nan], QUALITY)},
        value_error("row 7: quality: expected finite numbers, got NaN for model 1"),
    ),
    (
        {"quality": table((2,), 7, [math.inf, 0.5], QUALITY)},
        value_error("row 7: quality: expected finite numbers, got inf for model 0"),
    ),
    (
        {"cost": table((2,), 7, [-0.5, 0.1], COST)},
        value_error("row 7: cost: expected numbers >= 0, got -0.5 for model 0"),
    ),
    (
        {"variance": table((2,), 7, [0.1, -0.5], VARIANCE)},
        value_error("row 7: variance: expected numbers >= 0, got -0.5 for model 1"),
    ),
    (
        {"covariance": table((2, 2), 7, [[1.0, 2.0], [2.0, 1.0]], COVARIANCE)},
        Refused(ValueError, "row 7: covariance: expected a positive semi-definite matrix, got pivot -3e0 .*"),
    ),
    (
        {"covariance": table((2, 2), 7, [[1.0, 0.5], [0.0, 1.0]], COVARIANCE)},
        Refused(ValueError, "row 7: covariance: expected a symmetric matrix, got 0 .* and 0.5 .*"),
    ),
    (
        {"allowed": table((2,), 7, [False, False], [True, True])},
        value_error("row 7: allowed: expected at least one model, as none has run yet; got none"),
    ),
    (
        {"max_cost": table((), 7, 0.05, 1.0)},
        Refused(ValueError, "row 7: max_cost: expected at least 1e-1, .*; got 5e-2"),
    ),
]


@pytest.mark.parametrize(("arguments", "refused"), ROWS, ids=[next(iter(row[0])) for row in ROWS])
@pytest.mark.parametrize("threads", [1, 2, None])
def test_a_batch_names_the_row(arguments: dict[str, Any], refused: Refused, threads: int | None) -> None:
    rule = RULES["CascadeRouting"]
    refused.check(lambda: rule.select_batch(**batch(**arguments), threads=threads))
    interval = {"lower": np.zeros(N), "upper": np.ones(N)}
    refused.check(lambda: rule.profile_batch(**batch(**arguments), **interval, threads=threads))


@pytest.mark.parametrize("threads", [1, 2, 4, None])
def test_a_batch_names_the_first_of_several_rows(threads: int | None) -> None:
    quality = np.full((500, 2), 0.5)
    quality[[499, 300, 130]] = math.nan
    for rule in RULES.values():
        with pytest.raises(ValueError, match=r"^row 130: quality: expected finite numbers, got NaN for model 0$"):
            rule.select_batch(quality, COST, threads=threads)


def test_a_batch_of_too_many_models_is_refused() -> None:
    for rule in RULES.values():
        with pytest.raises(ValueError, match=r"^row 0: quality: expected at most 128 models, got 129$"):
            rule.select_batch(np.zeros((2, 129)), np.zeros(129))


def test_an_order_that_does_not_fit_names_the_model() -> None:
    for rule in (hr.Cascade(0.5, order=[0, 2]), hr.ThresholdCascade(0.5, order=[0, 2])):
        with pytest.raises(IndexError, match=r"^order: expected model indices below 2, got 2$"):
            rule.select(QUALITY, COST)
        with pytest.raises(IndexError, match=r"^row 0: order: expected model indices below 2, got 2$"):
            rule.select_batch(**batch())


@pytest.mark.parametrize(
    ("kind", "interval", "text"),
    [
        ("Routing", {"lower": [-1.0]}, "lower: expected cost weights >= 0, got -1"),
        ("Routing", {"lower": [math.inf]}, "lower: expected cost weights >= 0, got inf"),
        ("Routing", {"lower": [math.nan]}, "lower: "),
        ("Routing", {"upper": [math.nan]}, "upper: "),
        ("ThresholdCascade", {"lower": [math.nan]}, "lower: "),
        ("Routing", {"lower": [0.0, 0.0]}, "lower: expected 1 numbers, got shape (2,)"),
        ("Routing", {"upper": 1.0}, "upper: expected 1 numbers, got shape ()"),
        ("Routing", {"upper": "ab"}, "upper: expected an array of real numbers, got str"),
    ],
)
def test_a_profile_refuses_its_interval(kind: str, interval: dict[str, Any], text: str) -> None:
    ends = {"lower": [0.0], "upper": [1.0]} | interval
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(text)}"):
        RULES[kind].profile_batch([QUALITY], COST, **ends)


@pytest.mark.parametrize("kind", RULES)
def test_a_profile_refuses_an_interval_of_falling_ends(kind: str) -> None:
    with pytest.raises(ValueError, match=r"^(row 0: )?(lower|upper): expected "):
        RULES[kind].profile_batch([QUALITY], COST, variance=VARIANCE, run=[True, False], lower=[2.0], upper=[1.0])


# The expected maximum

EXPECTED_MAX = [
    ({"quality": [0.5, math.nan]}, value_error("quality: expected finite numbers, got NaN for model 1")),
    ({"quality": []}, value_error("quality: expected at least one model, got none")),
    ({"quality": [0.5] * 129}, value_error("quality: expected at most 128 models, got 129")),
    ({"quality": np.eye(2)}, value_error("quality: expected shape (n_models,), got shape (2, 2)")),
    ({"quality": "ab"}, type_error(f"quality: {NUMBERS} str")),
    ({"variance": [0.1, -0.5]}, value_error("variance: expected numbers >= 0, got -0.5 for model 1")),
    ({"variance": [0.1]}, value_error("variance: expected 2 values, one per model, got 1")),
    ({"covariance": np.eye(3)}, value_error("covariance: expected shape (2, 2), got shape (3, 3)")),
    (
        {"covariance": [[1.0, 2.0], [2.0, 1.0]]},
        Refused(ValueError, "covariance: expected a positive semi-definite matrix, got pivot -3e0 .*"),
    ),
    (
        {"variance": VARIANCE, "covariance": COVARIANCE},
        value_error("covariance: expected None where a variance is given, got both"),
    ),
    (
        {"uncertainty_scale": -1.0},
        value_error("uncertainty_scale: expected a number from 0 to 1e150, got -1"),
    ),
    (
        {"uncertainty_scale": math.nan},
        value_error("uncertainty_scale: expected a number from 0 to 1e150, got NaN"),
    ),
]


@pytest.mark.parametrize(("arguments", "refused"), EXPECTED_MAX, ids=ids(EXPECTED_MAX))
def test_expected_max_refuses(arguments: dict[str, Any], refused: Refused) -> None:
    refused.check(lambda: hr.expected_max(**{"quality": QUALITY} | arguments))


# Settings

WEIGHT = "cost_weight: expected a number >= 0 (quality per unit of cost), got"
SCALE = "uncertainty_scale: expected a number from 0 to 1e150, got"
STEPS = "thresholds: expected one number per step, or one for all, got"
ORDER = "order: expected different model indices below 128, got"
OUT_OF_RANGE: list[tuple[str, dict[str, Any], str]] = [
    *((kind, {"cost_weight": -0.5}, f"{WEIGHT} -0.5") for kind in RULES if kind != "ThresholdCascade"),
    *((kind, {"cost_weight": math.nan}, f"{WEIGHT} NaN") for kind in RULES if kind != "ThresholdCascade"),
    *(("Cascade", {"max_depth": 0}, "max_depth: expected at least 1, got 0"),),
    ("CascadeRouting", {"max_depth": 0}, "max_depth: expected at least 1, got 0"),
    ("CascadeRouting", {"node_limit": 0}, "node_limit: expected at least 1, got 0"),
    *((kind, {"uncertainty_scale": -1}, f"{SCALE} -1") for kind in ("Cascade", "CascadeRouting", "IndexRule")),
    ("IndexRule", {"uncertainty_scale": math.inf}, f"{SCALE} inf"),
    ("CascadeRouting", {"uncertainty_scale": math.nan}, f"{SCALE} NaN"),
    ("ThresholdCascade", {"thresholds": []}, f"{STEPS} []"),
    ("ThresholdCascade", {"thresholds": math.nan}, f"{STEPS} [NaN]"),
    ("ThresholdCascade", {"thresholds": [0.5, math.nan]}, f"{STEPS} [0.5, NaN]"),
    *((kind, {"order": [1, 0, 1]}, f"{ORDER} [1, 0, 1]") for kind in ("Cascade", "ThresholdCascade")),
    *((kind, {"order": [0, 128]}, f"{ORDER} [0, 128]") for kind in ("Cascade", "ThresholdCascade")),
    *(
        (kind, {"order": []}, "order: expected at least one model, got none")
        for kind in ("Cascade", "ThresholdCascade")
    ),
]
LEAST = {kind: {"cost_weight": 1.0} for kind in RULES} | {"ThresholdCascade": {"thresholds": 0.5}}


@pytest.mark.parametrize(("kind", "settings", "text"), OUT_OF_RANGE)
def test_settings_out_of_range_are_refused(kind: str, settings: dict[str, Any], text: str) -> None:
    value_error(text).check(lambda: getattr(hr, kind)(**LEAST[kind] | settings))


# Counts below their range. One beyond any number of models is no mistake: it limits nothing.
NEGATIVE = [
    ("Cascade", {"max_depth": -1}),
    ("CascadeRouting", {"max_depth": -1}),
    ("CascadeRouting", {"node_limit": -1}),
    ("Cascade", {"order": [0, -1]}),
    ("ThresholdCascade", {"order": [0, -1]}),
]


def test_a_depth_beyond_any_number_limits_nothing() -> None:
    decision = hr.Cascade(0.1, max_depth=10**30).select([0.6, 0.6, 0.9], [0.1, 0.1, 0.4])
    assert decision == hr.Cascade(0.1, max_depth=3).select([0.6, 0.6, 0.9], [0.1, 0.1, 0.4])


@pytest.mark.parametrize(("kind", "settings"), NEGATIVE)
def test_counts_out_of_range_name_the_setting(kind: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(settings))}: expected "):
        getattr(hr, kind)(**LEAST[kind] | settings)


WRONG_TYPES: list[tuple[str, dict[str, Any]]] = [
    *(("Routing", {"cost_weight": value}) for value in (None, "0.5", [0.5], 1j)),
    *(("CascadeRouting", {"max_depth": value}) for value in (None, 1.5, "3")),
    ("CascadeRouting", {"node_limit": 1e5}),
    ("IndexRule", {"uncertainty_scale": None}),
    *(("ThresholdCascade", {"thresholds": value}) for value in (None, "0.5", [None], {0: 0.5})),
    *(("Cascade", {"order": value}) for value in ("ab", [0.5], 1, [None], Unreadable())),
]


@pytest.mark.parametrize(("kind", "settings"), WRONG_TYPES, ids=[f"{k} {label(s)}" for k, s in WRONG_TYPES])
def test_settings_of_a_wrong_type_name_the_setting(kind: str, settings: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(settings))):
        getattr(hr, kind)(**LEAST[kind] | settings)


@pytest.mark.parametrize("kind", RULES)
def test_unknown_and_positional_settings_are_refused(kind: str) -> None:
    with pytest.raises(TypeError, match="gamma"):
        getattr(hr, kind)(**LEAST[kind], gamma=1)
    with pytest.raises(TypeError, match="positional"):
        getattr(hr, kind)(0.5, 0.5)
    with pytest.raises(TypeError, match="missing"):
        getattr(hr, kind)()


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"status": "fine"}, ValueError, 'status: expected "optimal" or "bounded", got fine'),
        ({"plan": [128]}, ValueError, "plan: expected model indices below 128, got 128"),
        ({"next": 128}, ValueError, "(next|plan): expected model indices below 128, got 128"),
        ({"value": "ab"}, TypeError, r".*\nwhile processing 'value'"),
        ({"plan": 3}, TypeError, r".*\nwhile processing 'plan'"),
    ],
)
def test_a_decision_refuses(fields: dict[str, Any], kind: type[Exception], text: str) -> None:
    given: dict[str, Any] = {"next": 0, "plan": [0], "value": 0.5, "tradeoff": 0.5}
    Refused(kind, text).check(lambda: hr.Decision(**given | fields))


# Numbers are never made up of what isn't one


def test_complex_numbers_are_refused() -> None:
    numbers = np.array([0.5 + 0j, 0.6 + 1j])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TypeError, match=r"^quality: "):
            RULES["Routing"].select(numbers, COST)
        with pytest.raises(TypeError, match=r"^quality: "):
            RULES["Routing"].select_batch(numbers[None], COST)


def test_an_interrupt_inside_a_conversion_is_not_swallowed() -> None:
    class Interrupted:
        def __float__(self) -> float:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RULES["Routing"].select([0.5, Interrupted()], COST)
