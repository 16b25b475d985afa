"""Whatever comes in, out comes a result or an ordinary exception: never a panic, an abort, or a call without end.

A panic of the core arrives as a `PanicException`, which derives from `BaseException`: `outcome` lets it through.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import headrace as hr

KINDS = ["Routing", "ThresholdCascade", "Cascade", "CascadeRouting", "IndexRule"]

# Small enough for searches on absurd numbers to end at once.
NODE_LIMIT = 200

RULES: list[hr.Rule] = [
    hr.Routing(0.5),
    hr.Routing(math.inf),
    hr.ThresholdCascade(0.6),
    hr.ThresholdCascade([0.9, 0.1], order=[1, 0]),
    hr.Cascade(0.5),
    hr.Cascade(0.0, order=[1, 0, 2], max_depth=2),
    hr.CascadeRouting(0.01, node_limit=NODE_LIMIT),
    hr.CascadeRouting(math.inf, node_limit=NODE_LIMIT, max_depth=200),
    hr.CascadeRouting(0.0, node_limit=1, uncertainty_scale=0.0),
    hr.IndexRule(0.5),
    hr.IndexRule(0.0, uncertainty_scale=3.0),
]

examples = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def outcome(call: Callable[..., object], *args: object, **kwargs: object) -> object:
    """Return the result or the exception."""
    try:
        return call(*args, **kwargs)
    except Exception as error:
        return error


# Objects that bite


class Raises:
    """Raises at whatever is asked of it."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def fail(self, *_: object) -> Any:
        raise self.error("on purpose")

    __float__ = __index__ = __int__ = __iter__ = __len__ = __getitem__ = __bool__ = __array__ = fail
    shape = property(fail)
    dtype = property(fail)


class Lies:
    """Says that it is a sequence of one length, and gives another."""

    shape = (3,)
    dtype = "float64"

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, at: int) -> float:
        if at > 1:
            raise IndexError(at)
        return 0.5

    def __bool__(self) -> bool:
        raise ValueError("neither")


class Decides:
    """Decides again while it is being read."""

    def decide(self) -> float:
        for rule in RULES[::3]:
            outcome(rule.select, [0.5, 0.6, self.depth], [0.1, 0.2, 0.3], variance=[0.1, 0.2, 0.3])
            outcome(rule.select_batch, np.full((20, 2), 0.5), [0.1, 0.2])
        return 0.5

    depth = 0.25

    def __float__(self) -> float:
        return self.decide()

    def __index__(self) -> int:
        return int(self.decide())

    def __iter__(self) -> Iterator[float]:
        yield self.decide()
        yield self.decide()


class DecidesWithItself(Decides):
    """Decides again on a list that it is in, a few levels deep."""

    def __init__(self) -> None:
        self.left = 3

    def decide(self) -> float:
        if self.left > 0:
            self.left -= 1
            outcome(RULES[-1].select, [self, 0.5], [0.1, self], variance=[self, 0.2])
            self.left += 1
        return 0.5


class Grows(list):  # type: ignore[type-arg]
    """A list that its own items lengthen, and empty, while it is read."""

    class Item:
        def __init__(self, owner: list[object]) -> None:
            self.owner = owner

        def __float__(self) -> float:
            if len(self.owner) > 5:
                self.owner.clear()
            else:
                self.owner.append(0.5)
            return 0.5

    def __init__(self) -> None:
        super().__init__([self.Item(self), 0.5])


NUMBERS = [0.0, -0.0, 0.5, 1.0, -1.0, 2.0, 1e-320, 5e-324, 1e-17, 1e300, 1.7976931348623157e308, -1e308]
NUMBERS += [math.nan, math.inf, -math.inf]
number = st.sampled_from(NUMBERS) | st.floats()
huge = st.sampled_from([2**31, 2**63 - 1, 2**63, 2**64, 2**127, 10**400, -(2**63), -1])


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Arrays of any number of axes, type and layout."""
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=4)))
    values = np.array(draw(st.lists(number, min_size=1, max_size=6)))
    array = np.resize(values, shape)
    kind = draw(st.sampled_from(["f8", "f4", "f2", ">f8", "i8", "u1", "?", "c16", "O", "U8", "S8", "M8[D]", "V8"]))
    with np.errstate(all="ignore"):
        finite = np.where(np.isfinite(array) & (abs(array) < 1e9), array, 9.0)
        array = finite.view("i8").astype("V8") if kind == "V8" else finite.astype(kind)
    if kind == "f8" and draw(st.booleans()):
        array = np.resize(values, shape)
    layout = draw(
        st.sampled_from(["plain", "strided", "transposed", "reversed", "read-only", "broadcast", "unaligned"])
    )
    if layout == "strided" and array.ndim:
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    elif layout == "transposed":
        array = array.T
    elif layout == "reversed" and array.ndim:
        array = array[::-1]
    elif layout == "read-only":
        array.flags.writeable = False
    elif layout == "broadcast":
        array = np.broadcast_to(array, (2, *array.shape))
    elif layout == "unaligned" and not array.dtype.hasobject:
        moved = np.ndarray(array.shape, array.dtype, buffer=bytearray(array.nbytes + 1), offset=1)
        moved[...] = array
        array = moved
    return array


def things() -> st.SearchStrategy[object]:
    """Make anything at all: anew for every example, as some of it changes when read."""
    errors = st.sampled_from([ValueError, TypeError, ZeroDivisionError, RecursionError, StopIteration, OSError])
    bites = st.one_of(
        st.builds(Raises, errors),
        st.builds(Lies),
        st.builds(Decides),
        st.builds(DecidesWithItself),
        st.builds(Grows),
    )
    plain = st.one_of(
        st.none(),
        st.booleans(),
        number,
        huge,
        st.integers(-3, 200),
        st.complex_numbers(),
        st.text(max_size=3),
        st.binary(max_size=3),
        st.dates(),
        st.sampled_from([object, hr.Routing, np.float64(0.5), np.float64(math.nan), ..., NotImplemented]),
    )
    leaves = plain | bites
    nested = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
    return st.one_of(
        leaves,
        nested,
        st.lists(leaves, max_size=4).map(tuple),
        st.lists(leaves, max_size=4).map(iter),
        st.dictionaries(st.integers(0, 3), leaves, max_size=2),
        st.sets(number, max_size=3),
        arrays(),
        arrays().map(memoryview_or_list),
    )


def memoryview_or_list(array: np.ndarray[Any, Any]) -> object:
    view = outcome(memoryview, array)
    return array.tolist() if isinstance(view, Exception) else view


def indices() -> st.SearchStrategy[object]:
    return st.lists(st.integers(-1, 4) | st.booleans(), max_size=4)


OMITTED = object()

# Strategies are made once: to make one takes longer than to draw from it.
anything = things()


def mangled(valid: dict[str, object]) -> st.SearchStrategy[dict[str, object]]:
    """Take valid arguments and put anything in the place of up to three of them."""

    def put(changes: dict[str, object]) -> dict[str, object]:
        merged = valid | changes
        return {name: value for name, value in merged.items() if value is not OMITTED}

    return st.dictionaries(st.sampled_from(sorted(valid)), anything, min_size=1, max_size=3).map(put)


SINGLE: dict[str, object] = {
    "quality": [0.5, 0.6, 0.4],
    "cost": [0.1, 0.2, 0.3],
    "variance": [0.01, 0.02, 0.03],
    "covariance": OMITTED,
    "loading": OMITTED,
    "run": OMITTED,
    "allowed": OMITTED,
    "max_cost": OMITTED,
}
BATCH = SINGLE | {"quality": np.array([[0.5, 0.6, 0.4], [0.3, 0.2, 0.9]]), "threads": OMITTED}
LONG_BATCH = BATCH | {"quality": np.tile([0.5, 0.6, 0.4], (70, 1))}
INTERVAL: dict[str, object] = {"lower": np.zeros(2), "upper": np.array([math.inf, 2.0])}
MANGLED_PROFILE = mangled(BATCH | INTERVAL)
rules = st.sampled_from(RULES)


def few_threads(arguments: dict[str, object]) -> dict[str, object]:
    """Leave out a number of threads that a machine may refuse, or be busy with."""
    threads = arguments.get("threads")
    many = outcome(lambda: int(threads) > 8 or threads is True)  # type: ignore[call-overload]
    return {name: value for name, value in arguments.items() if name != "threads" or many is not True}


@given(rules, mangled(SINGLE))
@examples
def test_select_takes_anything(rule: hr.Rule, arguments: dict[str, object]) -> None:
    result = outcome(rule.select, **arguments)
    assert isinstance(result, hr.Decision | Exception)


@given(rules, st.lists(anything, max_size=3), anything, indices(), indices())
@examples
def test_select_takes_anything_everywhere(
    rule: hr.Rule, args: list[object], spread: object, run: object, allowed: object
) -> None:
    result = outcome(rule.select, *args, variance=spread, run=run, allowed=allowed)
    assert isinstance(result, hr.Decision | Exception)
    result = outcome(rule.select, *args, covariance=spread, max_cost=spread)
    assert isinstance(result, hr.Decision | Exception)
    result = outcome(rule.select, *args, variance=[0.01, 0.02, 0.03], loading=spread)
    assert isinstance(result, hr.Decision | Exception)


@given(rules, mangled(BATCH) | mangled(LONG_BATCH))
@examples
def test_select_batch_takes_anything(rule: hr.Rule, arguments: dict[str, object]) -> None:
    result = outcome(rule.select_batch, **few_threads(arguments))
    assert isinstance(result, np.ndarray | Exception)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@examples
def test_profile_batch_takes_anything(kind: str, data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from([rule for rule in RULES if type(rule).__name__ == kind]))
    arguments = data.draw(MANGLED_PROFILE)
    result = outcome(rule.profile_batch, **few_threads(arguments))
    assert isinstance(result, tuple | Exception)


@given(
    mangled(
        {name: SINGLE[name] for name in ("quality", "variance", "covariance", "loading")} | {"uncertainty_scale": 1.0}
    ),
    anything,
)
@examples
def test_expected_max_takes_anything(arguments: dict[str, object], flag: object) -> None:
    assert isinstance(outcome(hr.expected_max, **arguments), float | Exception)
    result = outcome(hr.expected_max, **arguments, with_error=flag)
    assert isinstance(result, float | tuple | Exception)


CONSTRUCTORS: dict[str, dict[str, object]] = {
    "Routing": {"cost_weight": 0.5},
    "ThresholdCascade": {"thresholds": 0.5, "order": OMITTED},
    "Cascade": {"cost_weight": 0.5, "order": OMITTED, "max_depth": 3, "uncertainty_scale": 1.0},
    "CascadeRouting": {"cost_weight": 0.5, "max_depth": 3, "uncertainty_scale": 1.0, "node_limit": 9},
    "IndexRule": {"cost_weight": 0.5, "uncertainty_scale": 1.0},
    "Decision": {"next": 0, "plan": (0,), "value": 0.5, "tradeoff": 0.5}
    | {"status": "optimal", "gap": 0.0, "n_nodes": 1},
}

MANGLED_SETTINGS = {name: mangled(valid) for name, valid in CONSTRUCTORS.items()}


@pytest.mark.parametrize("name", CONSTRUCTORS)
@given(data=st.data())
@examples
def test_constructors_take_anything(name: str, data: st.DataObject) -> None:
    made = outcome(getattr(hr, name), **data.draw(MANGLED_SETTINGS[name]))
    other = data.draw(anything)
    assert isinstance(made, getattr(hr, name) | Exception)
    for use in (repr, hash, lambda thing: thing == other, lambda thing: thing.__reduce__()):
        outcome(use, made)
    if isinstance(made, hr.Rule):
        outcome(made.select, [0.5, 0.6, 0.7], [0.1, 0.2, 0.3], variance=[0.1, 0.2, 0.3])
        for method in (made.select, made.select_batch, made.profile_batch):
            outcome(method, other)


@given(anything, anything)
@examples
def test_the_base_class_takes_anything(first: object, second: object) -> None:
    assert isinstance(outcome(hr.Rule, first, x=second), Exception)
    assert isinstance(outcome(hr.Rule.select, first, [0.5], second), Exception)
    assert isinstance(outcome(hr.Rule.__new__, hr.Rule, first), Exception)
    assert isinstance(outcome(object.__new__, hr.CascadeRouting), Exception)


# Numbers of the right shape, and out of proportion

magnitude = st.sampled_from(
    [0.0, 5e-324, 1e-320, 1e-300, 1e-34, 1e-30, 1e-17, 1e-9, 0.1, 0.5, 1.0, 7.0, 1e9, 1e150, 1e300]
)
scales = magnitude.filter(lambda scale: scale <= 1e150)
cost_weights = magnitude | st.sampled_from([1.7976931348623157e308, math.inf])


@st.composite
def problems(draw: st.DrawFn) -> tuple[dict[str, Any], float, int]:
    """Draw a problem of 1 to 128 models, a cost weight and a seed: few distinct numbers, of all magnitudes."""
    n_models = draw(st.sampled_from([1, 2, 3, 4, 7, 20, 128]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def values(signed: bool = False) -> np.ndarray[Any, Any]:
        pool = np.array(draw(st.lists(magnitude, min_size=1, max_size=4)))
        drawn = rng.choice(pool, n_models)
        if draw(st.booleans()):
            drawn = drawn * rng.uniform(0.5, 1.5, n_models)
        return drawn * rng.choice([-1, 1], n_models) if signed else drawn

    quality, cost, variance = values(signed=draw(st.booleans())), values(), values()
    if draw(st.booleans()):
        # Means next to each other, as far apart as floating point tells.
        quality = quality[0] + np.spacing(quality[0]) * rng.integers(0, 40, n_models)
    problem: dict[str, Any] = {"quality": quality, "cost": cost}
    spread = draw(st.sampled_from(["none", "variance", "covariance", "flat covariance", "loading"]))
    if spread in ("variance", "loading"):
        problem["variance"] = variance
    if spread == "loading":
        problem["loading"] = values(signed=True)
    elif spread in ("covariance", "flat covariance"):
        sd = np.sqrt(variance)
        problem["covariance"] = np.diag(variance) if spread == "covariance" else np.outer(sd, sd)
    if draw(st.booleans()):
        problem["run"] = rng.random(n_models) < 0.3
    if draw(st.booleans()):
        problem["allowed"] = rng.random(n_models) < 0.7
    if draw(st.booleans()):
        problem["max_cost"] = draw(cost_weights)
    return problem, draw(cost_weights), draw(st.integers(0, 2**32 - 1))


def extreme_rules(cost_weight: float, scale: float, seed: int) -> list[hr.Rule]:
    order = np.random.default_rng(seed).permutation(3).tolist()
    return [
        hr.Routing(cost_weight),
        hr.ThresholdCascade(-cost_weight),
        hr.Cascade(cost_weight, uncertainty_scale=scale),
        hr.Cascade(cost_weight, order=order),
        hr.CascadeRouting(cost_weight, uncertainty_scale=scale, node_limit=NODE_LIMIT),
        hr.CascadeRouting(cost_weight, max_depth=128, node_limit=NODE_LIMIT),
        hr.IndexRule(cost_weight, uncertainty_scale=scale),
    ]


@given(problems(), scales)
@examples
def test_select_takes_numbers_of_any_size(problem: tuple[dict[str, Any], float, int], scale: float) -> None:
    arguments, cost_weight, seed = problem
    for rule in extreme_rules(cost_weight, scale, seed):
        decision = outcome(rule.select, **arguments)
        assert isinstance(decision, hr.Decision | ValueError | IndexError)
        if isinstance(decision, hr.Decision):
            assert decision.next is None or decision.next in decision.plan
            assert decision.gap >= 0
            assert not math.isnan(decision.value)
            batch = {name: np.array(value)[None] for name, value in arguments.items()}
            assert rule.select_batch(**batch).tolist() == [-1 if decision.next is None else decision.next]


@pytest.mark.parametrize(
    "kind",
    list(KINDS),
)
@given(problem=problems(), ends=st.lists(cost_weights, min_size=2, max_size=2), scale=scales)
@examples
def test_profiles_take_numbers_of_any_size(
    kind: str, problem: tuple[dict[str, Any], float, int], ends: list[float], scale: float
) -> None:
    arguments, cost_weight, seed = problem
    batch = {name: np.array(value)[None] for name, value in arguments.items()}
    lower, upper = ends
    for rule in extreme_rules(cost_weight, scale, seed):
        if type(rule).__name__ == kind:
            profile = outcome(rule.profile_batch, **batch, lower=[lower], upper=[upper])
            assert isinstance(profile, tuple | ValueError | IndexError)
            if isinstance(profile, tuple) and lower < upper:
                _, starts, ends_of_pieces, _ = (column.tolist() for column in profile)
                assert (starts[0], ends_of_pieces[-1]) == (lower, upper)
                assert starts[1:] == ends_of_pieces[:-1]


@given(problems(), scales)
@examples
def test_expected_max_takes_numbers_of_any_size(problem: tuple[dict[str, Any], float, int], scale: float) -> None:
    arguments, _, _ = problem
    belief = {name: arguments[name] for name in ("quality", "variance", "covariance", "loading") if name in arguments}
    value = outcome(hr.expected_max, **belief, uncertainty_scale=scale)
    assert isinstance(value, float | ValueError)
    assert isinstance(value, ValueError) or math.isfinite(value)


@pytest.mark.parametrize(
    ("belief", "wrong"),
    [
        ({"quality": [1e308, -1e308, 0.0]}, "quality: expected magnitudes up to 1e150, got 1e308 for model 0"),
        ({"covariance": np.eye(3) * 1e300}, "covariance: expected magnitudes up to 1e150, got 1e300 for model 0"),
        ({"variance": [0.0, 1e151, 0.0]}, "variance: expected magnitudes up to 1e150, got 1e151 for model 1"),
        (
            {"variance": [0.1] * 3, "loading": [0.0, 0.1, -1e200]},
            "loading: expected magnitudes up to 1e150, got -1e200 for model 2",
        ),
    ],
    ids=["distance of the means", "standard deviation", "variance", "loading"],
)
def test_numbers_that_overflow_are_no_answer(belief: dict[str, Any], wrong: str) -> None:
    belief = {"quality": [0.0] * 3} | belief
    with pytest.raises(ValueError, match=f"^{re.escape(wrong)}$"):
        hr.expected_max(**belief)
    with pytest.raises(ValueError, match=f"^{re.escape(wrong)}$"):
        hr.CascadeRouting(0.1).select(**belief, cost=[0.1, 0.2, 0.3])


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_largest_numbers_give_finite_answers(sign: float) -> None:
    belief: dict[str, Any] = {"quality": [1e150, -1e150, sign * 1e150], "variance": [1e150] * 3}
    assert math.isfinite(hr.expected_max(**belief, uncertainty_scale=1e150))
    for kind in (hr.Cascade, hr.CascadeRouting, hr.IndexRule):
        decision = kind(0.1, uncertainty_scale=1e150).select(**belief, cost=[1e150, 1e-150, 1.0])
        assert math.isfinite(decision.value)
        assert math.isfinite(decision.tradeoff)


# Calls that might not come back: in a process of their own, with little memory and time

GUARD = """
import itertools, math, resource
import numpy as np
import headrace as hr
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    CALL
except Exception as error:
    print(type(error).__name__, error)
print("came back")
"""


def comes_back(call: str) -> None:
    code = textwrap.dedent(GUARD).replace("CALL", call)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.endswith("came back\n"), run.stderr[-2000:]


@pytest.mark.parametrize("variance", [1e-32, 1e-33])
def test_a_profile_at_variances_near_rounding_comes_back(variance: float) -> None:
    model = f"[[1.0, 1.0]], [0.1, 0.2], variance=[{variance}, {variance}]"
    comes_back(f"hr.IndexRule(1.0).profile_batch({model}, lower=[0.0], upper=[math.inf])")


@pytest.mark.parametrize(
    "arguments",
    [
        "itertools.repeat(0.5), [0.1]",
        "[0.5], itertools.repeat(0.1)",
        "[0.5], [0.1], variance=itertools.count()",
        "[0.5], [0.1], run=itertools.repeat(0)",
        "[0.5], [0.1], allowed=itertools.repeat(True)",
    ],
)
def test_endless_iterators_are_refused(arguments: str) -> None:
    comes_back(f"hr.CascadeRouting(0.5).select({arguments})")


def test_a_number_of_threads_beyond_reason_comes_back() -> None:
    comes_back("hr.Routing(0.5).select_batch([[0.5]], [0.1], threads=10**6)")
