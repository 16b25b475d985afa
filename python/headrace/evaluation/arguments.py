"""Arguments of an evaluation: what is refused, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.arguments import FloatArray, listed
from headrace.calibration.parts import FEWEST_QUERIES
from headrace.evaluation.baselines import BASELINES, SAME_AS_ROUTER
from headrace.outcomes import Outcomes
from headrace.outcomes.fingerprints import fingerprints, n_alike
from headrace.router import Router

__all__ = [
    "check_numbers",
    "checked_baselines",
    "checked_budgets",
    "checked_fitting",
    "checked_tables",
    "require_apart",
]

#: Share of the queries that may be like some of the fit, such as a short question that was asked twice.
MOST_SEEN = 0.05


def checked_tables(router: Router, outcomes: Outcomes) -> tuple[Outcomes, int]:
    """Give the complete rows of the router's models, and the number of those left out."""
    if not isinstance(router, Router):
        raise TypeError(f"router: expected a Router, got {type(router).__name__}")
    if not hasattr(router, "path_"):
        raise ValueError("router: expected a fitted router; call fit first")
    if not isinstance(outcomes, Outcomes):
        raise TypeError(f"outcomes: expected an Outcomes table, got {type(outcomes).__name__}")
    costs = tuple(router.path_.costs)
    if tuple(outcomes.costs) != costs:
        raise ValueError(f"outcomes: expected the costs {costs}, got {tuple(outcomes.costs)}")
    test = _labelled(router, outcomes, "outcomes")
    sets = [router.bought_] if router.signals_ is None else router.signals_.bought
    paid = {name for columns in sets for name in columns}
    if lacking := sorted(paid - set(test.column_cost)):
        raise ValueError(f"outcomes: expected a column_cost for {listed(lacking)}, as in the fit")
    test = test.having(paid)
    n_seen = router.n_seen(test)
    if n_seen > MOST_SEEN * test.n_queries:
        raise ValueError(
            f"outcomes: expected queries that the fit has not seen; it has seen {n_seen} of these {test.n_queries}; "
            "split the table first: table.split(0.5)"
        )
    if test.n_models < 2:
        raise ValueError(f"outcomes: expected at least two models, got one, {test.models[0]!r}; nothing to choose")
    if not test.mean_cost.min() < test.mean_cost.max():
        best = int(test.mean_quality.argmax())
        raise ValueError(
            f"outcomes: expected at least two models of different mean cost; all cost {test.mean_cost[0]:.4g}, so "
            f"there is nothing to trade, and {test.models[best]!r} has the best mean quality, "
            f"{test.mean_quality[best]:.4g}"
        )
    return test, outcomes.n_queries - test.n_queries


def checked_baselines(baselines: str | Sequence[str], rule: str) -> list[str]:
    """Give the names of the baselines."""
    if baselines == "all":
        return [name for name in BASELINES if name != rule or name not in SAME_AS_ROUTER]
    unknown = [baselines] if isinstance(baselines, str) else [name for name in baselines if name not in BASELINES]
    if unknown:
        raise ValueError(f'baselines: expected "all" or some of {listed(BASELINES)}; got {unknown[0]!r}')
    return list(dict.fromkeys(baselines))


def check_numbers(n_resamples: Any, n_examples: Any) -> None:
    """Check the numbers of resamples and of examples."""
    for name, value, least in (("n_resamples", n_resamples, 2), ("n_examples", n_examples, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name}: expected an int >= {least}, got {value!r}")


def checked_budgets(budgets: Any) -> FloatArray:
    """Give the budgets of the curves.

    Examples
    --------
    >>> from headrace.evaluation.arguments import checked_budgets
    >>> checked_budgets([1, 2.5])
    array([1. , 2.5])
    """
    try:
        numbers = np.asarray(budgets, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"budgets: expected numbers, got {budgets!r}") from None
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError(f"budgets: expected shape (n_budgets,), at least one, got {numbers.shape}")
    if not (np.isfinite(numbers) & (numbers >= 0.0)).all():
        wrong = numbers[~(np.isfinite(numbers) & (numbers >= 0.0))][0]
        raise ValueError(f"budgets: expected finite numbers >= 0, got {wrong:g}")
    return numbers


def checked_fitting(fitting: Any, router: Router, test: Outcomes) -> Outcomes | None:
    """Give the complete rows of the table that the router was fitted on: of its models, and apart from the test."""
    if fitting is None:
        if router.bought_ and router.signals_ is None:
            raise ValueError(
                f"fitting: expected the queries of the fit: this router always buys {listed(router.bought_)}, and the "
                "other methods, which buy nothing, need estimators of their own"
            )
        return None
    if not isinstance(fitting, Outcomes):
        raise TypeError(f"fitting: expected an Outcomes table, got {type(fitting).__name__}")
    known = _labelled(router, fitting, "fitting")
    if tuple(known.costs) != tuple(test.costs):
        raise ValueError(f"fitting: expected the costs {tuple(test.costs)}, got {tuple(known.costs)}")
    require_apart(known, test)
    return known


def require_apart(fitting: Outcomes, test: Outcomes) -> None:
    """Refuse queries that are fitted and tested on at once: same ids, and nearly all of the numbers behind them."""
    place = {name: row for row, name in enumerate(fitting.ids)}
    shared = np.array([(place[name], row) for row, name in enumerate(test.ids) if name in place], dtype=np.intp)
    if len(shared) < FEWEST_QUERIES:
        return
    mine, its = shared.T
    # Two files without ids number their rows alike, but their numbers differ somewhere.
    same = [np.array_equal(a[mine], b[its]) for a, b in ((fitting.quality, test.quality), (fitting.cost, test.cost))]
    if all(same) or n_alike(fingerprints(fitting.take(mine)), fingerprints(test.take(its))):
        raise ValueError(
            f"outcomes: expected queries that the fit has not seen, got {len(shared)} that are in `fitting`, "
            f"too{test.place(its)}; "
            "split the table first: table.split(0.5)"
        )


def _labelled(router: Router, outcomes: Outcomes, argument: str) -> Outcomes:
    """Give the complete rows of the router's models; a table of just these stays as it is laid out in memory.

    In another layout, means would be summed in another order, and differ from the fit's in their last digits.
    """
    models = None if outcomes.models == router.models_ else router.models_
    return outcomes.labelled(models, argument=argument, fewest=FEWEST_QUERIES)
