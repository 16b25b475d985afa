"""Agreement cascades: against every group, number of votes and stronger model, query by query."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from simulated_tables import Simulated

import headrace as hr
from headrace.evaluation.agreement import coded, has_answers, replay_agreement, vote
from headrace.evaluation.baselines import lacking
from headrace.evaluation.fold import Fold, Wanted
from headrace.evaluation.metrics import concave_hull

# Sums of a few dozen numbers, in another order.
EXACT = 1e-12


def with_answers(simulated: Any, seed: int) -> Any:
    """A right answer is "yes"; of wrong ones there are three, one of which is none."""
    rng = np.random.default_rng(seed)
    wrong = np.array(["no", "perhaps", None], dtype=object)[rng.integers(0, 3, simulated.outcomes.quality.shape)]
    answers = np.where(simulated.outcomes.quality == 1.0, "yes", wrong)
    simulated.outcomes = dataclasses.replace(simulated.outcomes, responses={"answer": answers})
    return simulated


def one_query(answers: list[Any], group: tuple[int, ...], needed: int, stronger: int) -> tuple[list[int], int]:
    """Models run and the one that answers, by the words of the definition."""
    run: list[int] = []
    for model in group:
        run.append(model)
        said = [answers[j] for j in run if answers[j] is not None]
        for j in run:
            if said.count(answers[j]) >= needed:
                return run, j
        left = len(group) - len(run)
        if max((said.count(answer) for answer in said), default=0) + left < needed:
            break
    return [*run, stronger], stronger


@pytest.mark.parametrize("seed", range(4))
def test_the_best_group_at_each_budget(seed: int) -> None:
    simulated = with_answers(Simulated(seed, 30, 5), seed)
    known = simulated.outcomes
    answers = known.responses["answer"].tolist()
    order = np.argsort(known.mean_cost).tolist()
    points = list(zip(known.mean_cost.tolist(), known.mean_quality.tolist(), strict=True))
    for size, needed in ((2, 2), (3, 2), (3, 3)):
        for *group, stronger in itertools.combinations(order, size + 1):
            ends = [one_query(row, tuple(group), needed, stronger) for row in answers]
            cost = np.mean([known.cost[i, run].sum() for i, (run, _) in enumerate(ends)])
            points.append((float(cost), float(np.mean([known.quality[i, j] for i, (_, j) in enumerate(ends)]))))
    cost, quality = np.array(points).T
    hull = concave_hull(cost, quality)
    budgets = np.linspace(cost[hull[0]], cost[hull[-1]], 40)
    shares: list[float] = []
    fold = Fold(simulated, simulated, np.arange(30))
    found = replay_agreement("x", fold, Wanted(budgets, 5, "best", shares.append))
    np.testing.assert_allclose(found.quality.mean(axis=1), np.interp(budgets, cost[hull], quality[hull]), atol=EXACT)
    np.testing.assert_allclose(found.cost.mean(axis=1), budgets, rtol=EXACT)
    assert len(hull) > 3
    assert found.n_decisions.sum() == 0.0
    assert shares == [0.5, 1.0]


def test_none_agrees_with_nothing() -> None:
    assert vote(np.array([[-1, -1], [-1, 3], [3, -1], [3, 3]]), 2).winner.tolist() == [-1, -1, -1, 0]
    # Without an answer of the first, the second can't make it two.
    assert vote(np.array([[-1, 3], [3, -1]]), 2).n_run.tolist() == [1, 2]
    # Nor can the third make it three, where the first two differ.
    assert vote(np.array([[3, 4, 3], [-1, 3, 3], [3, 3, 3]]), 3).n_run.tolist() == [2, 1, 3]


def test_answers_that_are_numbers() -> None:
    table = hr.Outcomes(models=["a", "b"], quality=[[0, 1]], cost=[1, 2], responses={"answer": [[7.0, np.nan]]})
    assert coded(table)[0, 1] == -1
    assert coded(table)[0, 0] >= 0


def test_a_table_without_answers_leaves_it_out() -> None:
    table = hr.datasets.simulate(300, 3)
    assert not has_answers(table)
    vectors = hr.Outcomes(models=["a", "b"], quality=[[0, 1]], cost=[1, 2], responses={"answer": np.zeros((1, 2, 3))})
    assert lacking("agreement", vectors) == "the table has no response column 'answer'"
    fitting, test = table.split(0.5)
    router = hr.Router(quality="linear").fit(fitting, budget=float(fitting.mean_cost.mean()))
    result = hr.evaluate(router, test, baselines=["agreement", "linear interpolation"], n_resamples=5, n_examples=0)
    assert [method.name for method in result.methods] == ["router", "linear interpolation"]
    assert result.left_out == {"agreement": "the table has no response column 'answer'"}
    assert result.to_dict()["left_out"] == result.left_out
    assert result.summary().endswith("left out: agreement cascade, the table has no response column 'answer'")
