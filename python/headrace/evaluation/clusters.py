"""k-means routing: queries are put into clusters by their features, and each cluster has a model.

In a cluster with mean qualities q_j and mean costs c_j of the models on labelled queries, the model of the largest
q_j - w c_j is run ("Beyond GPT-5", Avengers-Pro: Zhang et al. 2025, where the weight is called alpha). The numbers of
clusters in `N_CLUSTERS`, all cost weights w >= 0 and the single models are mixed on their concave hull.

Clusters are found once, without labels, among all calibration queries. What is estimated of one of these comes from the
labels of the others, in `N_FOLDS` folds; what is estimated of a new query, from all labels of its cluster.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.calibration.walk import budget_path, walk
from headrace.estimators.belief import Belief
from headrace.estimators.blas import one_blas_thread
from headrace.estimators.ex_ante import PRIOR, as_points
from headrace.evaluation.fold import Fold, Wanted
from headrace.evaluation.hull import Policies, mixed, on_path, singles, together
from headrace.evaluation.k_means import k_means, nearest
from headrace.evaluation.replay import Replay
from headrace.outcomes import Outcomes
from headrace.policy.policy import weighed
from headrace.rules import Routing

__all__ = ["ClusterMeans", "cluster_means", "replay_clusters"]

#: Numbers of clusters that are tried; Avengers-Pro has 60.
N_CLUSTERS = (10, 30, 60)

#: Folds without whose labels their queries are estimated.
N_FOLDS = 5


class ClusterMeans(NamedTuple):
    """Mean quality and cost of each model in the clusters of some queries; what `headrace.calibration.walk.walk` asks.

    Attributes
    ----------
    quality, cost : ndarray of shape (n_queries, n_models)
    """

    quality: FloatArray
    cost: FloatArray

    def __call__(self, rows: IndexArray, run: BoolArray, *, priced: bool = True) -> tuple[Belief, FloatArray]:
        """Give what is believed of some rows, whatever has run."""
        return Belief(self.quality[rows]), self.cost[rows]


def cluster_means(own: IndexArray, targets: FloatArray, others: IndexArray) -> FloatArray:
    """Give the mean targets of the clusters that other queries are in, pulled a little towards the mean of all.

    Parameters
    ----------
    own : ndarray of int of shape (n_labelled,)
        Number of the cluster of each labelled query.
    targets : ndarray of shape (n_labelled, n_targets)
    others : ndarray of int of shape (n_others,)
        Those of the others.

    Returns
    -------
    ndarray of shape (n_others, n_targets)

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.evaluation.clusters import cluster_means
    >>> cluster_means(np.repeat([0, 1], 40), np.repeat([1.0, 0.0], 40)[:, None], np.array([1, 2])).round(3).tolist()
    [[0.024], [0.5]]
    """
    n_clusters = int(max(own.max(initial=-1), others.max(initial=-1))) + 1
    sums = np.array([np.bincount(own, weights=target, minlength=n_clusters) for target in targets.T]).T
    counts = np.bincount(own, minlength=n_clusters)[:, None]
    return np.asarray(((sums + PRIOR * targets.mean(axis=0)) / (counts + PRIOR))[others])


@one_blas_thread
def replay_clusters(name: str, fold: Fold, wanted: Wanted) -> Replay:
    """Calibrate routing by clusters on one part of the queries, and replay its best mixtures on the other."""
    known, test, rates = fold.calibration.outcomes, fold.held_out.outcomes, fold.calibration.rates
    targets = np.hstack([known.quality, weighed(np.array(list(known.costs.values())), rates)])
    folds = known.folds(min(N_FOLDS, known.n_queries // 2), rng=0)
    points, placed = as_points(known.queries, known.n_queries, test.queries, test.n_queries)
    parts = [singles(known, test)]
    for done, n_clusters in enumerate(N_CLUSTERS):
        wanted.progress((done + 1) / (len(N_CLUSTERS) + 1))
        centres = k_means(points, n_clusters)
        own, unseen = nearest(points, centres), nearest(placed, centres)
        estimated = np.empty_like(targets)
        for number in np.unique(folds):
            out = folds == number
            estimated[out] = cluster_means(own[~out], targets[~out], own[out])
        split = [ClusterMeans(*np.hsplit(each, 2)) for each in (estimated, cluster_means(own, targets, unseen))]
        parts.append(_played(known, test, *split))
    wanted.progress(1.0)
    return mixed(name, together(parts), test, wanted.budgets, estimates="before")


def _played(known: Outcomes, test: Outcomes, calibration: ClusterMeans, held_out: ClusterMeans) -> Policies:
    """Give the policies of a number of clusters, one for each cost weight."""
    rule = Routing(0.0)
    path = budget_path(walk(rule, known, calibration), known.costs)
    return on_path(path, lambda: walk(rule, test, held_out))
