"""Conventions that users of scikit-learn and of notebooks rely on, held by every public object."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.datasets import NoisyCost, NoisyOracle, simulate
from headrace.estimators.parameters import Parameters

#: Estimators with what they must be given.
NEEDED: dict[str, dict[str, Any]] = {
    "PriceTable": {"input_price": [1.0, 2.0], "output_price": [3.0, 4.0]},
    "SwitchingCost": {"base": hr.estimators.ConstantCost()},
}

ESTIMATORS = [
    getattr(hr.estimators, name)
    for name in hr.estimators.__all__
    if inspect.isclass(getattr(hr.estimators, name)) and issubclass(getattr(hr.estimators, name), Parameters)
]


def made(cls: type[Any]) -> Any:
    return cls(**NEEDED.get(cls.__name__, {}))


OBJECTS = [hr.Router(), NoisyOracle(), NoisyCost(), *map(made, ESTIMATORS)]
BY_NAME = pytest.mark.parametrize("thing", OBJECTS, ids=lambda thing: type(thing).__name__)


@pytest.fixture(scope="module")
def fitted() -> hr.Router:
    return hr.Router(quality=NoisyOracle()).fit(simulate(200, 3), budget=0.003)


def test_every_estimator_is_looked_at() -> None:
    assert len(ESTIMATORS) == 13
    protocols = {"QualityEstimator", "CostEstimator", "Queries"}
    classes = {name for name in hr.estimators.__all__ if inspect.isclass(getattr(hr.estimators, name))}
    assert classes - protocols == {cls.__name__ for cls in ESTIMATORS}


@BY_NAME
def test_scikit_learn_clones_it(thing: Any) -> None:
    base = pytest.importorskip("sklearn.base")
    copied = base.clone(thing)
    assert type(copied) is type(thing)
    assert repr(copied) == repr(thing)
    assert vars(copied).keys() == vars(thing).keys()


@BY_NAME
def test_scikit_learn_checks_its_parameters(thing: Any) -> None:
    # Of scikit-learn's checks, those that need no table X and no targets y: estimators here take queries and responses,
    # and a router takes outcomes, so the other checks don't apply.
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    name = type(thing).__name__
    checks.check_get_params_invariance(name, thing)
    checks.check_set_params(name, thing)
    checks.check_no_attributes_set_in_init(name, thing)
    if name not in NEEDED:
        checks.check_parameters_default_constructible(name, thing)


@BY_NAME
def test_parameters_are_stored_as_given(thing: Any) -> None:
    params = thing.get_params(deep=False)
    assert list(params) == list(inspect.signature(type(thing)).parameters)
    for name, value in params.items():
        assert getattr(thing, name) is value
    assert type(thing)(**params).get_params(deep=False) == params


@BY_NAME
def test_its_repr_makes_it_again(thing: Any) -> None:
    names = {name: getattr(hr.estimators, name) for name in hr.estimators.__all__}
    again = eval(repr(thing), names | {"Router": hr.Router, "NoisyOracle": NoisyOracle, "NoisyCost": NoisyCost})
    assert repr(again) == repr(thing)


def test_parameters_of_parameters_are_reached() -> None:
    router = hr.Router(quality=hr.estimators.CalibratedQuality(hr.estimators.KNeighborsQuality()))
    assert router.get_params()["quality__base__n_neighbors"] is None
    router.set_params(quality__base__n_neighbors=7, seed=3)
    assert repr(router) == ("Router(quality=CalibratedQuality(base=KNeighborsQuality(n_neighbors=7)), seed=3)")
    with pytest.raises(ValueError, match="depth: Router has no such parameter; it has models, quality"):
        router.set_params(depth=2)


def test_scikit_learn_is_not_needed_for_that() -> None:
    code = (
        "import sys\n"
        "sys.modules['sklearn'] = None\n"
        "import headrace as hr\n"
        "print(hr.Router(seed=3).set_params(rule='routing').get_params()['rule'], hr.estimators.LinearQuality())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout == "routing LinearQuality()\n", run.stderr


def test_dir_lists_the_public_names() -> None:
    assert dir(hr) == sorted(hr.__all__)
    for name in hr.__all__:
        assert getattr(hr, name) is not None
    with pytest.raises(AttributeError, match="module 'headrace' has no attribute 'Rooter'"):
        hr.Rooter  # noqa: B018


def test_a_fitted_router_says_what_it_promises(fitted: hr.Router) -> None:
    assert repr(fitted).startswith(
        "Router(quality=NoisyOracle()), fitted: cascade-routing, 3 models, budget 0.003: mean"
    )
    unset = hr.Router(quality=NoisyOracle()).fit(simulate(60, 3))
    assert repr(unset) == "Router(quality=NoisyOracle()), fitted: 3 models, no budget yet"
    promised = hr.Router(quality=NoisyOracle()).fit(simulate(1000, 3), budget=0.004, confidence=0.8)
    assert promised.guarantee_ is not None
    assert repr(promised).endswith(f"expected, promised with confidence 0.8, {promised.guarantee_.condition}")


def test_scikit_learn_knows_a_fitted_router(fitted: hr.Router) -> None:
    validation = pytest.importorskip("sklearn.utils.validation")
    validation.check_is_fitted(fitted)
    assert not hr.Router().__sklearn_is_fitted__()


def test_notebooks_show_tables_and_escape_what_is_in_them(fitted: hr.Router) -> None:
    table = simulate(60, 2)
    odd = hr.Outcomes(models=["<b>a</b>", "b & c"], quality=table.quality, cost=table.cost, queries=dict(table.queries))
    router = hr.Router(rule="routing", quality="constant").fit(odd, budget=float(odd.mean_cost.mean()))
    session = router.start({name: column[0] for name, column in odd.queries.items()}, id="<i>")
    session.next()
    for shown in (odd, router, router.decider_, router.path_, session):
        html = shown._repr_html_()
        assert html.startswith("<table>")
        assert "<b>" not in html
        assert "<i>" not in html
    assert "&lt;b&gt;a&lt;/b&gt;" in session._repr_html_()
    assert hr.Router()._repr_html_().startswith("<table>")
    assert "promised" not in fitted._repr_html_()


def test_a_session_says_where_it_stands(fitted: hr.Router) -> None:
    fresh = simulate(3, 3, rng=9)
    session = fitted.start({name: column[0] for name, column in fresh.queries.items()}, id="q-1")
    assert repr(session) == "Session('q-1': nothing has run; cost 0 spent)"
    model = session.next()
    assert model is not None
    assert repr(session) == f"Session('q-1': nothing has run; next: {model}; cost 0 spent)"
    session.observe(model, {}, cost=0.001)
    assert repr(session) == f"Session('q-1': ran {model}; cost 0.001 spent)"


def test_copies_share_nothing_that_changes(fitted: hr.Router) -> None:
    copied = fitted.with_budget(0.004)
    before = pickle.dumps(fitted.decider_.response_columns), fitted.budget_, fitted.point_, repr(fitted)
    copied.response_columns_["new"] = copied.query_columns_["new"] = (np.dtype(float), ())
    copied.budget_["cost"] = 7.0  # type: ignore[index]  # it has one
    copied._calibrator.realised.clear()
    copied.set_params(seed=5)
    assert "new" not in fitted.response_columns_
    assert "new" not in fitted.query_columns_
    assert (pickle.dumps(fitted.decider_.response_columns), fitted.budget_, fitted.point_, repr(fitted)) == before
    assert fitted.with_budget(0.004).point_ == copied.point_
