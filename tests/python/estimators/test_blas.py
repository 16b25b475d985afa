"""One BLAS thread: inside, nested, from several threads, and as it was afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_info

import headrace as hr
from headrace.estimators import ConstantCost, JointQuality, LinearQuality
from headrace.estimators.blas import _set, one_blas_thread


def n_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    before = [library.num_threads for library in libraries]
    for library in libraries:
        _set(library, 2)
    yield
    for library, n in zip(libraries, before, strict=True):
        _set(library, n)


def test_the_limit_holds_inside_only() -> None:
    before = n_threads()
    with one_blas_thread:
        assert n_threads() == {1}
        with one_blas_thread:
            assert n_threads() == {1}
        assert n_threads() == {1}
    assert n_threads() == before


def test_the_limit_ends_with_an_error() -> None:
    before = n_threads()
    with pytest.raises(KeyError), one_blas_thread:
        raise KeyError
    assert n_threads() == before


def test_threads_that_leave_in_the_order_they_came_leave_it_as_it_was() -> None:
    before = n_threads()
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with one_blas_thread:
            entered.set()
            leave.wait()

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait()
    with one_blas_thread:
        leave.set()
        thread.join()
        assert n_threads() == {1}
    assert n_threads() == before == {2}


def test_the_last_to_leave_may_be_another_thread() -> None:
    entered, leave = threading.Event(), threading.Event()

    def second() -> None:
        with one_blas_thread:
            entered.set()
            leave.wait()

    thread = threading.Thread(target=second)
    with one_blas_thread:
        thread.start()
        entered.wait()
    assert n_threads() == {1}
    leave.set()
    thread.join()
    assert n_threads() == {2}
    # And it can be set again from here.
    with one_blas_thread:
        assert n_threads() == {1}
    assert n_threads() == {2}


def test_estimators_are_fitted_and_asked_on_one_thread() -> None:
    seen: list[set[int]] = []

    class Watching(LinearQuality):
        def fit(self, *arguments: object) -> Watching:  # type: ignore[override]
            seen.append(n_threads())
            return super().fit(*arguments)  # type: ignore[arg-type, return-value]

        def predict(self, *arguments: object) -> hr.Belief:  # type: ignore[override]
            seen.append(n_threads())
            return super().predict(*arguments)  # type: ignore[arg-type]

    table = hr.datasets.simulate(60, 3, rng=0)
    router = hr.Router(quality=Watching(), cost=ConstantCost(), n_folds=2).fit(table, budget=0.002)
    n_in_fit = len(seen)
    router.select_batch(table.queries, ids=table.ids)
    assert len(seen) > n_in_fit > 4
    assert set.union(*seen) == {1}
    assert n_threads() != {1}


def test_estimators_alone_are_fitted_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []
    eigh = np.linalg.eigh

    def watching(matrix: np.ndarray) -> Any:
        seen.append(n_threads())
        return eigh(matrix)

    table = hr.datasets.simulate(60, 3, rng=0)
    quality = table.quality.copy()
    quality[::3, 0] = np.nan
    monkeypatch.setattr(np.linalg, "eigh", watching)
    for estimator, targets in ((JointQuality(), quality), (LinearQuality(), table.quality)):
        seen.clear()
        estimator.fit(table.queries, table.responses_for([True] * 3), targets)
        estimator.predict(table.queries, table.responses_for([True, False, False]))
        assert seen, type(estimator)
        assert set.union(*seen) == {1}, type(estimator)
    assert n_threads() != {1}


def test_a_library_that_is_loaded_inside_is_limited_as_well() -> None:
    script = """
import sys
from threadpoolctl import threadpool_info
import headrace as hr
from headrace.estimators import JointQuality, joint

def threads():
    return sorted(lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas")

def watching(*arguments):
    print(threads())
    return fit_moments(*arguments)

fit_moments, joint.fit_moments = joint.fit_moments, watching
table = hr.datasets.simulate(60, 3, rng=0)
assert "scipy.linalg" not in sys.modules
JointQuality().fit(table.queries, table.responses_for([True] * 3), table.quality)
assert "scipy.linalg" in sys.modules
print(threads())
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    inside, after = done.stdout.splitlines()
    assert set(inside) <= set("[1, ]")
    assert "1" not in after


def test_fits_give_the_same_bits_for_any_number_of_threads() -> None:
    fitting = hr.datasets.load_quickstart().take(np.arange(200))
    with one_blas_thread:
        alone = hr.Router().fit(fitting, budget=100.0)
    several = hr.Router().fit(fitting, budget=100.0)
    assert alone.policy_ == several.policy_
    np.testing.assert_array_equal(alone.path_.cost, several.path_.cost)
