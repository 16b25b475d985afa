"""Estimators by name: the built-in ones, and those that other packages register.

A package registers one by an entry point, here in its pyproject.toml::

    [project.entry-points."headrace.quality_estimators"]
    my-estimator = "my_package:MyQuality"

The group of cost estimators is "headrace.cost_estimators". What is registered is a class, or another callable, that
gives an unfitted estimator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from headrace.arguments import listed
from headrace.estimators.calibrated import CalibratedQuality
from headrace.estimators.constant import ConstantCost, ConstantQuality
from headrace.estimators.ex_ante import BoostingQuality, ClusterQuality, KNeighborsQuality
from headrace.estimators.joint import JointQuality
from headrace.estimators.linear import LinearCost, LinearQuality
from headrace.estimators.prices import PriceTable
from headrace.estimators.protocol import QualityEstimator
from headrace.estimators.switching import SwitchingCost

__all__ = ["default_qualities", "estimator_names", "make", "resolved", "resolved_all"]

#: Most models of a table for which a fit tries the joint belief: more have thousands of agreements between answers.
MOST_JOINT = 40

BUILT_IN: dict[str, dict[str, Callable[..., Any]]] = {
    "quality": {
        "boosting": BoostingQuality,
        "calibrated": CalibratedQuality,
        "clusters": ClusterQuality,
        "constant": ConstantQuality,
        "linear": LinearQuality,
        "joint": JointQuality,
        "neighbors": KNeighborsQuality,
    },
    "cost": {
        "constant": ConstantCost,
        "linear": LinearCost,
        "prices": PriceTable,
        "switching": SwitchingCost,
    },
}


def estimator_names(kind: str = "quality") -> tuple[str, ...]:
    """List the names that `make` knows, in alphabetical order; nothing is imported.

    Parameters
    ----------
    kind : {"quality", "cost"}

    Returns
    -------
    tuple of str

    Raises
    ------
    ValueError
        If `kind` is something else.

    Examples
    --------
    >>> from headrace.estimators import estimator_names
    >>> "linear" in estimator_names("quality"), "prices" in estimator_names("cost")
    (True, True)
    """
    return tuple(sorted({*_built_in(kind), *(point.name for point in _registered(kind))}))


def make(name: str, kind: str = "quality", **options: Any) -> Any:
    """Make an unfitted estimator by name.

    Parameters
    ----------
    name : str
        One of `estimator_names`. A built-in estimator can't be replaced by another of its name.
    kind : {"quality", "cost"}
    **options
        What its class takes.

    Returns
    -------
    QualityEstimator or CostEstimator

    Raises
    ------
    ValueError
        An unknown `kind` or `name`; a name that several packages register.
    TypeError
        What a package registers doesn't give an object with `fit` and `predict`.

    Examples
    --------
    >>> from headrace.estimators import make
    >>> make("neighbors", n_neighbors=20).n_neighbors
    20
    """
    maker = _built_in(kind).get(name)
    source = "headrace"
    if maker is None:
        point = _entry_point(name, kind)
        maker, source = point.load(), point.value
    if not callable(maker):
        raise TypeError(f"name: {kind} estimator {name!r} ({source}) is not callable: {maker!r}")
    estimator = maker(**options)
    if isinstance(estimator, type) or not all(callable(getattr(estimator, m, None)) for m in ("fit", "predict")):
        raise TypeError(f"name: {kind} estimator {name!r} ({source}) lacks fit or predict: {estimator!r}")
    return estimator


def default_qualities(n_models: int) -> tuple[str, ...]:
    """Give the names of the quality estimators from which a fit chooses where none is given.

    Examples
    --------
    >>> from headrace.estimators.registry import default_qualities
    >>> default_qualities(5), default_qualities(128)
    (('linear', 'joint'), ('linear',))
    """
    return ("linear", "joint") if n_models <= MOST_JOINT else ("linear",)


def resolved(kind: str, given: Any) -> Any:
    """Give an unfitted estimator from what a caller passed as `kind`: one, or its name.

    Raises
    ------
    TypeError, ValueError
        Something without `fit` and `predict`, such as a class; an unknown name.
    """
    if isinstance(given, str):
        return make(given, kind)
    # A class has its methods, too, but is not yet an estimator.
    if isinstance(given, type) or not isinstance(given, QualityEstimator):
        raise TypeError(f"{kind}: expected an estimator with fit and predict, got {given!r}")
    return given


def resolved_all(kind: str, given: Any) -> list[Any]:
    """Give unfitted estimators from one, a name, or a sequence of these; errors as in `resolved`."""
    several = isinstance(given, Sequence) and not isinstance(given, str)
    made = [resolved(kind, one) for one in (given if several else (given,))]
    if not made:
        raise ValueError(f"{kind}: expected at least one estimator, got none")
    return made


def _entry_point(name: str, kind: str) -> EntryPoint:
    found = [point for point in _registered(kind) if point.name == name]
    if not found:
        raise ValueError(f"name: unknown {kind} estimator {name!r}; known: {listed(estimator_names(kind))}")
    values = sorted({point.value for point in found})
    if len(values) > 1:
        raise ValueError(f"name: several packages register the {kind} estimator {name!r}: {listed(values)}")
    return found[0]


def _registered(kind: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=f"headrace.{kind}_estimators"))


def _built_in(kind: str) -> dict[str, Callable[..., Any]]:
    if kind not in BUILT_IN:
        raise ValueError(f"kind: expected one of {', '.join(BUILT_IN)}; got {kind!r}")
    return BUILT_IN[kind]
