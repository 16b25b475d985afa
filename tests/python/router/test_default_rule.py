"""The rule of a router to which none is named."""

import numpy as np
import pytest

import headrace as hr
from headrace.beliefs.fitting import best_cross_fit
from headrace.calibration.fitted import SCALE
from headrace.calibration.settings import calibrate, path_area, rule_settings
from headrace.datasets import simulate


def verified(seed, n=300):
    plain = simulate(n, 3, noise="high", rng=seed)
    return hr.Outcomes(
        models=plain.models,
        quality=plain.quality,
        cost=plain.cost,
        queries=dict(plain.queries),
        responses={"quality": plain.quality},
    )


def test_where_a_run_shows_nothing_sure_it_is_cascade_routing():
    router = hr.Router().fit(simulate(200, 3), budget=0.003)
    assert router.rule is None
    assert (router.rule_, router.policy_.rule) == ("cascade-routing", "cascade-routing")
    assert "cascade-routing" in repr(router)


@pytest.mark.parametrize("seed", range(4))
def test_where_it_shows_its_quality_the_larger_area_at_one_scale_decides(seed):
    table = verified(seed)
    router = hr.Router(quality="linear", seed=seed).fit(table)
    believed = best_cross_fit(
        table,
        [hr.estimators.LinearQuality()],
        hr.estimators.LinearCost(),
        n_folds=5,
        seed=seed,
        max_depth=5,
    ).table
    areas = {
        rule: path_area(
            calibrate(rule, believed, settings=rule_settings(rule, table), uncertainty_scale=SCALE).path, table
        )
        for rule in ("index", "cascade")
    }
    assert router.rule_ == max(areas, key=areas.__getitem__)
    named = hr.Router(quality="linear", rule=router.rule_, seed=seed).fit(table)
    np.testing.assert_array_equal(named.path_.quality, router.path_.quality)
    assert named.uncertainty_scale_ == router.uncertainty_scale_


def test_a_rule_that_is_named_is_taken():
    assert hr.Router(rule="routing").fit(verified(0)).rule_ == "routing"


def test_a_fixed_scale_and_no_order():
    router = hr.Router(uncertainty_scale=0.25).fit(verified(1))
    assert router.uncertainty_scale_ == 0.25
    with pytest.raises(ValueError, match="order: expected None without a rule, got"):
        hr.Router(order=["model-0"]).fit(verified(1))


def test_it_evaluates_and_serves(tmp_path):
    fitting, test = verified(2).split(0.5)
    router = hr.Router().fit(fitting, budget=0.004)
    card = hr.evaluate(router, test, baselines=["linear interpolation"], n_resamples=20)
    assert card.rule == router.rule_
    router.save(tmp_path / "router.headrace")
    assert hr.load(tmp_path / "router.headrace").policy.rule == router.rule_
