"""k-means routing: queries are put into clusters by their features, and each cluster has a model.

In a cluster with mean qualities q_j and mean costs c_j of the models on labelled queries, the model of the largest
q_j - w c_j is run ("Beyond GPT-5", Avengers-Pro: Zhang et al. 2025, where the weight is called alpha). The numbers of
clusters in `N_CLUSTERS`, all cost weights w >= 0 and the single models are mixed on their concave hull. What is
estimated of a calibration query comes from clusters that were found and labelled without it, in `N_FOLDS` folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.calibration.walk import budget_path, walk
from headrace.estimators.belief import Belief
from headrace.estimators.ex_ante import cluster_means
from headrace.evaluation.fold import Fold, Wanted
from headrace.evaluation.hull import Policies, mixed, on_path, singles, together
from headrace.evaluation.replay import Replay
from headrace.outcomes import Outcomes
from headrace.policy.policy import weighed
from headrace.rules import Routing

__all__ = ["ClusterMeans", "means_of_others", "replay_clusters"]

#: Numbers of clusters that are tried; Avengers-Pro has 60.
N_CLUSTERS = (10, 30, 60)

#: Folds in which the calibration queries are estimated.
N_FOLDS = 5


class ClusterMeans(NamedTuple):
    """Mean quality and cost of each model in the clusters of some queries; what `headrace.calibration.walk.walk` asks.

    Attributes
    ----------
    quality, cost : ndarray of shape (n_queries, n_models)
    """

    quality: FloatArray
    cost: FloatArray

    def __call__(self, rows: IndexArray, run: BoolArray) -> tuple[Belief, FloatArray]:
        """Give what is believed of some rows, whatever has run."""
        return Belief(self.quality[rows]), self.cost[rows]


def means_of_others(
    fitting: Outcomes, others: Outcomes, numbers: Sequence[int], rates: tuple[float, ...]
) -> list[ClusterMeans]:
    """Find clusters of some queries, and give the means of those that other queries fall into.

    Parameters
    ----------
    fitting, others : Outcomes
    numbers : sequence of int
        Numbers of clusters.
    rates : tuple of float
        What one unit of each cost counts; as in `BeliefTable`.

    Examples
    --------
    >>> import numpy as np
    >>> import headrace as hr
    >>> from headrace.evaluation.clusters import means_of_others
    >>> right = np.repeat([[1.0, 0.0], [0.0, 1.0]], 40, axis=0)
    >>> table = hr.Outcomes(models=["a", "b"], quality=right, cost=[1, 2], queries={"x": np.repeat([0.0, 1.0], 40)})
    >>> means_of_others(table, table.take([0, 79]), [2], (1.0,))[0].quality.round(2).tolist()
    [[0.98, 0.02], [0.02, 0.98]]
    """
    cost = weighed(np.array(list(fitting.costs.values())), rates)
    targets, k = np.hstack([fitting.quality, cost]), fitting.n_models
    found = cluster_means(numbers, fitting.queries, targets, others.queries, len(others))
    return [ClusterMeans(means[:, :k], means[:, k:]) for means in found]


def replay_clusters(name: str, fold: Fold, wanted: Wanted) -> Replay:
    """Calibrate routing by clusters on one part of the queries, and replay its best mixtures on the other."""
    known, test, rates = fold.calibration.outcomes, fold.held_out.outcomes, fold.calibration.rates
    folds = known.folds(min(N_FOLDS, known.n_queries // 2), rng=0)
    numbers = np.unique(folds)
    estimated = [ClusterMeans(*np.empty((2, known.n_queries, known.n_models))) for _ in N_CLUSTERS]
    for done, number in enumerate(numbers):
        rows = np.flatnonzero(folds == number)
        found = means_of_others(known.take(folds != number), known.take(rows), N_CLUSTERS, rates)
        for every, means in zip(estimated, found, strict=True):
            every.quality[rows], every.cost[rows] = means
        wanted.progress((done + 1) / (len(numbers) + 1))
    unseen = means_of_others(known, test, N_CLUSTERS, rates)
    parts = [singles(known, test)]
    parts += [_played(known, test, *means) for means in zip(estimated, unseen, strict=True)]
    wanted.progress(1.0)
    return mixed(name, together(parts), test, wanted.budgets, estimates="before")


def _played(known: Outcomes, test: Outcomes, calibration: ClusterMeans, held_out: ClusterMeans) -> Policies:
    """Give the policies of a number of clusters, one for each cost weight."""
    rule = Routing(0.0)
    path = budget_path(walk(rule, known, calibration), known.costs)
    return on_path(path, lambda: walk(rule, test, held_out))
