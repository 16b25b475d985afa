"""Sweeps: many fits of one table, over rules, seeds, folds and budgets, by any map."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from headrace.calibration.walk import Stops
from headrace.evaluation.paid import walked_as_served
from headrace.extras import imported
from headrace.outcomes import Outcomes
from headrace.policy import Policy
from headrace.policy.budget_path import PathPoint
from headrace.router import Router

__all__ = ["Swept", "joblib_map", "sweep"]

#: What a setting says of the point on the path; everything else is for the router.
POINT = ("budget", "quality_target", "confidence")

#: What a setting says to the fit, for all points of its path.
FIT = ("largest_cost",)


class Swept(NamedTuple):
    """One fit of a sweep.

    Attributes
    ----------
    settings : dict
        As given.
    policy : Policy
    expected : PathPoint
        Mean cost, quality and number of runs on the calibration queries.
    cost, quality : float or None
        Means on the test queries, over the mixture of the policy's two rules; None without a test table.
    """

    settings: dict[str, Any]
    policy: Policy
    expected: PathPoint
    cost: float | None
    quality: float | None


def sweep(
    outcomes: Outcomes,
    settings: Iterable[Mapping[str, Any]],
    *,
    test: Outcomes | None = None,
    map: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]] = builtins.map,  # the word that users say
) -> list[Swept]:
    """Fit a router for each of some settings.

    Parameters
    ----------
    outcomes : Outcomes
        Labelled queries to fit on.
    settings : iterable of mapping
        Keywords of `Router`, and ``budget``, ``quality_target``, ``confidence`` or ``largest_cost`` for `Router.fit`.
        Settings that differ in a budget or a target only share one fit.
    test : Outcomes, optional
        Labelled queries that no fit sees.
    map : callable
        Does what ``map`` does, perhaps elsewhere: ``executor.map`` of `concurrent.futures`, `joblib_map`, or
        `headrace.integrations.ray.ray_map`. The result doesn't depend on it.

    Returns
    -------
    list of Swept
        In the order of the settings.

    Raises
    ------
    TypeError, ValueError
        Unknown keywords; neither a budget nor a target; what `Router.fit` refuses.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.evaluation.sweep import sweep
    >>> fitting, test = hr.datasets.load_quickstart().split(0.5)
    >>> settings = [{"rule": "routing", "budget": budget} for budget in (50.0, 100.0)]
    >>> cheap, costly = sweep(fitting, settings, test=test)
    >>> cheap.quality < costly.quality
    True
    """
    given = [dict(setting) for setting in settings]
    tasks: dict[str, list[int]] = {}
    for number, setting in enumerate(given):
        _check(number, setting)
        # A confidence fits on other queries than a budget alone; a largest cost is refused for a target.
        shared = {name: value for name, value in setting.items() if name not in POINT}
        kind = "confidence" in setting, "largest_cost" in setting and "quality_target" in setting
        tasks.setdefault(repr((sorted(shared.items(), key=str), kind)), []).append(number)
    fit = _Fit(outcomes, test)
    grouped = list(tasks.values())
    swept: list[Swept | None] = [None] * len(given)
    for numbers, found in zip(grouped, map(fit, [[given[number] for number in task] for task in grouped]), strict=True):
        for number, one in zip(numbers, found, strict=True):
            swept[number] = one
    return [one for one in swept if one is not None]


def joblib_map(n_jobs: int | None = None, **options: Any) -> Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]:
    """Give a map that runs on joblib, for `sweep`.

    Parameters
    ----------
    n_jobs : int, optional
        As in ``joblib.Parallel``; by default what ``joblib.parallel_config`` says.
    **options
        For ``joblib.Parallel``, e.g. ``backend="threading"``.

    Raises
    ------
    ImportError
        joblib is missing.

    Examples
    --------
    >>> from headrace.evaluation.sweep import joblib_map
    >>> joblib_map(n_jobs=1)(abs, [-1, 2])
    [1, 2]
    """
    joblib = imported("joblib", "this map")

    def mapped(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return list(joblib.Parallel(n_jobs=n_jobs, **options)(joblib.delayed(function)(item) for item in items))

    return mapped


class _Fit:
    """One fit, at several points of its path."""

    def __init__(self, outcomes: Outcomes, test: Outcomes | None) -> None:
        self.outcomes, self.test = outcomes, test

    def __call__(self, settings: Sequence[dict[str, Any]]) -> list[Swept]:
        shared = {name: value for name, value in settings[0].items() if name not in (*POINT, *FIT)}
        of_fit = {name: settings[0][name] for name in FIT if name in settings[0]}
        points = [{name: setting[name] for name in POINT if name in setting} for setting in settings]
        fitted = Router(**shared).fit(self.outcomes, **points[0], **of_fit)
        swept = []
        walked: dict[tuple[tuple[float, ...], tuple[str, ...]], Stops] = {}
        for setting, point in zip(settings, points, strict=True):
            if "budget" in point:
                router = fitted.with_budget(point["budget"], confidence=point.get("confidence"))
            else:
                router = fitted.with_quality_target(point["quality_target"], confidence=point.get("confidence"))
            cost = quality = None
            if self.test is not None:
                key = router.policy_.rates, router.bought_
                if key not in walked:
                    walked[key] = walked_as_served(router, self.test.select(router.models_).complete())[1]
                cost, quality = _means(walked[key], router)
            swept.append(Swept(setting, router.policy_, router.point_, cost, quality))
        return swept


def _means(stops: Stops, router: Router) -> tuple[float, float]:
    cheap, costly = (stops.at(parameter) for parameter in router.policy_.parameters)
    share = router.policy_.share
    cost, quality = (share * v[cheap].mean() + (1.0 - share) * v[costly].mean() for v in (stops.cost, stops.quality))
    return float(cost), float(quality)


def _check(number: int, setting: Mapping[str, Any]) -> None:
    known = {*inspect.signature(Router).parameters, *POINT, *FIT}
    unknown = [name for name in setting if name not in known]
    if unknown:
        raise TypeError(f"settings: unknown keyword {unknown[0]!r} in setting {number}")
    if ("budget" in setting) == ("quality_target" in setting):
        raise ValueError(f"settings: expected a budget or a quality_target in setting {number}, got {dict(setting)}")
