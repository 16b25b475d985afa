"""The memory of calls from Python: what a decision leaves behind is nothing."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import headrace as hr

N_CALLS = 3000
RNG = np.random.default_rng(0)
QUALITY, COST, VARIANCE = RNG.random(5), 0.1 * RNG.random(5), 0.1 * RNG.random(5)
LISTS = QUALITY.tolist(), COST.tolist(), VARIANCE.tolist()
RULE = hr.CascadeRouting(0.3)


def refused() -> None:
    try:
        RULE.select(LISTS[0], [-1.0] * 5)
    except ValueError:
        pass
    else:
        raise AssertionError("a negative cost was taken")


CALLS: dict[str, Callable[[], object]] = {
    "lists": lambda: RULE.select(LISTS[0], LISTS[1], variance=LISTS[2]),
    "arrays": lambda: RULE.select(QUALITY, COST, variance=VARIANCE),
    "covariance": lambda: RULE.select(QUALITY, COST, covariance=np.diag(VARIANCE)),
    "models run": lambda: RULE.select(*LISTS[:2], variance=LISTS[2], run=(0, 2), allowed=[True] * 5, max_cost=1.0),
    "index rule": lambda: hr.IndexRule(0.3).select(*LISTS[:2], variance=LISTS[2]),
    "all fields": lambda: repr(RULE.select(*LISTS[:2], variance=LISTS[2])),
    "expected maximum": lambda: hr.expected_max(LISTS[0], variance=LISTS[2], with_error=True),
    "batch": lambda: RULE.select_batch(QUALITY[None, :], COST, variance=VARIANCE),
    "refusal": refused,
}


def left_behind(call: Callable[[], object]) -> tuple[int, int]:
    """Blocks and bytes of Python's allocators that many calls leave, at the least, in three rounds.

    Other threads of the process (of the test runner, of earlier tests) allocate at times, and are counted with it. What
    a call loses is lost in every round, so that the smallest count is the one without the others.
    """
    for _ in range(100):
        call()
    rounds = [_left_in_a_round(call) for _ in range(3)]
    return min(blocks for blocks, _ in rounds), min(n_bytes for _, n_bytes in rounds)


def _left_in_a_round(call: Callable[[], object]) -> tuple[int, int]:
    gc.collect()
    tracemalloc.start()
    try:
        blocks, n_bytes = sys.getallocatedblocks(), tracemalloc.get_traced_memory()[0]
        for _ in range(N_CALLS):
            call()
        gc.collect()
        return sys.getallocatedblocks() - blocks, tracemalloc.get_traced_memory()[0] - n_bytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_repeated_calls_leave_nothing(call: Callable[[], object]) -> None:
    blocks, n_bytes = left_behind(call)
    # A reference lost per call would be a block each.
    assert blocks < N_CALLS // 10
    assert n_bytes < N_CALLS


def test_a_leak_would_be_seen() -> None:
    kept: list[object] = []
    blocks, n_bytes = left_behind(lambda: kept.append(RULE.select(*LISTS[:2], variance=LISTS[2])))
    assert blocks >= N_CALLS
    assert n_bytes >= N_CALLS
