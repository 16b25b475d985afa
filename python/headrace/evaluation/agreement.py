"""Agreement cascades: a few cheap models answer, and a stronger one only where they don't agree.

A group of two or three models runs by rising mean cost, until some answer has the votes it needs, which is then
returned, or can't get them any more; then a stronger model runs, whose answer is returned. All groups, numbers of votes
(two, or all) and stronger models, and the single models, are mixed on their concave hull: "Agreement-Based Cascading
for Efficient Inference" (Kolawole, Dennis, Talwalkar and Smith, TMLR 2025), with early stops. No estimator is asked.
Cost: O(m^4 n) for m models and n queries, of which at most `MOST_GROUPED` are in groups.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import NamedTuple

import numpy as np

from headrace.arguments import BoolArray, IndexArray
from headrace.estimators.signals import is_absent
from headrace.evaluation.chains import Chain, by_cost
from headrace.evaluation.fold import Fold, Wanted
from headrace.evaluation.hull import Ends, Policies, mixed, singles, together
from headrace.evaluation.replay import Replay
from headrace.outcomes import Outcomes

__all__ = ["ANSWER", "Votes", "coded", "has_answers", "replay_agreement", "vote"]

#: The response column that is compared.
ANSWER = "answer"

#: The cheapest models of which groups are made: 286 groups at most.
MOST_GROUPED = 12

#: In place of the number of an answer or of a model, where there is none.
NONE = -1


class Votes(NamedTuple):
    """How the votes of a group went.

    Attributes
    ----------
    n_run : ndarray of int of shape (n_queries,)
        How many of the group ran.
    winner : ndarray of int of shape (n_queries,)
        Place in the group of the cheapest model whose answer has the votes; -1 where none has.
    """

    n_run: IndexArray
    winner: IndexArray


def has_answers(outcomes: Outcomes) -> bool:
    """Tell whether a table has one answer per query and model that can be compared."""
    answers = outcomes.responses.get(ANSWER)
    return answers is not None and answers.ndim == 2


def coded(outcomes: Outcomes) -> IndexArray:
    """Give the answers as numbers, the same for the same text, -1 for none: shape (n_queries, n_models).

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.evaluation.agreement import coded
    >>> answers = {"answer": [["7", "7 ", None], ["5", "7", "5"]]}
    >>> coded(hr.Outcomes(models=["a", "b", "c"], quality=[[1, 1, 0]] * 2, cost=[1, 2, 3], responses=answers)).tolist()
    [[1, 1, -1], [0, 1, 0]]
    """
    cells = outcomes.responses[ANSWER].ravel().tolist()
    absent = np.array([is_absent(cell) for cell in cells])
    numbers = np.unique([str(cell).strip() for cell in cells], return_inverse=True)[1]
    return np.where(absent, NONE, numbers).reshape(outcomes.n_queries, outcomes.n_models)


def vote(answers: IndexArray, needed: int) -> Votes:
    """Run a group, model by model, until some answer has enough votes or none can get them.

    Parameters
    ----------
    answers : ndarray of int of shape (n_queries, n_group)
        From `coded`; the models in the order in which they run.
    needed : int
        Votes that decide; from 2 to n_group.

    Examples
    --------
    Two votes of three decide: at once, with the third, or never.

    >>> import numpy as np
    >>> from headrace.evaluation.agreement import vote
    >>> vote(np.array([[5, 5, 7], [5, 7, 7], [5, 6, 7]]), 2)
    Votes(n_run=array([2, 3, 3]), winner=array([ 0,  1, -1]))
    """
    n, size = answers.shape
    n_run, winner, still = np.full(n, size), np.full(n, NONE), np.ones(n, np.bool_)
    for step in range(1, size + 1):
        seen = answers[:, :step]
        votes = ((seen[:, :, None] == seen[:, None, :]) & (seen != NONE)[:, None, :]).sum(axis=2)
        most = votes.max(axis=1)
        won = still & (most >= needed)
        winner[won] = votes.argmax(axis=1)[won]
        over = won | (still & (most + size - step < needed))
        n_run[over] = step
        still &= ~over
    return Votes(n_run, winner)


def replay_agreement(name: str, fold: Fold, wanted: Wanted) -> Replay:
    """Calibrate all agreement cascades on one part of the queries, and replay their best mixtures on the other."""
    known, test = fold.calibration.outcomes, fold.held_out.outcomes
    order, of_known, of_test = by_cost(known), coded(known), coded(test)
    parts = [singles(known, test)]
    sizes = (2, 3)
    for done, size in enumerate(sizes):
        for places in itertools.combinations(range(min(len(order), MOST_GROUPED)), size):
            stronger = np.array(order[places[-1] + 1 :], np.intp)
            group = tuple(order[place] for place in places)
            for needed in sorted({2, size}) if len(stronger) else ():
                parts.append(_grouped(known, test, (of_known, of_test), group, needed, stronger))
        wanted.progress((done + 1) / len(sizes))
    return mixed(name, together(parts), test, wanted.budgets)


def _grouped(
    known: Outcomes,
    test: Outcomes,
    answers: tuple[IndexArray, IndexArray],
    group: Chain,
    needed: int,
    stronger: IndexArray,
) -> Policies:
    """Give the policies of a group, one for each stronger model."""
    models = np.array(group)
    played = partial(_played, models=models, needed=needed)
    run, answer = played(answers[0])
    split = answer == NONE
    decided = known.quality[np.flatnonzero(~split), answer[~split]].sum()
    quality = (decided + known.quality[split][:, stronger].sum(axis=0)) / known.n_queries
    own = known.cost[run].sum()
    cost = (own + known.cost[split][:, stronger].sum(axis=0)) / known.n_queries

    def play(policy: int) -> Ends:
        run, answer = played(answers[1])
        run[answer == NONE, stronger[policy]] = True
        return Ends(run, np.where(answer == NONE, stronger[policy], answer))

    return Policies(cost, quality, play)


def _played(answers: IndexArray, models: IndexArray, needed: int) -> tuple[BoolArray, IndexArray]:
    """Give the models of a group that run, and the one that answers; -1 where a stronger one has to."""
    votes = vote(answers[:, models], needed)
    run = np.zeros(answers.shape, np.bool_)
    run[:, models] = np.arange(len(models)) < votes.n_run[:, None]
    return run, np.where(votes.winner == NONE, NONE, models[votes.winner])
