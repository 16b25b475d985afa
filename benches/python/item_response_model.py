"""A two-parameter item-response model as an estimator, to compare with: see item_response.py beside this file."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from joint_belief import run_sets

import headrace as hr
from headrace.arguments import BoolArray, FloatArray
from headrace.estimators import Queries, QueryFeatures, ResponseFeatures
from headrace.estimators.belief import Belief
from headrace.estimators.run_set_regressions import common_run

__all__ = ["ItemResponse"]

NODES = np.linspace(-4.0, 4.0, 17)
N_ITERATIONS = 30

#: Tried by cross-validation: penalties of the query's features, in labels, and weights of the signals' likelihoods.
PENALTIES = (3.0, 30.0, 300.0)
WEIGHTS = (0.25, 0.5, 1.0)
N_FOLDS = 3

#: A prior of so many labels for the agreements of a pair; the precision of a slope, which is around 1.
PRIOR, SLOPE_PRECISION = 10.0, 4.0

#: Fitting queries on which the updates to come are taken.
N_UPDATES = 300

#: Logarithm of the odds of an outcome that is known after the run; queries whose states are in memory together.
CERTAIN, CHUNK = 40.0, 250


def softmax(logs: FloatArray) -> FloatArray:
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


class Items(NamedTuple):
    """P(model j right) = sigmoid(slope_j factor + intercept_j + effects_j x), factor ~ Normal(x beta, 1)."""

    beta: FloatArray
    slope: FloatArray
    intercept: FloatArray
    effects: FloatArray

    def prior(self, x: FloatArray) -> FloatArray:
        """Weights of the nodes: shape (n, n_nodes)."""
        return softmax(-0.5 * (NODES - (x @ self.beta)[:, None]) ** 2)

    def logits(self, x: FloatArray) -> FloatArray:
        """Shape (n, n_nodes, n_models)."""
        return NODES[:, None] * self.slope + (self.intercept + x @ self.effects.T)[:, None, :]


def fit_items(x: FloatArray, y: FloatArray, penalty: float, own_effects: bool) -> tuple[Items, FloatArray]:
    """EM on the nodes, with one Newton step per model and iteration; gives the nodes' weights, too."""
    d, k = x.shape[1], y.shape[1]
    mean = np.clip(y.mean(axis=0), 0.01, 0.99)
    items = Items(np.zeros(d), np.ones(k), np.log(mean / (1.0 - mean)), np.zeros((k, d)))
    gram = x.T @ x + penalty * np.eye(d)
    precision = np.diag(np.append([SLOPE_PRECISION, 0.01], np.full(d, penalty)))
    for _ in range(N_ITERATIONS):
        logits = items.logits(x)
        likelihood = (y[:, None, :] * logits - np.logaddexp(0.0, logits)).sum(axis=2)
        nodes = softmax(np.log(items.prior(x) + 1e-300) + likelihood)
        right = 1.0 / (1.0 + np.exp(-logits))
        beta = np.linalg.solve(gram, x.T @ (nodes @ NODES))
        slope, intercept, effects = items.slope.copy(), items.intercept.copy(), items.effects.copy()
        for j in range(k):
            residual, weight = nodes * (y[:, None, j] - right[:, :, j]), nodes * right[:, :, j] * (1 - right[:, :, j])
            ones = np.column_stack([np.ones(len(x)), x])
            gradient = np.append((residual @ NODES).sum(), ones.T @ residual.sum(axis=1))
            cross = ones.T @ (weight @ NODES)
            hessian = np.block(
                [
                    [np.array([[(weight @ NODES**2).sum()]]), cross[None, :]],
                    [cross[:, None], ones.T @ (weight.sum(axis=1)[:, None] * ones)],
                ]
            )
            at = np.concatenate([[slope[j] - 1.0, intercept[j]], effects[j]])
            free = slice(None) if own_effects else slice(2)
            step = np.linalg.solve((hessian + precision)[free, free], (gradient - precision @ at)[free])
            step = np.append(step, np.zeros(len(at) - len(step)))
            slope[j], intercept[j], effects[j] = slope[j] + step[0], intercept[j] + step[1], effects[j] + step[2:]
        items = Items(beta, slope, intercept, effects)
    return items, nodes


class ItemResponse:
    """One latent factor per query on a grid, and signals whose likelihoods depend on it, or on the outcomes.

    `given="factor"`: numbers are normal around a line in the factor, two answers agree with a probability that is a
    smooth function of it, and the estimates are the models' mean probabilities under the factor's posterior.
    `given="outcomes"`: numbers are normal around a mean for right and one for wrong answers, two answers agree with a
    probability that depends on which of the two are right; the outcomes of the models run are summed over exactly.
    An outcome that is known after the run has its own likelihood in both. Each pair's likelihood counts 1 / (r - 1)
    after r runs, times the weight: the agreements of one answer with several others aren't independent.
    """

    def __init__(self, given: str, own_effects: bool) -> None:
        self.given, self.own_effects = given, own_effects

    def fit(self, queries: Queries, responses: hr.Responses, targets: FloatArray) -> Self:
        self._query_features = QueryFeatures().fit(queries)
        self._response_features = ResponseFeatures().fit(responses)
        raw = self._query_features.transform(queries, len(targets))
        self._centre, self._scale = np.nanmean(raw, axis=0), np.maximum(np.nanstd(raw, axis=0), 1e-9)
        self._learn(self._x(queries, len(targets)), self._signals(responses), targets)
        rows = np.random.default_rng(0).permutation(len(targets))[:N_UPDATES]
        self._some = {name: values[rows] for name, values in queries.items()}, responses.take(rows)
        self._final = self._estimated(np.ones(targets.shape[1], dtype=bool))
        self._updates: dict[bytes, FloatArray] = {}
        return self

    def predict(self, queries: Queries, responses: hr.Responses) -> Belief:
        run = common_run(responses)
        if run.tobytes() not in self._updates:
            self._updates[run.tobytes()] = np.mean((self._final - self._estimated(run)) ** 2, axis=0)
        quality = self._estimates(self._x(queries, len(responses)), self._signals(responses), run)
        return Belief(quality, variance=self._updates[run.tobytes()])

    def _estimated(self, run: BoolArray) -> FloatArray:
        """Estimate some of the fitting queries; there are few parameters that could have learned their labels."""
        queries, seen = self._some
        return self._estimates(self._x(queries, len(seen)), self._signals(seen), run)

    def _x(self, queries: Queries, n: int) -> FloatArray:
        return np.nan_to_num((self._query_features.transform(queries, n) - self._centre) / self._scale)

    def _signals(self, responses: hr.Responses) -> tuple[FloatArray, FloatArray]:
        """Of each model, shape (n, n_models, width), and of each pair, shape (n, n_models, n_models)."""
        n, k = responses.run.shape
        width = self._response_features.transform(responses, np.arange(k) == 0).shape[1]
        flat = self._response_features.transform(responses, np.ones(k, dtype=bool))
        agree, pairs = np.zeros((n, k, k)), np.triu_indices(k, 1)
        self._compared = flat.shape[1] > k * width
        if self._compared:
            agree[:, *pairs] = flat[:, k * width :]
        return flat[:, : k * width].reshape(n, k, width), agree

    def _learn(self, x: FloatArray, signals: tuple[FloatArray, FloatArray], y: FloatArray) -> None:
        """Choose the penalty and the weight by cross-validation, and fit."""
        fold = np.random.default_rng(0).permutation(len(y)) % N_FOLDS
        masks = [of_size[0] for of_size in run_sets(y.shape[1])[1:]]
        masks = masks if len(masks) < 6 else masks[:4]
        best: tuple[float, float, float] | None = None
        for penalty in PENALTIES:
            errors = dict.fromkeys(WEIGHTS, 0.0)
            for held in range(N_FOLDS):
                self._fit(x[fold != held], tuple(s[fold != held] for s in signals), y[fold != held], penalty)
                rows = np.flatnonzero(fold == held)[:200]
                for self._weight in WEIGHTS:
                    for run in [np.zeros(y.shape[1], dtype=bool), *masks]:
                        off = self._estimates(x[rows], tuple(s[rows] for s in signals), run) - y[rows]
                        errors[self._weight] += float(np.mean(off**2))
            error, weight = min((error, weight) for weight, error in errors.items())
            best = min(best or (np.inf, 0.0, 0.0), (error, penalty, weight))
        assert best is not None
        self._fit(x, signals, y, best[1])
        self._weight = best[2]

    def _fit(self, x: FloatArray, signals: Any, y: FloatArray, penalty: float) -> None:
        of_models, agree = signals
        self._items, nodes = fit_items(x, y, penalty, self.own_effects)
        self._known = next((f for f in range(of_models.shape[2]) if np.array_equal(of_models[:, :, f], y)), None)
        self._mean = np.nan_to_num(np.nanmean(of_models, axis=0))
        filled = np.where(np.isnan(of_models), self._mean, of_models) - self._mean
        factor = nodes @ NODES
        # Of a line in the factor: moments under its posterior, shrunk by one label.
        moment = (nodes @ NODES**2).sum() - len(y) * factor.mean() ** 2 + 1.0
        self._line = np.einsum("n,njf->jf", factor - factor.mean(), filled) / moment
        self._middle = factor.mean()
        of_right = (np.einsum("nj,njf->jf", y, filled)) / (y.sum(axis=0) + 1.0)[:, None]
        of_wrong = (np.einsum("nj,njf->jf", 1.0 - y, filled)) / ((1.0 - y).sum(axis=0) + 1.0)[:, None]
        self._means = of_wrong, of_right
        spread = filled.var(axis=0)
        by_class = y.mean(axis=0)[:, None] * (1.0 - y.mean(axis=0)[:, None]) * (of_right - of_wrong) ** 2
        self._variance = np.maximum(spread - by_class, 0.05 * spread), np.maximum(spread, 1e-12)
        self._use = spread > 1e-9
        if self._known is not None:
            self._use[:, self._known] = False
        # Of a pair, P(agree | which are right), shrunk towards the mean over the pairs; and by the factor's nodes.
        states = np.stack([1.0 - y, y], axis=2)
        upper = np.triu(np.ones(agree.shape[1:], dtype=bool), 1)
        counts = np.einsum("nia,njb->ijab", states, states)
        agreed = np.einsum("nij,nia,njb->ijab", agree, states, states, optimize=True)
        pooled = (agreed[upper].sum(axis=0) + 0.5) / (counts[upper].sum(axis=0) + 1.0)
        self._pairs = np.clip((agreed + PRIOR * pooled) / (counts + PRIOR), 1e-3, 1.0 - 1e-3)
        at_node = nodes.sum(axis=0)
        by_node = np.einsum("nij,ng->gij", agree, nodes, optimize=True)
        overall = (agree.sum(axis=0) + 0.5) / (len(y) + 1.0)
        # A moving mean over the nodes, weighted by the queries there.
        near = np.exp(-0.5 * ((NODES[:, None] - NODES) / 0.7) ** 2)
        smooth = (np.einsum("gh,hij->gij", near, by_node) + PRIOR * overall) / ((near @ at_node) + PRIOR)[:, None, None]
        self._by_node = np.clip(smooth, 1e-3, 1.0 - 1e-3)

    def _estimates(self, x: FloatArray, signals: Any, run: BoolArray) -> FloatArray:
        chunks = range(0, max(len(x), 1), CHUNK)
        method = self._given_factor if self.given == "factor" else self._given_outcomes
        parts_ = [method(x[i : i + CHUNK], *(s[i : i + CHUNK] for s in signals), np.flatnonzero(run)) for i in chunks]
        return np.concatenate(parts_)

    def _given_factor(self, x: FloatArray, of_models: FloatArray, agree: FloatArray, ran: Any) -> FloatArray:
        logs, logits = np.log(self._items.prior(x) + 1e-300), self._items.logits(x)
        filled = np.nan_to_num(of_models - self._mean)
        for j in ran:
            for f in np.flatnonzero(self._use[j]):
                expected = self._line[j, f] * (NODES - self._middle)
                off = filled[:, j, f][:, None] - expected
                logs = logs - self._weight * 0.5 * off**2 / self._variance[1][j, f]
            for i in ran[ran < j] if self._compared else []:
                p = self._by_node[:, i, j]
                both = agree[:, i, j][:, None]
                logs = logs + self._weight / (len(ran) - 1) * (both * np.log(p) + (1.0 - both) * np.log(1.0 - p))
            if self._known is not None:
                outcome = of_models[:, j, self._known][:, None]
                logs = logs + outcome * logits[:, :, j] - np.logaddexp(0.0, logits[:, :, j])
        estimates = np.einsum("ng,ngj->nj", softmax(logs), 1.0 / (1.0 + np.exp(-logits)))
        if self._known is not None:
            estimates[:, ran] = of_models[:, ran, self._known]
        return estimates

    def _given_outcomes(self, x: FloatArray, of_models: FloatArray, agree: FloatArray, ran: Any) -> FloatArray:
        right = 1.0 / (1.0 + np.exp(-self._items.logits(x)))
        prior = self._items.prior(x)
        # Rows of `states`: who of the models run is right; `likely`: P(state | node), shape (n, n_nodes, n_states).
        states, likely = np.zeros((1, 0)), np.ones((len(x), len(NODES), 1))
        for j in ran:
            likely = np.concatenate([likely * (1.0 - right[:, :, j, None]), likely * right[:, :, j, None]], axis=2)
            states = np.vstack([np.column_stack([states, np.full(len(states), b)]) for b in (0.0, 1.0)])
        logs = np.zeros((len(x), len(states)))
        filled, wrong_right = np.nan_to_num(of_models - self._mean), self._means
        for at, j in enumerate(ran):
            odds = np.zeros(len(x))
            for f in np.flatnonzero(self._use[j]):
                off = [(filled[:, j, f] - mean[j, f]) ** 2 for mean in wrong_right]
                odds += self._weight * 0.5 * (off[0] - off[1]) / self._variance[0][j, f]
            if self._known is not None:
                odds = CERTAIN * (2.0 * of_models[:, j, self._known] - 1.0)
            logs += odds[:, None] * states[:, at]
            for before, i in enumerate(ran[:at] if self._compared else []):
                p = self._pairs[i, j][states[:, before].astype(int), states[:, at].astype(int)]
                both = agree[:, i, j][:, None]
                logs += self._weight / (len(ran) - 1) * (both * np.log(p) + (1.0 - both) * np.log(1.0 - p))
        evidence = np.exp(logs - logs.max(axis=1, keepdims=True))
        nodes = prior * np.einsum("ngs,ns->ng", likely, evidence)
        joint = np.einsum("ng,ngs->ns", prior, likely) * evidence
        total = nodes.sum(axis=1, keepdims=True)
        estimates = np.einsum("ng,ngj->nj", nodes / total, right)
        estimates[:, ran] = (joint / total) @ states
        return estimates
