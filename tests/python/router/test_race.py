"""The race of quality estimators, and belief tables asked for some rows at a time."""

from __future__ import annotations

import numpy as np
import pytest

import headrace as hr
from headrace.beliefs import fitting
from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import best_cross_fit, cross_fit
from headrace.estimators import ConstantQuality, JointQuality, LinearCost, LinearQuality, ResponseFeatures
from headrace.estimators.one_table import TableRows
from headrace.estimators.query_features import QueryFeatures


@pytest.fixture(scope="module")
def table() -> hr.Outcomes:
    return hr.datasets.load_quickstart().take(range(300))


class Counted(ConstantQuality):
    """Counts its fits, of all copies."""

    fits = 0

    def fit(self, *args: object, **options: object) -> Counted:  # type: ignore[override]
        Counted.fits += 1
        super().fit(*args, **options)  # type: ignore[arg-type]
        return self


@pytest.mark.parametrize("first", [True, False])
def test_a_candidate_that_is_clearly_behind_is_not_fitted_again(table: hr.Outcomes, first: bool) -> None:
    Counted.fits = 0
    candidates = [Counted(), LinearQuality()] if first else [LinearQuality(), Counted()]
    best = best_cross_fit(table, candidates, LinearCost(), n_folds=5, seed=0, max_depth=3)
    assert Counted.fits == 1
    assert isinstance(best.quality, LinearQuality)
    assert min(best.errors) == best.errors[candidates.index(best.quality)]
    rows, run = np.arange(300), np.array([True, False, False, False, True])
    alone = cross_fit(table, LinearQuality(), LinearCost(), n_folds=5, seed=0)
    np.testing.assert_allclose(best.table(rows, run)[0].quality, alone(rows, run)[0].quality, atol=1e-12)


@pytest.mark.parametrize("gap", [0.0, 0.001, -0.001])
def test_a_close_race_is_run_to_the_end(gap: float) -> None:
    errors = np.random.default_rng(0).random((2, 400))
    errors[1] = errors[0] + np.tile([0.1, -0.1], 200) + gap
    for n in (20, 80, 240, 320):
        assert fitting._running(errors[:, :n], [0, 1], 400) == [0, 1]


@pytest.mark.parametrize("leader", [0, 1])
def test_who_is_far_behind_is_out_but_not_by_a_few_rows(leader: int) -> None:
    errors = np.random.default_rng(0).random((2, 400))
    errors[1 - leader] = errors[leader] + 0.3
    errors[1 - leader, ::2] += 0.1
    assert fitting._running(errors[:, :80], [0, 1], 400) == [leader]
    assert fitting._running(errors[:, :20], [0, 1], 400) == [0, 1]


@pytest.mark.parametrize("quality", [LinearQuality(), LinearQuality(covariance=True), JointQuality()])
def test_beliefs_of_some_rows_at_a_time_are_those_of_all(table: hr.Outcomes, quality: LinearQuality) -> None:
    cross = cross_fit(table, quality, LinearCost(), n_folds=3, seed=0)
    rng = np.random.default_rng(1)
    for run in np.array([[0, 0, 0, 0, 0], [1, 0, 0, 1, 0], [1, 1, 1, 1, 1]], dtype=np.bool_):
        every = BeliefTable(table, cross.parts)(np.arange(300), run)
        for size in (0, 1, 40, 200, 300):
            rows = rng.integers(0, 300, size)
            belief, costs = cross(rows, run)
            for value, wanted in zip((*belief, costs), (*every[0].take(rows), every[1][rows]), strict=True):
                if len(rows) or value is not None:
                    assert (value is None) == (wanted is None)
                if value is not None and wanted is not None:
                    np.testing.assert_allclose(value, wanted, atol=1e-12)


def test_rows_of_a_table_are_encoded_as_by_themselves(table: hr.Outcomes) -> None:
    part, index = np.arange(300)[::3], np.array([5, 2, 80])
    rows = TableRows(table.queries, table.responses, part)
    of_query = QueryFeatures().fit(table.queries)
    taken = table.take(part[index])
    np.testing.assert_array_equal(of_query.transform(rows.queries(index), 3), of_query.transform(taken.queries, 3))
    every = table.responses_for(np.ones(5, dtype=np.bool_))
    for features in (ResponseFeatures().fit(every), ResponseFeatures(equal=lambda a, b: a == b).fit(every)):
        for run in ([True] * 5, [False, True, False, True, False], [False] * 5):
            mask = np.array(run)
            got = features.transform(rows.responses(index, mask), mask)
            np.testing.assert_array_equal(got, features.transform(taken.responses_for(mask), mask))
