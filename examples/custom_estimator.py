"""An estimator of your own, beside those of headrace: run `python examples/custom_estimator.py`.

It needs two methods. `fit` learns from labelled queries, `predict` gives a belief for queries after the same models
have run in all of them. This one knows the share of right answers per kind of query, and nothing else.
"""

import numpy as np

import headrace as hr
from headrace.estimators.belief import Belief


class QualityPerKind:
    """The mean quality of each model on queries of the same kind, shrunk towards its mean on all."""

    def __init__(self, strength=10.0):
        self.strength = strength  # the mean on all counts as much as so many queries

    def fit(self, queries, responses, targets):
        """Learn from targets of shape (n_queries, n_models)."""
        overall = targets.mean(axis=0)
        self.means_ = {}
        for kind in set(queries["kind"]):
            of_kind = targets[queries["kind"] == kind]
            total = of_kind.sum(axis=0) + self.strength * overall
            self.means_[kind] = total / (len(of_kind) + self.strength)
        self.overall_ = overall
        return self

    def predict(self, queries, responses):
        """Estimate: the same before and after runs, so that no update is still to come."""
        return Belief(np.array([self.means_.get(kind, self.overall_) for kind in queries["kind"]]))


rng = np.random.default_rng(0)
kinds = rng.choice(np.array(["code", "prose", "sums"], dtype=object), 900)
chances = {"code": [0.3, 0.5, 0.9], "prose": [0.8, 0.85, 0.85], "sums": [0.2, 0.9, 0.9]}
log = hr.Outcomes(
    models=["small", "medium", "large"],
    quality=(rng.random((900, 3)) < [chances[kind] for kind in kinds]).astype(float),
    cost=np.tile([0.0001, 0.001, 0.01], (900, 1)),
    queries={"kind": kinds},
)
fitting, fresh = log.split(0.6)
for quality in (QualityPerKind(), "constant"):
    router = hr.Router(rule="routing", quality=quality).fit(fitting, budget=0.003)
    chosen = hr.evaluate(router, fresh, baselines=["linear interpolation"]).chosen
    name = quality if isinstance(quality, str) else type(quality).__name__
    print(f"{name:15} quality {chosen.quality.value:.3f} at a mean cost of {chosen.costs['cost'].value:.4f}")
print("small alone", fresh.mean_quality[0].round(3), "large alone", fresh.mean_quality[2].round(3))
