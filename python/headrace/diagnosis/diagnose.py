"""The diagnosis of estimates on labelled queries that they have not seen: scores, diagrams and findings."""

from __future__ import annotations

import numpy as np

from headrace.arguments import FloatArray, IndexArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.diagnosis.diagnosis import Diagnosis
from headrace.diagnosis.findings import CostScore, find
from headrace.diagnosis.reliability import binned
from headrace.diagnosis.scores import CONSTANT, Scores, is_binary, score
from headrace.estimators import CalibratedQuality

__all__ = ["diagnose"]

#: Different run sets looked at for each number of runs, at most; each query is looked at under one of them.
MOST_SETS = 4


def diagnose(table: BeliefTable, *, max_runs: int = 5) -> Diagnosis:
    """Score the beliefs of a table, and say in words what is wrong with them.

    Parameters
    ----------
    table : BeliefTable
        Beliefs of estimators that have not seen the labels.
    max_runs : int, default 5
        Most models that have run at a stage.

    Returns
    -------
    Diagnosis

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.beliefs.fitting import cross_fit
    >>> from headrace.diagnosis import diagnose
    >>> table = hr.datasets.load_quickstart().take(range(600))
    >>> quality, cost = hr.estimators.ConstantQuality(), hr.estimators.ConstantCost()
    >>> diagnosis = diagnose(cross_fit(table, quality, cost, n_folds=5, seed=0))
    >>> {finding.kind for finding in diagnosis.findings if finding.n_runs == (0,)} >= {"uninformative"}
    True
    """
    outcomes = table.outcomes
    n, n_models = outcomes.quality.shape
    stages = tuple(range(min(max_runs, n_models) + 1))
    cluster = np.arange(n)
    if outcomes.groups is not None:
        cluster = np.unique(outcomes.groups, return_inverse=True)[1].ravel()
    scored: list[list[Scores]] = []
    curves = []
    for number in stages:
        estimates = _estimates(table, number)
        stage = "before" if number == 0 else f"after {number} run{'s' if number > 1 else ''}"
        columns = list(zip(outcomes.models, estimates.T, outcomes.quality.T, strict=True))
        curves.append(tuple(binned(model, stage, e, y) for model, e, y in columns))
        scored.append([score(e, y, part=table.part_of_row, cluster=cluster) for _, e, y in columns])
    values = np.array(scored, dtype=np.float64).reshape(len(stages), n_models, len(Scores._fields))
    scores = {name: values[:, :, i] for i, name in enumerate(Scores._fields)}
    costs = tuple(_cost_scores(table, cluster))
    n_clusters = int(cluster.max()) + 1
    binary = np.array([is_binary(column) for column in outcomes.quality.T])
    width = 1.0 if binary.all() else float(np.ptp(outcomes.quality)) or 1.0
    findings = find(
        outcomes.models,
        stages,
        scores,
        curves,
        costs,
        n_clusters=n_clusters,
        width=width,
        calibration=next((q.method for q, _ in table.estimators if isinstance(q, CalibratedQuality)), None),
    )
    return Diagnosis(outcomes.models, n, stages, binary, outcomes.mean_quality, scores, tuple(curves), costs, findings)


def _estimates(table: BeliefTable, number: int) -> FloatArray:
    """Estimates once `number` models have run: in rotation, so that each model has run on its share of the queries."""
    n, n_models = table.outcomes.quality.shape
    order = np.random.default_rng(0).permutation(n_models)
    starts = np.arange(n_models)[:: -(-n_models // MOST_SETS)] if 0 < number < n_models else np.zeros(1, dtype=np.intp)
    which = np.random.default_rng(1).permutation(n) % len(starts)
    estimates = np.empty((n, n_models))
    for i, start in enumerate(starts.tolist()):
        run = np.zeros(n_models, dtype=np.bool_)
        run[order[(start + np.arange(number)) % n_models]] = True
        rows = np.flatnonzero(which == i)
        estimates[rows] = table(rows, run)[0].quality
    return estimates


def _cost_scores(table: BeliefTable, cluster: IndexArray) -> list[CostScore]:
    entries = []
    n_clusters = len(np.unique(cluster))
    for (name, realised), estimated in zip(table.outcomes.costs.items(), table.costs_before(), strict=True):
        for j, model in enumerate(table.outcomes.models):
            cost, estimate = realised[:, j], estimated[:, j]
            total = float(estimate.sum())
            excess = excess_error = np.nan
            if total > 0.0:
                excess = float(cost.sum()) / total - 1.0
                sums = np.bincount(cluster, weights=cost - (1.0 + excess) * estimate)
                excess_error = float((sums @ sums * n_clusters / max(n_clusters - 1, 1)) ** 0.5) / total
            variance, varies = float(cost.var()), bool(np.ptp(cost) > CONSTANT * np.abs(cost).max())
            r_squared = 1.0 - float(np.mean((cost - estimate) ** 2)) / variance if varies else np.nan
            means = float(estimate.mean()), float(cost.mean())
            entries.append(CostScore(name, model, *means, excess, excess_error, r_squared))
    return entries
