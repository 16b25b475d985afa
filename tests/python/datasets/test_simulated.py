"""Simulated queries and the noisy oracle: with replacement, with fusion, and with a choice of the models."""

from __future__ import annotations

import numpy as np
import pytest

import headrace as hr
from headrace.datasets import NoisyOracle, simulate
from headrace.estimators import ConstantCost


@pytest.mark.parametrize("fusion", [False, True])
def test_a_choice_of_the_models_believes_what_all_of_them_believe(fusion: bool) -> None:
    table = simulate(200, 4, rng=1)
    chosen = table.select(["model-4", "model-2"])
    beliefs = []
    for outcomes, run in ((table, [False, True, False, True]), (chosen, [True, True])):
        oracle = NoisyOracle(fusion=fusion)
        oracle.fit(outcomes.queries, outcomes.responses_for([True] * outcomes.n_models), outcomes.quality)
        for mask in (run, [False] * outcomes.n_models):
            beliefs.append(oracle.predict(outcomes.queries, outcomes.responses_for(mask)))
    for of_all, of_chosen in ((beliefs[0], beliefs[2]), (beliefs[1], beliefs[3])):
        np.testing.assert_allclose(of_chosen.quality, of_all.quality[:, [3, 1]], atol=1e-12)
        np.testing.assert_allclose(of_chosen.variance, of_all.variance[:, [3, 1]], atol=1e-12)


def test_a_router_of_some_models_serves() -> None:
    table = simulate(120, 4, rng=2)
    router = hr.Router(["model-1", "model-3"], quality=NoisyOracle(fusion=True), cost=ConstantCost(), n_folds=2)
    session = router.fit(table, budget=0.001).start({name: column[0] for name, column in table.queries.items()})
    while (model := session.next()) is not None:
        j = table.models.index(model)
        session.observe(model, {name: column[0, j] for name, column in table.responses.items()})
    assert session.model in router.models_


def test_fusion_is_the_regression_on_both_looks() -> None:
    fitting, fresh = simulate(400, 3, noise="medium", rng=3), simulate(4000, 3, noise="medium", rng=4)
    errors = {}
    for fusion in (False, True):
        oracle = NoisyOracle(fusion=fusion).fit(fitting.queries, fitting.responses_for([True] * 3), fitting.quality)
        estimate = oracle.predict(fresh.queries, fresh.responses_for([True] * 3)).quality
        errors[fusion] = np.mean((estimate - fresh.quality) ** 2)
        for j in range(3):
            looks = [fitting.responses["noisy_quality"][:, j], np.ones(400)]
            new = [fresh.responses["noisy_quality"][:, j], np.ones(4000)]
            if fusion:
                looks.append(fitting.queries["noisy_quality_before"][:, j])
                new.append(fresh.queries["noisy_quality_before"][:, j])
            weights = np.linalg.lstsq(np.column_stack(looks), fitting.quality[:, j], rcond=None)[0]
            np.testing.assert_allclose(estimate[:, j], np.column_stack(new) @ weights, atol=1e-10)
    assert errors[True] < 0.98 * errors[False]
