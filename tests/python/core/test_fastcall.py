"""Two ways into `select`, a short one of plain lists and arrays, and PyO3's: they decide, refuse and leave the same."""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr

RULES = (
    hr.CascadeRouting(0.3),
    hr.CascadeRouting(0.0, max_depth=2),
    hr.Cascade(0.3),
    hr.Routing(1.0),
    hr.IndexRule(0.3),
    hr.ThresholdCascade(0.5),
)
QUALITY, COST, VARIANCE = [0.6, 0.8, 0.7], [0.1, 0.2, 0.15], [0.04, 0.09, 0.02]

counted = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="types count references otherwise without the lock"
)


class Odd(float):
    """A float that is no plain one."""

    def __float__(self) -> float:
        return 0.25


def outcome(call: Callable[[], object]) -> tuple[object, ...]:
    """What a call gives: a decision, or an error's type and text."""
    try:
        return (repr(call()),)
    except Exception as error:
        return (type(error), str(error))


def spelled(name: str) -> str:
    """The name as another object, which the short way doesn't know."""
    return "".join(list(name))


def both(rule: Any, quality: Any, cost: Any, **more: Any) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """The outcomes of the short way, if it is one for these arguments, and of PyO3's."""
    short = outcome(lambda: rule.select(quality, cost, **more))
    return short, outcome(lambda: rule.select(quality=quality, cost=cost, **more))


NUMBERS = st.floats(0.0, 1.0) | st.sampled_from([0.0, -0.0, 1.0, 1e-300, 1e150])
ODD = st.sampled_from(
    [float("nan"), float("inf"), -1.0, 1e200, 1, 0, True, None, "0.5", b"1", 1j, Odd(0.5), np.float64(0.5), []]
)


def kinds(numbers: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[Any]:
    return numbers | numbers.map(tuple)


def laid_out(numbers: list[float], how: str) -> Any:
    """The numbers in an array that lies in memory in one way or another."""
    array = np.array(numbers)
    match how:
        case "reversed":
            return array[::-1]
        case "apart":
            return np.stack([array, array + 1.0], axis=1)[:, 0]
        case "broadcast":
            return np.broadcast_to(np.array(0.5), len(numbers))
        case "unaligned":
            return np.frombuffer(b"-" + array.tobytes(), dtype=np.float64, offset=1) if numbers else array
        case "swapped":
            return array.astype(array.dtype.newbyteorder())
        case "masked":
            return np.ma.masked_array(array, array > 0.5)
        case "copied type":
            return np.frombuffer(array.tobytes(), dtype=np.dtype("f8", copy=True)) if numbers else array
        case "two dimensions":
            return array[None, :]
    return array


LAYOUTS = ["plain", "reversed", "apart", "broadcast", "unaligned", "swapped", "masked", "copied type", "two dimensions"]


def rows(n: int) -> st.SearchStrategy[Any]:
    plain = st.lists(NUMBERS, min_size=n, max_size=n)
    odd = st.lists(NUMBERS | ODD, min_size=max(n - 1, 0), max_size=n + 1)
    others = st.sampled_from(
        [None, 3.0, "text", {}, range(3), np.full(n, 0.5), np.full((n, 1), 0.5), np.float32([0.5] * n)]
    )
    real = st.lists(NUMBERS | st.sampled_from([float("nan"), float("inf"), -1.0, 1e200]), min_size=n, max_size=n)
    arrays = st.builds(laid_out, plain | plain | real, st.sampled_from(LAYOUTS))
    return kinds(plain) | kinds(plain) | kinds(odd) | arrays | others


def models(n: int) -> st.SearchStrategy[Any]:
    index = st.integers(0, max(n - 1, 0))
    strange = st.sampled_from([-1, n, 2**70, -(2**70), True, False, 1.0, None, "1", np.int64(0), np.bool_(True)])
    masks = st.lists(st.booleans(), min_size=max(n - 1, 0), max_size=n + 1)
    return (
        st.none() | kinds(st.lists(index, max_size=n)) | kinds(masks) | kinds(st.lists(index | strange, max_size=n + 1))
    )


@st.composite
def calls(draw: st.DrawFn) -> tuple[Any, Any, dict[str, Any]]:
    n = draw(st.integers(0, 5))
    more = {
        "variance": st.none() | rows(n),
        "run": models(n),
        "allowed": models(n),
        "max_cost": st.none() | NUMBERS | ODD,
        "covariance": st.none() | st.none() | st.just(np.eye(n)),
        "loading": st.none() | st.none() | rows(n),
    }
    names = draw(st.lists(st.sampled_from(sorted(more)), unique=True))
    return draw(rows(n)), draw(rows(n)), {name: draw(more[name]) for name in names}


@settings(deadline=None)  # the first refusal may import numpy.ma
@given(st.sampled_from(RULES), calls())
def test_both_ways_agree(rule: Any, call: tuple[Any, Any, dict[str, Any]]) -> None:
    quality, cost, more = call
    short, long = both(rule, quality, cost, **more)
    assert short == long
    assert (
        outcome(lambda: rule.select(quality, cost, **{spelled(name): value for name, value in more.items()})) == short
    )


@given(st.integers(1, 128), st.integers(0, 1000))
def test_both_ways_agree_on_any_number_of_models(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    quality, cost, variance = rng.random(n).tolist(), (0.05 * rng.random(n)).tolist(), (0.02 * rng.random(n)).tolist()
    run = rng.choice(n, size=rng.integers(0, min(n, 3)), replace=False).tolist()
    rule = hr.CascadeRouting(1.0, max_depth=3)
    short, long = both(rule, quality, cost, variance=variance, run=run, max_cost=1.0)
    assert short == long
    for how in ("plain", "reversed", "apart"):
        # Reversed twice, they are in order.
        in_order = slice(None, None, -1 if how == "reversed" else 1)
        arrays = [laid_out(numbers[in_order], how) for numbers in (quality, cost, variance)]
        assert both(rule, arrays[0], arrays[1], variance=arrays[2], run=run, max_cost=1.0) == (short, short)


@pytest.mark.parametrize("n", [129, 1000])
def test_too_many_models_are_refused(n: int) -> None:
    short, long = both(RULES[0], [0.5] * n, [0.1] * n)
    assert short == long
    assert short[0] is ValueError


@pytest.mark.parametrize(
    "call",
    [
        lambda select: select(),
        lambda select: select(QUALITY),
        lambda select: select(QUALITY, variance=VARIANCE),
        lambda select: select(QUALITY, COST, VARIANCE),
        lambda select: select(QUALITY, COST, None, variance=VARIANCE),
        lambda select: select(QUALITY, COST, varianz=VARIANCE),
        lambda select: select(QUALITY, COST, cost=COST),
        lambda select: select(QUALITY, COST, quality=None),
        lambda select: select(QUALITY, COST, **{"": None}),
    ],
)
def test_other_calls_are_type_errors(call: Callable[[Any], object]) -> None:
    for rule in RULES:
        with pytest.raises(TypeError, match=r"Rule\.select\(\)"):
            call(rule.select)


def test_only_rules_have_it() -> None:
    for other in (None, 3, hr.Decision(0, (0,), 0.5, 0.4), object()):
        with pytest.raises(TypeError, match=r"descriptor 'select' for 'headrace\.Rule' objects"):
            hr.Rule.select(other, QUALITY, COST)  # type: ignore[arg-type]
    assert hr.Rule.select(RULES[0], QUALITY, COST) == RULES[0].select(QUALITY, COST)


def test_what_is_said_of_it_stays() -> None:
    names = ["self", "quality", "cost", "variance", "covariance", "loading", "run", "allowed", "max_cost"]
    assert list(inspect.signature(hr.Rule.select).parameters) == names
    assert (hr.Rule.select.__doc__ or "").startswith("Decide for one query.")


def test_lists_that_change_while_they_are_read() -> None:
    class Changing:
        def __float__(self) -> float:
            quality.clear()
            cost[:] = [0.5] * 3
            seen.append(RULES[0].select([0.5, 0.6, 0.7], [0.1] * 3).plan)
            return 0.6

    def call(**more: Any) -> tuple[object, ...]:
        quality[:], cost[:] = [0.6, Changing(), 0.7], [0.1, 0.2, 0.15]
        return outcome(lambda: RULES[0].select(**more) if more else RULES[0].select(quality, cost))

    quality: list[Any] = []
    cost: list[float] = []
    seen: list[object] = []
    assert call() == call(quality=quality, cost=cost)
    assert len(seen) == 2


@counted
def test_counts_of_references_stay() -> None:
    quality, cost, variance, run, cap = list(QUALITY), list(COST), tuple(VARIANCE), [1], 0.123
    things = [quality, cost, variance, run, cap, RULES[0], hr.Decision, *quality, *cost, *variance]

    def counts() -> list[int]:
        gc.collect()
        return [sys.getrefcount(thing) for thing in things]

    RULES[0].select(quality, cost, variance=variance, run=run, max_cost=cap)
    before = counts()
    for _ in range(100_000):
        RULES[0].select(quality, cost, variance=variance, run=run, max_cost=cap)
    assert counts() == before
    for _ in range(1000):
        outcome(lambda: RULES[0].select(quality, [-0.5] * 3, variance=variance))
    assert counts() == before


def decisions(n: int) -> Iterator[tuple[hr.Decision, str]]:
    """Decisions that all differ, and their text."""
    for at in range(n):
        decision = hr.Routing(1.0).select([0.25 + at, 0.0], [0.0, 0.0])
        assert decision.value == 0.25 + at
        yield decision, repr(decision)


def test_decisions_that_live_on_keep_their_numbers() -> None:
    kept = list(decisions(300))
    for _ in range(3):
        del kept[::3]
        kept += decisions(150)
        assert all(repr(decision) == text for decision, text in kept)


@counted
def test_each_decision_has_a_share_of_its_type() -> None:
    before = sys.getrefcount(hr.Decision)
    held = [decision for decision, _ in decisions(500)]
    meanwhile, n_objects = sys.getrefcount(hr.Decision), len({id(decision) for decision in held})
    del held
    after = sys.getrefcount(hr.Decision)
    assert n_objects == 500
    assert (before, meanwhile) == (after, after + 500)


def test_threads_share_what_is_kept() -> None:
    def work(seed: int) -> int:
        rng = np.random.default_rng(seed)
        wrong, held = 0, []
        for _ in range(3000):
            quality = rng.random(3).tolist()
            held.append((hr.Routing(0.0).select(quality, COST), max(quality)))
            if len(held) > 100:
                wrong += sum(decision.value != best for decision, best in held)
                del held[:: int(rng.integers(1, 4))]
        return wrong

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(work, range(4))) == [0] * 4
    finally:
        sys.setswitchinterval(interval)
