"""What is kept of run sets met lately: the same estimates as when all are kept, within so many bytes."""

from __future__ import annotations

import copy
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.estimators import JointQuality
from headrace.estimators import joint as joint_module
from headrace.estimators.recent import Recent

K = 4
RUNS = [np.array(run) for run in product([False, True], repeat=K)]


@pytest.fixture(scope="module")
def table() -> hr.Outcomes:
    return hr.datasets.load_quickstart().take(np.arange(120)).select(hr.datasets.load_quickstart().models[:K])


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5)), max_size=120), st.integers(1, 40))
def test_it_keeps_what_was_asked_for_lately_within_its_bytes(asked: list[tuple[int, int]], most: int) -> None:
    recent: Recent[int] = Recent(most)
    sizes: dict[bytes, int] = {}
    for number, size in asked:
        key = bytes([number])
        found = recent.get(key)
        assert found in (None, number)
        if found is None:
            sizes[key] = size
            recent.put(key, number, size)
        # At once it is there, however large.
        assert recent.get(key) == number
        kept = {bytes([other]) for other in range(13)} & (recent._young.keys() | recent._old.keys())
        assert sum(sizes[other] for other in kept) <= max(most, 10)


def test_what_is_asked_for_again_and_again_stays() -> None:
    recent: Recent[str] = Recent(20)
    recent.put(b"often", "often", 1)
    for number in range(1000):
        assert recent.get(b"often") == "often"
        recent.put(number.to_bytes(2, "big"), "once", 1)
    assert len(recent._young | recent._old) <= 20


def test_gains_of_many_run_sets_are_found_again(table: hr.Outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    every = table.responses_for([True] * K)
    monkeypatch.setattr(joint_module, "MOST_RUN_SETS", 0)

    def estimates(estimator: JointQuality) -> list[np.ndarray]:
        beliefs = [estimator.predict(table.queries, table.responses_for(run)) for run in RUNS]
        return [array for belief in beliefs for array in (belief.quality, belief.variance) if array is not None]

    all_kept = JointQuality().fit(table.queries, every, table.quality)
    expected = estimates(all_kept)
    assert len(all_kept._gains) == len(RUNS)
    largest = all_kept._gains[RUNS[-1].tobytes()]
    monkeypatch.setattr(joint_module, "MOST_BYTES", 4 * (largest.weights.nbytes + largest.update.nbytes))
    some = JointQuality().fit(table.queries, every, table.quality)
    for estimator in (some, some, copy.deepcopy(some)):
        for mine, theirs in zip(estimates(estimator), expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert 1 < len(estimator._gains) < len(RUNS)
    # Fitted again on other labels, nothing is left of the first.
    other = JointQuality().fit(table.queries, every, 1.0 - table.quality)
    last = some._last
    assert last
    some.fit(table.queries, every, 1.0 - table.quality)
    run = next(run for run in RUNS if run.tobytes() in last)
    for mine, theirs in zip(
        some.predict(table.queries, table.responses_for(run))[:2],
        other.predict(table.queries, table.responses_for(run))[:2],
        strict=True,
    ):
        assert mine is not None
        np.testing.assert_array_equal(mine, theirs)
    some.warm(np.array(RUNS))
    assert len(some._gains) == len(RUNS)
