"""Many calls at each entry of the core, ordinary and hostile: a right result, or an error that names an argument.

What must hold for every call: it returns a result, or raises a ValueError, TypeError or IndexError whose message names
an argument. It never panics and never takes longer than `MOST_SECONDS`. Results are checked as well:

- a plan holds what has run, adds only what may run, and keeps to the cap and the depth;
- on a share of the calls, a tradeoff that is marked optimal is compared with the best one over all plans;
- a batch gives what its rows, or its plans, give one by one, and a profile what the rule decides within its pieces;
- expected maxima are compared with the trapezoidal rule and Clark's formula, regressions and ridges with NumPy's.

A call follows from its seed and number alone. `HEADRACE_CASES` multiplies the number of calls;
`benches/python/fuzz.py` makes as many as one likes, and counts them.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace import _core
from headrace.policy.policy import Policy

SEED = 20260
CALLS = 25_000 * int(os.environ.get("HEADRACE_CASES", "1"))

#: Processor time of one call: far above what any of them takes, far below a hang.
MOST_SECONDS = 5.0

#: Share of the calls whose result is checked by slow means.
CHECKED = 0.04

#: Most models that may still run where all plans are tried, for independent and for joint qualities.
MOST_OPEN = {True: 6, False: 4}

# Tolerances of a tradeoff: of quality and price, fractions of those that matter to the best plan; of deviations, of the
# largest of those in play.
OF_QUALITY = 1e-8  # of the largest quality: a tie is 1e-11 of it, or of one up to 1e3 times as large
OF_DEVIATION = 2e-7  # of the largest standard deviation: the stated accuracy of two expected maxima
OF_FACTOR = 8e-4  # the same with one factor, at kinks
OF_JOINT = 2e-3  # the same of joint qualities, times the number of models in play: see `accuracy_of`
MOST_OF_JOINT = 0.04  # and no more than that
OF_LEVEL = 1e-13  # of a reservation value: its rounding, and that of the price that it is solved for
OF_LEAD = 1e-6  # of the largest standard deviation: what a profile of reservation values may miss
OF_PRICE = 1e-11  # of the price of the best plan: sums of prices in another order
OF_ROUNDING = 1e-14  # of the largest quality up to `USUAL`: gains are added up from the lowest of them
USUAL = 1e4
SMALLEST_SD = 1e-150  # a deviation that counts as none
SMALLEST = 1e-300  # near it, numbers lose their digits
SEARCHED = 500  # nodes within which most searches come to their end
REACH = 40.0  # standard deviations beyond which a model doesn't matter

FAR_OFF = [-1e3, -3e3, -1e5, -1e10, -1e17, -1e140, 1e5, 1e10]
POOL = [0.0, -0.0, 5e-324, 1e-320, 1e-300, 1e-17, 1e-9, 0.1, 0.5, 1.0, 7.0, 1e9, 1e17]
SCALES = [0.0, 5e-324, 1e-9, 0.5, 1.0, 1.0, 1.0, 1.0, 2.0, 50.0, 1e9]
WEIGHTS = [0.0, 5e-324, 1e-9, 0.01, 0.1, 0.1, 0.5, 0.5, 1.0, 5.0, 1e3, 1e20, 1e300, math.inf]
CAPS = [0.0, 0.05, 0.3, 0.5, 1.0, 3.0, 1e17, math.inf]

Arguments = dict[str, Any]


class WrongError(AssertionError):
    """A call went wrong; the message says which, and how to make it again."""


# Numbers


def qualities(r: random.Random, k: int) -> list[float]:
    numbers = [r.random() for _ in range(k)]
    kind = r.randrange(9)
    if kind == 0:
        pool = [r.random() for _ in range(3)]
        return [r.choice(pool) for _ in numbers]
    if kind == 1:
        for _ in range(r.randint(1, 2)):
            numbers[r.randrange(k)] = r.choice(FAR_OFF)
    elif kind == 2:
        return [r.choice(POOL) * r.choice((-1, 1)) for _ in numbers]
    elif kind == 3:
        return [numbers[0] + math.ulp(numbers[0]) * r.randrange(40) for _ in numbers]
    elif kind == 4:
        return [-number for number in numbers]
    elif kind == 5:
        scale = r.choice((5e-324, 1e-310, 1e-100, 1e9, 1e100, 1e149))
        return [number * scale for number in numbers]
    return numbers


def amounts(r: random.Random, k: int) -> list[float]:
    """Costs or variances."""
    numbers = [r.random() * r.choice((0.1, 1.0)) for _ in range(k)]
    kind = r.randrange(9)
    if kind == 0:
        pool = [0.0, r.random(), r.random()]
        return [r.choice(pool) for _ in numbers]
    if kind == 1:
        return [abs(r.choice(POOL)) for _ in numbers]
    if kind == 2:
        numbers[r.randrange(k)] = r.choice((0.0, 1e13, 1e17, 5e-324))
    elif kind == 3:
        return [0.0] * k
    return numbers


def covariance(r: random.Random, k: int) -> np.ndarray[Any, Any]:
    """Joint, of full rank, of a lower one, nearly singular, or with models that are copies of one another."""
    rank = r.choice((1, max(1, k // 2), k))
    factor = np.array([r.gauss(0.0, 1.0) for _ in range(k * rank)]).reshape(k, rank) * r.choice((1e-9, 0.1, 0.3, 1.0))
    kind = r.randrange(5)
    if kind == 0 and k > 1:
        factor[r.randrange(k)] = factor[r.randrange(k)]
    joint = factor @ factor.T
    joint = (joint + joint.T) / 2
    if kind == 1:
        joint += np.eye(k) * r.choice((1e-18, 1e-15, 1e-12, 1e-9)) * float(joint.max())
    elif kind == 2:
        joint *= np.outer(signs := np.array([r.choice((0.0, 1e-3, 1.0)) for _ in range(k)]), signs)
    return joint


def spread(r: random.Random, k: int, *, factor: bool = True) -> Arguments:
    kind = r.randrange(5 if factor else 4)
    if kind == 0:
        return {}
    if kind in (1, 2):
        return {"variance": np.array(amounts(r, k))}
    if kind == 3:
        return {"covariance": covariance(r, k)}
    return {"variance": np.array(amounts(r, k)), "loading": np.array([r.gauss(0.0, 0.3) for _ in range(k)])}


def number_of_models(r: random.Random) -> int:
    return r.choice((13, 20, 40, 128)) if r.random() < 0.03 else r.choice((1, 2, 2, 3, 3, 3, 4, 4, 5, 6, 8, 12))


# The same numbers in another form, and what is no such number


def disguised(r: random.Random, array: np.ndarray[Any, Any]) -> Any:
    """Give an array's numbers in another form; those of a shorter type may differ."""
    if not array.ndim:
        return r.choice((array, array.item()))
    kind = r.randrange(14)
    if kind == 0:
        return array.tolist()
    if kind == 1:
        return tuple(array.tolist())
    if kind == 2:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if kind == 3:
        return array[::-1].copy()[::-1]
    if kind == 4:
        array = array.copy()
        array.flags.writeable = False
    elif kind == 5:
        return np.asfortranarray(array)
    elif kind == 6 and array.dtype.kind == "f":
        with np.errstate(all="ignore"):
            return array.astype(r.choice(("f4", "f4", "f2", ">f8", "O")))
    elif kind == 7 and array.dtype.kind == "f" and np.abs(array).max(initial=0.0) < 1e9:
        return array.astype(r.choice(("i8", "i4", "?")))
    elif kind == 8:
        return [*array]
    return array


def mangled(r: random.Random, value: Any) -> Any:
    """Give something wrong in the place of an argument, or something odd that may be right."""
    kind = r.randrange(20)
    array = np.array(value, dtype=np.float64) if kind < 9 and value is not None else np.array([0.5, 0.5])
    if kind < 5 and array.size:
        with np.errstate(all="ignore"):
            array.flat[r.randrange(array.size)] = r.choice((math.nan, math.inf, -math.inf, 1e300, -1.0, -5e-324))
        return disguised(r, array)
    if kind == 5:
        return array[..., :-1] if array.ndim else array
    if kind == 6:
        return np.concatenate([array, array], axis=-1) if array.ndim else array
    if kind == 7:
        return array[None]
    if kind == 8:
        return np.ma.array(array, mask=np.zeros(array.shape, dtype=bool))
    if kind == 9:
        return np.array(r.choice((0.5, math.nan, 1, True)))
    if kind == 10:
        return r.choice(([], (), np.zeros(0), np.zeros((0, 0)), np.zeros((0, 3)), np.zeros((2, 0))))
    if kind == 11:
        return r.choice(("0.5", b"0.5", "", ["a", "b"], np.array(["a", "b"]), [b"a"]))
    if kind == 12:
        return r.choice((None, object(), {}, {0: 0.5}, ..., 0.5, -1, 10**400, 2**63, 1j, math.nan))
    if kind == 13:
        return [0.5, r.choice((None, "x", [0.5], 1j, 10**400, math.nan))]
    if kind == 14:
        return np.array([0.5, None], dtype=object)
    if kind == 15:
        return np.array([1 + 0j, 2.0])
    if kind == 16:
        return r.choice(([-1], [0, 0], [10**30], [1.0], [True, 0], np.array([3], dtype="u8"), [128], [2**31]))
    if kind == 17:
        return np.array(["2020-01-01"], dtype="M8[D]")
    if kind == 18:
        return np.zeros(r.choice(((1, 1, 1, 1), (129,), (2, 129), (3, 3, 3))))
    return memoryview(np.array([0.5, 0.25]))


def with_faults(r: random.Random, arguments: Arguments) -> Arguments:
    """Disguise the arguments, and mangle up to two of them on a share of the calls."""
    changed = {
        name: disguised(r, value) if isinstance(value, np.ndarray) and r.random() < 0.5 else value
        for name, value in arguments.items()
    }
    if r.random() < 0.3:
        for name in r.sample(sorted(changed), min(len(changed), r.choice((1, 1, 2)))):
            changed[name] = mangled(r, arguments[name])
    return changed


def models_mask(r: random.Random, k: int, share: float) -> Any:
    mask = [r.random() < share for _ in range(k)]
    indices = [j for j, is_in in enumerate(mask) if is_in]
    kind = r.randrange(4)
    if kind == 0:
        return mask
    if kind == 1:
        return np.array(mask)
    return indices if kind == 2 else np.array(indices, dtype=np.intp)


# The rules


def rule_settings(r: random.Random, kind: str, k: int) -> Arguments:
    order = r.sample(range(k), r.randint(1, k)) if r.random() < 0.3 else None
    if kind == "ThresholdCascade":
        thresholds = r.choice(
            (0.5, -math.inf, math.inf, 0.0, -1e17, [r.random() for _ in range(len(order or range(k)))])
        )
        return {"thresholds": thresholds, "order": order}
    settings: Arguments = {"cost_weight": r.choice(WEIGHTS)}
    if kind == "Routing":
        return settings
    settings["uncertainty_scale"] = r.choice(SCALES)
    if kind != "IndexRule":
        settings["max_depth"] = r.choice((1, 2, 3, 5, 5, 12, 128))
    if kind == "CascadeRouting":
        settings["node_limit"] = r.choice((1, 2, 20, SEARCHED, SEARCHED, SEARCHED))
    elif kind == "Cascade":
        settings["order"] = order
    return settings


def single(r: random.Random, k: int, *, factor: bool) -> Arguments:
    arguments: Arguments = {"quality": np.array(qualities(r, k)), "cost": np.array(amounts(r, k))}
    arguments |= spread(r, k, factor=factor)
    if r.random() < 0.5:
        arguments["run"] = models_mask(r, k, 0.3)
    if r.random() < 0.3:
        arguments["allowed"] = models_mask(r, k, 0.7)
    if r.random() < 0.3:
        arguments["max_cost"] = r.choice(CAPS)
    return arguments


def batch(r: random.Random, k: int, n: int, *, factor: bool) -> Arguments:
    """Rows of `single`, whose numbers are those of each row or of all."""

    def rows(make: Callable[[], Any], *, alone: bool = False) -> np.ndarray[Any, Any]:
        return np.array(make()) if not alone and r.random() < 0.4 else np.array([make() for _ in range(n)])

    arguments: Arguments = {
        "quality": rows(lambda: qualities(r, k), alone=True),
        "cost": rows(lambda: amounts(r, k)),
    }
    kind = r.randrange(5 if factor else 4)
    if kind in (1, 2, 4):
        arguments["variance"] = rows(lambda: amounts(r, k))
    if kind == 4:
        arguments["loading"] = rows(lambda: [r.gauss(0.0, 0.3) for _ in range(k)])
    if kind == 3:
        arguments["covariance"] = rows(lambda: covariance(r, k))
    if r.random() < 0.5:
        arguments["run"] = rows(lambda: [r.random() < 0.3 for _ in range(k)])
    if r.random() < 0.3:
        arguments["allowed"] = rows(lambda: [r.random() < 0.8 for _ in range(k)])
    if r.random() < 0.3:
        arguments["max_cost"] = rows(lambda: r.choice(CAPS))
    return arguments


# What must hold of a result


def require(holds: bool, what: str) -> None:
    if not holds:
        raise WrongError(what)


def floats(values: Any) -> np.ndarray[Any, Any]:
    return np.array(values, dtype=np.float64)


def model_set(models: Any, k: int) -> list[int]:
    cells = list(models)
    if cells and all(isinstance(cell, bool | np.bool_) for cell in cells):
        return [j for j, is_in in enumerate(cells) if is_in]
    return sorted({int(cell) for cell in cells})


class Problem:
    """One query as the core has to read it, and all its plans."""

    def __init__(self, arguments: Arguments, scale: float) -> None:
        self.quality, self.cost = floats(arguments["quality"]), floats(arguments["cost"])
        self.k, self.scale = len(self.quality), scale
        given = [name for name in SPREADS if scale and arguments.get(name) is not None]
        self.spread = {name: floats(arguments[name]) for name in given}
        run, allowed = arguments.get("run"), arguments.get("allowed")
        self.run = [] if run is None else model_set(run, self.k)
        self.may = list(range(self.k)) if allowed is None else model_set(allowed, self.k)
        cap = arguments.get("max_cost")
        self.max_cost = math.inf if cap is None else float(cap)
        self.open = [j for j in self.may if j not in self.run and self.cost[j] <= self.max_cost]

    def deviations(self) -> np.ndarray[Any, Any]:
        variance = self.spread.get("variance", np.zeros(self.k))
        if "covariance" in self.spread:
            variance = np.diag(self.spread["covariance"])
        loading = self.spread.get("loading", np.zeros(self.k))
        deviations: np.ndarray[Any, Any] = np.hypot(np.sqrt(np.maximum(variance, 0.0)), loading) * self.scale
        return np.where(deviations > SMALLEST_SD, deviations, 0.0)

    def value(self, plan: list[int]) -> tuple[float, float]:
        """Give the expected maximum of a plan's models, and how far off it may be."""
        if len(plan) == 1:
            return float(self.quality[plan[0]]), 0.0
        part = {
            name: numbers[np.ix_(plan, plan)] if name == "covariance" else numbers[plan]
            for name, numbers in self.spread.items()
        }
        try:
            return hr.expected_max(self.quality[plan], **part, uncertainty_scale=self.scale, with_error=True)
        except ValueError as error:
            if "semi-definite" not in str(error) and "symmetric" not in str(error):
                raise
        # The whole is symmetric and semi-definite to within a fraction of its largest variance, which may be far above
        # those of a part. The nearest matrix that is both lies within that fraction.
        joint = part["covariance"] / 2
        sizes, directions = np.linalg.eigh(joint + joint.T)
        part["covariance"] = (directions * np.maximum(sizes, 0.0)) @ directions.T
        return hr.expected_max(self.quality[plan], **part, uncertainty_scale=self.scale, with_error=True)

    def price(self, plan: list[int]) -> float:
        return math.fsum(self.cost[j] for j in plan if j not in self.run)

    def plans(self, max_depth: int) -> Iterator[list[int]]:
        for n_added in range(len(self.open) + 1):
            if n_added and len(self.run) + n_added > max_depth:
                break
            for added in itertools.combinations(self.open, n_added):
                plan = sorted([*self.run, *added])
                if plan and self.price(plan) <= self.max_cost:
                    yield plan

    def prefixes(self, order: list[int] | None, max_depth: int) -> Iterator[list[int]]:
        whole = list(range(self.k)) if order is None else order
        passed = max((at + 1 for at, j in enumerate(whole) if j in self.run), default=0)
        plan = list(self.run)
        if plan:
            yield plan
        for j in whole[passed:]:
            if j in self.open:
                plan = sorted([*plan, j])
                if len(plan) > max_depth or self.price(plan) > self.max_cost:
                    break
                yield plan


SPREADS = ("variance", "covariance", "loading")


def accuracy_of(problem: Problem, in_play: Iterable[int]) -> float:
    """Give how far off the value of a plan may be in a search, other things than rounding alone.

    A search values joint qualities at 1024 points, in as many dimensions as there are models in play, even where the
    plan alone has a closed form. Its error, in largest standard deviations, is 2e-4 times the number of models in root
    mean square, and was up to 1.5e-3 times that number in 25,000 random problems of 3 to 12 models. From 20 models on
    it grows no more: 0.005 in root mean square, up to 0.017.
    """
    models = sorted(set(in_play))
    fraction = OF_DEVIATION
    if "covariance" in problem.spread:
        fraction = min(OF_JOINT * len(models), MOST_OF_JOINT)
    elif "loading" in problem.spread:
        fraction = OF_FACTOR
    return fraction * float(max(problem.deviations()[models], default=0.0))


def check_decision(found: hr.Decision, problem: Problem, settings: Arguments) -> None:
    plan, added = set(found.plan), set(found.plan) - set(problem.run)
    require(found.plan == tuple(sorted(plan)) and set(problem.run) <= plan, "the plan lacks what has run")
    require(added <= set(problem.open), "the plan adds what may not run")
    require((found.next is None) == (not added) and (found.next is None or found.next in added), "next is not added")
    require(problem.price(sorted(plan)) <= problem.max_cost * (1 + 1e-12), "the plan is over the cap")
    require(
        len(plan) <= max(len(problem.run) + (not problem.run), settings.get("max_depth", 128)), "the plan is too deep"
    )
    require(math.isfinite(found.value) and not math.isnan(found.tradeoff), f"not a number: {found}")
    require(
        found.gap >= 0.0 and (found.status == "bounded") == (found.gap > 0.0), f"a gap and status that differ: {found}"
    )


def check_best(found: hr.Decision, problem: Problem, settings: Arguments, plans: list[list[int]]) -> None:
    """Compare with the best of all plans: the tradeoff that was found, and the one that its plan has."""
    weight = settings["cost_weight"]

    def worth(value: float, plan: list[int]) -> float:
        price = problem.price(plan)
        return value if price == 0.0 else value - weight * price

    in_play = [*problem.run, *problem.may]
    if min(problem.quality[in_play]) < -USUAL and max(problem.quality[in_play]) > USUAL:
        return  # far off on both sides: what lies between is beyond the digits of their distance
    valued = [(problem.value(plan), plan) for plan in plans]
    (value, error), best = max(valued, key=lambda one: worth(one[0][0], one[1]))
    tradeoff = worth(value, best)
    mine = sorted(found.plan)
    if not math.isfinite(tradeoff):
        cheapest = min(problem.price(plan) for plan in plans)
        require(problem.price(mine) <= cheapest * (1 + 1e-12), f"a plan of the least price was there: {cheapest}")
        return
    deviations = problem.deviations()
    reached = tradeoff - 1e-6 * abs(tradeoff)
    matter = [j for j in best if problem.quality[j] + REACH * deviations[j] >= reached]
    largest = USUAL if settings.get("node_limit", SEARCHED) >= SEARCHED else math.inf  # a search cut short adds up all
    usual = [abs(problem.quality[j]) for j in (*problem.run, *problem.open) if abs(problem.quality[j]) <= largest]
    own_value, own_error = problem.value(mine)
    tolerance = (
        OF_QUALITY * max((abs(problem.quality[j]) for j in matter), default=0.0)
        + accuracy_of(problem, in_play)
        + OF_PRICE * (weight * problem.price(best) if problem.price(best) else 0.0)
        + error
        + own_error
        + OF_ROUNDING * max(usual, default=0.0)
        + SMALLEST
    )
    own = worth(own_value, mine)
    slack = tolerance + found.gap
    require(own >= tradeoff - slack, f"plan {mine} has {own!r}, {best} has {tradeoff!r}, tolerance {slack:.3g}")
    require(abs(found.tradeoff - own) <= tolerance, f"tradeoff {found.tradeoff!r}, but its plan has {own!r}")


def check_select(r: random.Random, kind: str, settings: Arguments, arguments: Arguments, found: Any) -> str | None:
    require(isinstance(found, hr.Decision), f"expected a decision, got {found!r}")
    problem = Problem(arguments, settings.get("uncertainty_scale", 0.0))
    if kind == "ThresholdCascade":
        return None
    check_decision(found, problem, settings)
    if r.random() >= CHECKED * 3 or kind == "IndexRule":
        return None
    if kind == "Routing":
        plans = [problem.run] if problem.run else [[j] for j in problem.open]
    elif kind == "Cascade":
        plans = list(problem.prefixes(settings["order"], settings["max_depth"]))
    else:
        alone = "covariance" not in problem.spread and "loading" not in problem.spread
        if len(problem.open) > MOST_OPEN[alone]:
            return None
        plans = list(problem.plans(settings["max_depth"]))
    check_best(found, problem, settings, plans)
    return "optimum" if found.status == "optimal" else "bound"


def row_of(arguments: Arguments, row: int) -> Arguments:
    axes = {"quality": 2, "covariance": 3, "max_cost": 1}
    one = {}
    for name, value in arguments.items():
        if name in ("threads", "lower", "upper", "ids", "plans", "row", "uncertainty_scale"):
            continue
        array = None if value is None else np.asarray(value)
        one[name] = array if array is None or array.ndim < axes.get(name, 2) else array[row]
    return one


def check_batch(rule: hr.Rule, arguments: Arguments, found: Any) -> str:
    n = len(np.asarray(arguments["quality"]))
    require(found.dtype == np.int32 and found.shape == (n,), f"expected a model for each of {n} rows, got {found!r}")
    for row in range(n):
        decision = rule.select(**row_of(arguments, row))
        alone = -1 if decision.next is None else decision.next
        require(alone == found[row], f"row {row}: {found[row]} in the batch, {alone} alone")
    return "singles"


def check_profile(r: random.Random, kind: str, settings: Arguments, arguments: Arguments, found: Any) -> str | None:
    rows, starts, ends, models = found
    k = np.asarray(arguments["quality"]).shape[1]
    lower, upper = floats(arguments["lower"]), floats(arguments["upper"])
    require(bool(np.all((models >= -1) & (models < k))), "no such model")
    for row in np.unique(rows):
        here = rows == row
        lows, highs = starts[here], ends[here]
        if lower[row] < upper[row]:
            require(
                lows[0] == lower[row] and highs[-1] == upper[row], f"row {row}: pieces from {lows[0]} to {highs[-1]}"
            )
        require(bool(np.all(lows[1:] == highs[:-1]) and np.all(lows <= highs)), f"row {row}: pieces with gaps")
    wide = np.flatnonzero(
        (ends - starts > 1e-4 * np.maximum(abs(starts), 1e-3)) & np.isfinite(ends) & np.isfinite(starts)
    )
    if not len(wide):
        return None
    at = int(r.choice(wide.tolist()))
    parameter = starts[at] + (ends[at] - starts[at]) * r.uniform(0.3, 0.7)
    changed = {"thresholds": -parameter} if kind == "ThresholdCascade" else {"cost_weight": parameter}
    decision = getattr(hr, kind)(**(settings | changed)).select(**row_of(arguments, rows[at]))
    if not is_resolved(kind, row_of(arguments, rows[at])):
        return None
    if settings.get("node_limit", SEARCHED) < SEARCHED or decision.status == "bounded":
        return None
    alone = -1 if decision.next is None else decision.next
    near = alone == models[at] or all(
        is_near_tie(kind, settings | changed, row_of(arguments, rows[at]), model) for model in (int(models[at]), alone)
    )
    require(near, f"row {rows[at]}, at {changed}: {models[at]} in the profile, but {decision}")
    return "pieces"


def is_near_tie(kind: str, settings: Arguments, one: Arguments, model: int) -> bool:
    """Whether a plan that runs a model next is as good as any, where values are approximate."""
    problem = Problem(one, settings.get("uncertainty_scale", 0.0))
    if kind == "IndexRule":
        return is_near_lead(problem, settings["cost_weight"], model)
    if kind not in ("Cascade", "CascadeRouting") or not {"covariance", "loading"} & set(problem.spread):
        return False
    depth = settings["max_depth"]
    plans = problem.plans(depth) if kind == "CascadeRouting" else problem.prefixes(settings["order"], depth)
    worth: dict[int, float] = {}
    most_off = 0.0
    for plan in plans:
        added = [j for j in plan if j not in problem.run]
        if kind == "Cascade" and settings["order"] is not None:
            added.sort(key=settings["order"].index)
        elif kind == "CascadeRouting":
            added.sort(key=lambda j: problem.cost[j])
        first = added[0] if added else -1
        value, error = problem.value(plan)
        most_off = max(most_off, error)
        tradeoff = value - settings["cost_weight"] * problem.price(plan)
        worth[first] = max(worth.get(first, -math.inf), tradeoff)
    slack = accuracy_of(problem, [*problem.run, *problem.open]) + 2.0 * most_off
    return worth.get(model, -math.inf) >= max(worth.values()) - slack


def is_near_lead(problem: Problem, weight: float, model: int) -> bool:
    """Whether no reservation value is higher than that of a model, as far as a profile and its rounding tell.

    At the highest reservation value r, E[(Q - r)+] is the price for the first model and less for the others: what they
    lack is the lead. r is the mean less the price where the price is high, whatever the spread, so that models of one
    mean and price differ there by less than r has digits: by 2e-16 of r from rounding, and a few times that from the
    price. A profile states that it may miss a lead of `OF_LEAD`.
    """
    deviations = problem.deviations()

    def excess(j: int, level: float) -> float:
        sd, lead = float(deviations[j]), float(problem.quality[j]) - level
        if sd == 0.0:
            return max(lead, 0.0)
        z = lead / sd
        return lead * normal_cdf(z) + sd * math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)

    def reservation(j: int) -> float:
        price = weight * float(problem.cost[j])
        if price == 0.0:
            return math.inf if deviations[j] else float(problem.quality[j])
        low, high = problem.quality[j] - price, problem.quality[j] + REACH * deviations[j]
        while low < (middle := low + 0.5 * (high - low)) < high:
            low, high = (middle, high) if excess(j, middle) >= price else (low, middle)
        return float(low)

    if model not in problem.open:
        return False
    level, first = max((reservation(j), j) for j in problem.open)
    if weight * min(problem.cost[first], problem.cost[model]) == 0.0:
        return first == model
    lead = weight * problem.cost[model] - excess(model, level)
    slack = OF_LEAD * max(deviations) + OF_LEVEL * max(
        abs(level), abs(problem.quality[model]), abs(problem.quality[first])
    )
    return bool(lead * problem.cost[first] <= slack * problem.cost[model])


def is_resolved(kind: str, one: Arguments) -> bool:
    """Whether a profile resolves qualities and prices so far apart: models far below the others it does."""
    quality, cost = floats(one["quality"]), floats(one["cost"])
    tiny = [(abs(numbers) > 0.0) & (abs(numbers) < 1e-290) for numbers in (quality, cost)]
    if np.any(tiny) or (kind == "IndexRule" and quality.min() < -USUAL):
        return False
    return bool(quality.max() < USUAL)


def normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def check_expected_max(r: random.Random, arguments: Arguments, found: Any) -> str | None:
    value, error = found if isinstance(found, tuple) else (found, 0.0)
    require(math.isfinite(value) and 0.0 <= error < math.inf, f"not a number: {found}")
    problem = Problem({"cost": [0.0] * len(arguments["quality"]), **arguments}, float(arguments["uncertainty_scale"]))
    quality, deviations = problem.quality, problem.deviations()
    top, largest = float(quality.max()), float(deviations.max())
    approximate = accuracy_of(problem, range(problem.k)) if "covariance" in problem.spread else 1e-6 * largest
    slack = 1e-12 * float(abs(quality).max()) + approximate + 3 * error + SMALLEST
    require(value >= top - slack, f"{value} below the largest mean {top}")
    require(value <= top + 0.3989423 * float(deviations.sum()) + slack, f"{value} above its bound")
    exact = None
    if "covariance" in problem.spread and problem.k == 2:
        a = problem.spread["covariance"] * problem.scale**2
        theta = math.sqrt(max(a[0, 0] + a[1, 1] - 2 * a[0, 1], 0.0))
        if theta > 1e-5 * largest > 0.0:  # below, the difference of the variances has lost its digits
            x = (quality[0] - quality[1]) / theta
            exact = quality[0] * normal_cdf(x) + quality[1] * normal_cdf(-x)
            exact += theta * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    elif "loading" not in problem.spread and "covariance" not in problem.spread and r.random() < CHECKED * 3:
        exact = by_trapezoids(quality, deviations)
    if exact is None:
        return None
    slack = 1e-11 * float(abs(quality).max()) + 2e-7 * largest
    require(abs(value - exact) <= slack, f"{value!r}, but {exact!r} by other means, tolerance {slack:.3g}")
    return "value"


def check_expected_maxima(arguments: Arguments, found: Any) -> str:
    scale = float(arguments["uncertainty_scale"])
    plans, row = np.asarray(arguments["plans"]), np.asarray(arguments["row"])
    require(found.dtype == np.float64 and found.shape == row.shape, f"expected a value for each plan, got {found!r}")
    for at, (query, plan) in enumerate(zip(row.tolist(), plans, strict=True)):
        one = row_of(arguments, query)
        given = [name for name in ("quality", *SPREADS) if one.get(name) is not None]
        part = {name: one[name][np.ix_(plan, plan) if name == "covariance" else plan] for name in given}
        try:
            alone = hr.expected_max(**part, uncertainty_scale=scale)
        except ValueError as error:
            # Of the whole, symmetric to within a fraction of its largest variance.
            if "symmetric" not in str(error):
                raise
        else:
            require(alone == found[at], f"plan {at}: {found[at]!r} in the batch, {alone!r} alone")
    return "singles"


def by_trapezoids(quality: np.ndarray[Any, Any], deviations: np.ndarray[Any, Any], n: int = 1000) -> float | None:
    """Integrate the distribution of the largest; none where the grid is too coarse for that."""
    low, high = float((quality - 9 * deviations).max()), float((quality + 9 * deviations).max())
    step = (high - low) / n
    if not step * 2 < deviations.min() or not abs(quality).max() < 1e6 * deviations.min():
        return None
    below = [
        math.prod(normal_cdf((low + step * at - q) / s) for q, s in zip(quality, deviations, strict=True))
        for at in range(n + 1)
    ]
    return high - step * (math.fsum(below) - (below[0] + below[-1]) / 2)


def check_regressions(arguments: Arguments, found: Any) -> str | None:
    joint, members, runs = (np.asarray(arguments[name]) for name in ("covariance", "members", "runs"))
    known, ends, weights, residual = found
    n = len(members)
    require(len(ends) == len(runs) and residual.shape == (len(runs), len(joint) - n, len(joint) - n), "wrong shapes")
    if not joint.size or np.linalg.cond(joint.astype(float)) > 1e6:
        return None
    joint = joint.astype(float)
    if not np.array_equal(joint, joint.T):
        return None
    starts = [0, *ends.tolist()][: len(runs)]
    for row, (start, end) in enumerate(zip(starts, ends.tolist(), strict=True)):
        features = [f for f in range(n) if not (members[f] & ~runs[row]).any()]
        require(known[start:end].tolist() == features, f"run {row}: knows {known[start:end]}, expected {features}")
        cross, targets = joint[np.ix_(features, range(n, len(joint)))], joint[n:, n:]
        solved = np.linalg.solve(joint[np.ix_(features, features)], cross)
        near = {"rtol": 1e-7, "atol": 1e-8 * float(abs(joint).max(initial=0.0))}
        require(np.allclose(weights[start:end], solved, rtol=1e-7, atol=1e-8), f"run {row}: other weights")
        require(np.allclose(residual[row], targets - cross.T @ solved, **near), f"run {row}: another residual")
    return "regression"


def check_ridge(arguments: Arguments, found: Any) -> str | None:
    gram, pull, squares, penalties = (
        np.asarray(arguments[name], dtype=float) for name in ("gram", "pull", "squares", "penalties")
    )
    weights, left, freedom = found
    require(weights.shape == pull.shape and left.shape == freedom.shape == squares.shape, "wrong shapes")
    n, d = arguments["n"], len(gram)
    sizes = [abs(values).max(initial=0.0) for values in (gram, penalties)]
    if not all(size < 1e6 for size in sizes) or penalties.min() <= 0.0 or not np.array_equal(gram, gram.T):
        return None
    known = np.linalg.eigvalsh(gram) if d else np.ones(1)
    if known.min() < -1e-9 or not np.isfinite(np.concatenate([pull.ravel(), squares])).all() or (squares <= 0.0).any():
        return None
    tried = []
    for penalty in penalties.tolist():
        inverse = np.linalg.inv(gram + penalty * np.eye(d))
        of_one = inverse @ pull
        rest = np.maximum(squares - (of_one * pull).sum(axis=0) - penalty * (of_one**2).sum(axis=0), 0.0)
        tried.append((of_one, rest, 1.0 - (1.0 + d - penalty * np.trace(inverse)) / n))
    if min(free for _, _, free in tried) < 0.01:
        # What is left is rounding, and so is the choice.
        return None
    for at, square in enumerate(squares.tolist()):
        errors = [rest[at] / free**2 for _, rest, free in tried]
        # Rounding may make another penalty the best of those that are as good.
        near = [
            number
            for number, (of_one, rest, free) in enumerate(tried)
            if np.allclose(weights[:, at], of_one[:, at], rtol=1e-6, atol=1e-9 * math.sqrt(square))
            and math.isclose(left[at], rest[at], rel_tol=1e-6, abs_tol=1e-9 * square)
            and math.isclose(freedom[at], free, rel_tol=1e-6, abs_tol=1e-9)
        ]
        require(bool(near), f"target {at}: the weights are of no penalty")
        slack = 1e-6 * min(errors) + 1e-9 * square / tried[near[0]][2] ** 2
        require(min(errors[number] for number in near) <= min(errors) + slack, f"target {at}: another penalty")
    return "ridge"


# The entries: how a call is made, and how its result is checked

Call = tuple[Callable[..., Any], tuple[Any, ...], Arguments, Callable[[Any], "str | None"]]
KINDS = ("Routing", "ThresholdCascade", "Cascade", "CascadeRouting", "IndexRule")


def select_call(r: random.Random, kind: str) -> Call:
    k = number_of_models(r)
    settings = rule_settings(r, kind, k)
    rule = getattr(hr, kind)(**settings)
    arguments = with_faults(r, single(r, k, factor=kind != "IndexRule" or r.random() < 0.1))
    return rule.select, (rule,), arguments, lambda found: check_select(r, kind, settings, arguments, found)


def batch_call(r: random.Random, kind: str) -> Call:
    k = min(number_of_models(r), 20)
    rule = getattr(hr, kind)(**rule_settings(r, kind, k))
    n = r.choice((0, 1, 1, 2, 2, 3, 5)) if r.random() < 0.99 else 70
    arguments = batch(r, k, n, factor=kind != "IndexRule") if n else empty_batch(k)
    arguments = {**with_faults(r, arguments), "threads": r.choice((1, 1, 1, 2, None))}
    return rule.select_batch, (rule,), arguments, lambda found: check_batch(rule, arguments, found)


def empty_batch(k: int) -> Arguments:
    return {"quality": np.zeros((0, k)), "cost": np.zeros(k)}


def profile_call(r: random.Random, kind: str) -> Call:
    k = r.choice((1, 2, 3, 3, 4, 5, 8))
    settings = rule_settings(r, kind, k)
    rule = getattr(hr, kind)(**settings)
    n = r.choice((1, 1, 2, 3))
    arguments = batch(r, k, n, factor=kind != "IndexRule")
    ends = [sorted((r.choice((0.0, 0.01, 0.5, 1.0)), r.choice((0.0, 0.3, 1.0, 10.0, math.inf)))) for _ in range(n)]
    arguments |= {"lower": np.array([low for low, _ in ends]), "upper": np.array([high for _, high in ends])}
    arguments = {**with_faults(r, arguments), "threads": 1}
    return rule.profile_batch, (rule,), arguments, lambda found: check_profile(r, kind, settings, arguments, found)


def expected_max_call(r: random.Random, kind: str) -> Call:
    k = number_of_models(r)
    arguments = {"quality": np.array(qualities(r, k)), **spread(r, k), "uncertainty_scale": r.choice(SCALES)}
    arguments = {**with_faults(r, arguments), "with_error": r.random() < 0.5}
    return hr.expected_max, (), arguments, lambda found: check_expected_max(r, arguments, found)


def expected_max_batch_call(r: random.Random, kind: str) -> Call:
    k, n = min(number_of_models(r), 20), r.choice((1, 2, 3))
    believed = batch(r, k, n, factor=True)
    arguments = {name: value for name, value in believed.items() if name in ("quality", *SPREADS)}
    n_plans = r.choice((0, 1, 1, 3, 8)) if r.random() < 0.99 else 70
    plans = [[r.random() < 0.5 for _ in range(k)] for _ in range(n_plans)]
    for plan in plans:
        plan[r.randrange(k)] = True
    arguments |= {"plans": np.array(plans, dtype=bool).reshape(n_plans, k)}
    arguments |= {"row": np.array([r.randrange(n) for _ in range(n_plans)], dtype=np.int64)}
    arguments = {**with_faults(r, arguments), "uncertainty_scale": r.choice(SCALES)}
    arguments["threads"] = r.choice((1, 1, 1, 2, None))
    return _core.expected_max_batch, (), arguments, lambda found: check_expected_maxima(arguments, found)


def regressions_call(r: random.Random, kind: str) -> Call:
    n, n_targets, k, n_runs = r.randint(0, 6), r.randint(0, 3), r.randint(0, 4), r.randint(0, 4)
    joint = covariance(r, n + n_targets) if n + n_targets else np.zeros((0, 0))
    if r.random() < 0.7:
        joint = joint + np.eye(len(joint)) * r.choice((0.01, 1.0))
    mask = [np.array([r.random() < 0.5 for _ in range(rows * k)], dtype=bool).reshape(rows, k) for rows in (n, n_runs)]
    arguments = with_faults(r, {"covariance": joint, "members": mask[0], "runs": mask[1]})
    return _core.regressions, (), arguments, lambda found: check_regressions(arguments, found)


def ridge_call(r: random.Random, kind: str) -> Call:
    n, n_features, n_targets = r.randint(1, 12), r.randint(0, 6), r.choice((0, 1, 3, 17, 33))
    rng = np.random.default_rng(r.getrandbits(32))
    features, targets = rng.normal(size=(n, n_features)), rng.normal(size=(n, n_targets)) * r.choice((1e-9, 1.0, 1e9))
    features, targets = features - features.mean(axis=0), targets - targets.mean(axis=0)
    arguments = {
        "gram": features.T @ features,
        "pull": features.T @ targets,
        "squares": (targets**2).sum(axis=0),
        "n": n,
        "penalties": n * np.array(r.choice(((0.1,), (1e-4, 1.0, 100.0), (0.01, 0.0)))),
    }
    arguments = with_faults(r, arguments)
    return _core.ridge, (), arguments, lambda found: check_ridge(arguments, found)


def project_texts_call(r: random.Random, kind: str) -> Call:
    n_buckets, n_directions = r.choice((2, 4, 16, 64, 3, 1)), r.randint(0, 4)
    texts: Any = [r.randbytes(r.choice((0, 1, 3, 4, 5, 30, 200))) for _ in range(r.randint(0, 4))]
    rarity = np.array([r.choice((0.0, 1.0, r.random())) for _ in range(n_buckets)])
    directions = np.array([r.gauss(0.0, 1.0) for _ in range(n_buckets * n_directions)]).reshape(n_buckets, n_directions)
    arguments = with_faults(r, {"rarity": rarity, "directions": directions})
    if r.random() < 0.1:
        texts = r.choice((None, "text", ["text"], (b"text",), [b"text", None], [bytearray(b"text")], [[]], 3))

    def check(found: Any) -> str:
        require(found.shape == (len(texts), np.asarray(arguments["directions"]).shape[1]), f"shape {found.shape}")
        for row, text in enumerate(texts):
            alone = _core.project_texts([text], arguments["rarity"], arguments["directions"])
            require(np.array_equal(alone[0], found[row], equal_nan=True), f"row {row}: another vector alone")
        return "singles"

    return _core.project_texts, (), {"texts": texts, **arguments}, check


def text_sizes_call(r: random.Random, kind: str) -> Call:
    pool = ("", "a", "ab\u00e9", "\U0001f600" * 3, None, 1, b"abc", [], float("nan"))
    cells: Any = r.choices(pool, k=r.randint(0, 5))
    if r.random() < 0.2:
        cells = r.choice((None, "text", ("text",), np.array(["text"]), {"text": 1}, 3, iter([])))

    def check(found: Any) -> str:
        wanted = [len(cell) if isinstance(cell, str) else -(cell is not None) for cell in cells]
        require(found.tolist() == wanted, f"{found} instead of {wanted}")
        return "python"

    return _core.text_sizes, (), {"cells": cells}, check


NAMES = {"Routing": "routing", "ThresholdCascade": "threshold-cascade", "Cascade": "cascade"}
NAMES |= {"CascadeRouting": "cascade-routing", "IndexRule": "index"}


def policy_call(r: random.Random, kind: str) -> Call:
    kind = r.choice(KINDS)
    k, n = r.choice((1, 2, 3, 4, 6)), r.randint(1, 4)
    settings = rule_settings(r, kind, k)
    for name in ("cost_weight", "thresholds", "node_limit"):
        settings.pop(name, None)
    parameters = (r.choice(WEIGHTS), r.choice(WEIGHTS))
    policy = Policy(tuple(map(str, range(k))), NAMES[kind], settings, parameters, r.choice((0.0, 0.5, 0.5, 1.0)))
    arguments = batch(r, k, n, factor=kind != "IndexRule")
    for name in ("allowed", "max_cost"):
        arguments.pop(name, None)
    ids = [f"q-{r.randrange(10**6)}" for _ in range(n)]
    faulty = with_faults(r, arguments)
    for name in arguments:
        # The policy counts the rows of the qualities first, and hands the spreads on by row.
        has_rows = getattr(faulty[name], "ndim", isinstance(faulty[name], list | tuple))
        if name in SPREADS or (name == "quality" and not has_rows):
            faulty[name] = disguised(r, arguments[name])
    arguments = {**faulty, "ids": ids, "threads": 1}

    def check(found: Any) -> str:
        require(
            found.dtype == np.int32 and found.shape == (n,), f"expected a model for each of {n} rows, got {found!r}"
        )
        for row, query_id in enumerate(ids):
            decision = policy.rule_for(query_id).select(**row_of(arguments, row))
            alone = -1 if decision.next is None else decision.next
            require(alone == found[row], f"row {row}: {found[row]} in the batch, {alone} alone")
        return "singles"

    return policy.select_batch, (policy,), arguments, check


#: Entry -> how often it is called in a round, and how a call of it is made.
ENTRIES: dict[str, tuple[int, Callable[[random.Random, str], Call]]] = {
    **{f"{kind}.select": (8 if kind == "CascadeRouting" else 3, select_call) for kind in KINDS},
    **{f"{kind}.select_batch": (2, batch_call) for kind in KINDS},
    **{f"{kind}.profile_batch": (1, profile_call) for kind in KINDS},
    "expected_max": (4, expected_max_call),
    "expected_max_batch": (2, expected_max_batch_call),
    "regressions": (2, regressions_call),
    "ridge": (2, ridge_call),
    "project_texts": (2, project_texts_call),
    "text_sizes": (1, text_sizes_call),
    "Policy.select_batch": (2, policy_call),
}
ROUND = [entry for entry, (times, _) in ENTRIES.items() for _ in range(times)]

ARGUMENTS = (
    *(
        "quality",
        "cost",
        "variance",
        "covariance",
        "loading",
        "run",
        "allowed",
        "max_cost",
        "threads",
        "lower",
        "upper",
    ),
    *("uncertainty_scale", "with_error", "members", "runs", "texts", "rarity", "directions", "ids", "cells"),
    *("order", "thresholds", "gram", "pull", "squares", "penalties", "n", "plans", "row"),
)
NAMED = re.compile(rf"\b({'|'.join(ARGUMENTS)})\b")


def attempt(seed: int, number: int) -> tuple[str, str, str | None]:
    """Make one call: its entry, what came of it, and what was checked by other means."""
    r = random.Random(f"{seed}:{number}")
    entry = ROUND[number % len(ROUND)]
    call, owner, arguments, check = ENTRIES[entry][1](r, entry.partition(".")[0])
    begun = time.process_time()
    try:
        try:
            found = call(**arguments)
        except (ValueError, TypeError, IndexError) as error:
            told = " ".join([str(error), *getattr(error, "__notes__", ())])
            require(NAMED.search(told) is not None, f"{type(error).__name__} names no argument: {error}")
            outcome, checked = type(error).__name__, None
        else:
            outcome, checked = "result", check(found)
        seconds = time.process_time() - begun
        require(seconds < MOST_SECONDS, f"it took {seconds:.1f} s")
    except BaseException as wrong:
        if isinstance(wrong, KeyboardInterrupt):
            raise
        told = (
            f"call {number} of seed {seed}, {entry} {owner}: {type(wrong).__name__}: {wrong}\narguments: {arguments!r}"
        )
        raise WrongError(told) from wrong
    return entry, outcome, checked


# What has been found


@pytest.mark.parametrize("far", [-1e6, -1e10, -1e140])
@pytest.mark.parametrize("spread", [{}, {"variance": [0.01] * 3}], ids=["certain", "variance"])
def test_a_search_that_ends_early_at_a_far_off_model_says_how_bad_it_is(far: float, spread: Arguments) -> None:
    rule = hr.CascadeRouting(0.1, node_limit=1)
    found = rule.select([0.44, far, 0.03], [0.06, 0.04, 0.08], run=[1], **spread)
    assert found.value == pytest.approx(far if found.plan == (1,) else 0.44, abs=1e-3)
    assert found.gap >= 0.43 - found.tradeoff


@pytest.mark.parametrize("run", [[1], [1, 3], [1, 3, 4]])
@pytest.mark.parametrize("node_limit", [1, 2, 3])
def test_what_has_run_far_below_the_rest_leaves_a_gap_that_is_none_or_positive(run: list[int], node_limit: int) -> None:
    quality, cost = [0.24, -1e140, 0.61, -1e5, -1e60, 0.03], [0.04, 0.02, 0.36, 0.42, 0.1, 0.07]
    found = hr.CascadeRouting(1000.0, node_limit=node_limit).select(quality, cost, run=run)
    best = 0.24 - 1000.0 * 0.04
    assert (found.status == "bounded") == (found.gap > 0.0)
    assert found.gap >= 0.0
    assert found.tradeoff <= best + 1e-9 <= found.tradeoff + found.gap + 2e-9
    assert found.value == pytest.approx(max(quality[j] for j in found.plan), rel=1e-9)


@pytest.mark.parametrize("size", [1e-3, 1e-5, 1e-9, 1e-18, 1e-100])
@pytest.mark.parametrize(
    "spread",
    [
        {"variance": np.ones(4)},
        {"covariance": np.eye(4) + 0.2},
        {"covariance": np.array([[1.0, 0.9, 0.1, 0], [0.9, 1, 0.2, 0], [0.1, 0.2, 1, 0], [0, 0, 0, 1]])},
        {"variance": np.ones(4), "loading": np.array([0.1, 0.3, -0.2, 0.5])},
    ],
    ids=["variance", "covariance", "joint", "loading"],
)
def test_deviations_around_zero_count_at_any_size(spread: Arguments, size: float) -> None:
    zeros = np.zeros(4)
    rules = (
        (hr.CascadeRouting(1.0), hr.CascadeRouting(1.0, uncertainty_scale=size)),
        (hr.CascadeRouting(math.inf), hr.CascadeRouting(math.inf, uncertainty_scale=size)),
        (hr.Cascade(1.0), hr.Cascade(1.0, uncertainty_scale=size)),
    )
    runs: tuple[list[int], ...] = ([], [2])
    for (rule, scaled), run in itertools.product(rules, runs):
        for cost in (zeros, np.array([0.0, 0.01, 0.0, 0.0])):
            # Whatever the size, the same plan is the best: everything scales, except where the price is a tie.
            by_one = rule.select(zeros, cost, run=run, **spread)
            found = scaled.select(zeros, cost * size, run=run, **spread)
            assert (found.next, found.plan) == (by_one.next, by_one.plan)
            assert found.value == pytest.approx(size * by_one.value, rel=1e-6)
            lower, upper = [0.0], [2.0]
            pieces = scaled.profile_batch(
                [zeros], cost * size, run=run_mask(run, 4), lower=lower, upper=upper, **spread
            )
            alike = rule.profile_batch([zeros], cost, run=run_mask(run, 4), lower=lower, upper=upper, **spread)
            assert pieces[3].tolist() == alike[3].tolist()


def run_mask(run: list[int], k: int) -> list[bool]:
    return [j in run for j in range(k)]


@pytest.mark.parametrize(
    ("quality", "cost", "variance", "weight"),
    [
        ([0.016] * 8, [1.0] * 8, [0.18, 0.92, 0.19, 0.04, 0.81, 0.06, 0.89, 0.62], 7.58),
        ([0.109, 0.109, 0.109 + 4e-17], [0.16] * 3, [0.4, 0.0, 0.4], 0.68),
        ([0.8] * 3, [1e17] * 3, [2.6e-7, 0.13, 0.0], 0.0039),
    ],
)
def test_reservation_values_that_differ_by_rounding_may_come_in_any_order(
    quality: list[float], cost: list[float], variance: list[float], weight: float
) -> None:
    one: Arguments = {"quality": quality, "cost": cost, "variance": variance}
    settings = {"uncertainty_scale": 1.0, "cost_weight": weight}
    chosen = hr.IndexRule(weight).select(**one).next
    _, _, _, model = hr.IndexRule(0.0).profile_batch(
        [quality], cost, variance=variance, lower=[weight], upper=[weight * 1.001]
    )
    assert is_near_tie("IndexRule", settings, one, int(model[0]))
    assert is_near_tie("IndexRule", settings, one, int(chosen or 0))
    # A model that is worse by more than that is told apart.
    worse = {**one, "quality": [*quality[:-1], quality[-1] - max(0.01, 0.1 * weight * cost[-1])]}
    assert not is_near_tie("IndexRule", settings, worse, len(quality) - 1)


def test_a_part_of_a_covariance_is_valued_where_the_whole_is_semidefinite_to_rounding() -> None:
    factor = np.array([1.9, -0.477, 0.141])
    joint = np.outer(factor, factor)
    joint[1, 2] = joint[2, 1] = joint[1, 2] * (1.0 + 4e-8)
    one: Arguments = {"quality": [0.55] * 3, "cost": [0.1] * 3, "covariance": joint}
    assert hr.CascadeRouting(0.0).select(**one).plan
    value, _ = Problem(one, 1.0).value([1, 2])
    assert value == pytest.approx(0.55 + (0.477 + 0.141) / math.sqrt(2.0 * math.pi), rel=1e-4)


def test_a_part_of_a_covariance_is_valued_where_the_whole_is_symmetric_to_rounding() -> None:
    joint = np.diag([0.0, 0.0, 0.14])
    joint[0, 1] = 5e-324
    one: Arguments = {"quality": [0.8, 0.9, 0.6], "cost": [0.0] * 3, "covariance": joint}
    assert hr.CascadeRouting(0.0).select(**one).plan
    value, _ = Problem(one, 1.0).value([0, 1])
    assert value == pytest.approx(0.9)


@pytest.mark.parametrize(("quality", "variance"), [([0.0] * 3, [0.45, 0.84, 0.26]), ([5e-324], [1e13])])
def test_deviations_too_small_to_resolve_count_as_none(quality: list[float], variance: list[float]) -> None:
    arguments: Arguments = {"quality": quality, "variance": variance, "uncertainty_scale": 5e-324}
    found = hr.expected_max(**arguments)
    assert found == max(quality)
    for seed in range(50):
        check_expected_max(random.Random(seed), arguments, found)


@pytest.mark.parametrize("far", [-1e4, -1e10, -1e20, -1e30, -1e60, -1e140, -1e150])
@pytest.mark.parametrize("rule", [hr.Routing(0.0), hr.CascadeRouting(0.0), hr.CascadeRouting(0.0, max_depth=2)])
def test_profiles_beside_a_hopeless_model_have_the_breakpoint_of_the_others(far: float, rule: hr.Rule) -> None:
    cost = [0.07, 0.08, 0.95]
    _, lower, _, model = rule.profile_batch([[0.08, far, 0.54]], cost, lower=[0.0], upper=[math.inf])
    assert model.tolist() == [2, 0]
    assert lower[1] == pytest.approx((0.54 - 0.08) / (0.95 - 0.07), rel=1e-9)


@pytest.mark.parametrize("last", [0.0, 1e-9])
def test_qualities_that_hang_on_one_number_have_the_value_of_its_range(last: float) -> None:
    # Of equal means m and covariance l l', it is m + (max l - min l) / sqrt(2 pi).
    draws = np.random.default_rng(0).uniform(-1.0, 1.0, (300, 4)) * [0.3, 1e-4, 3e-4, 1e-5]
    for loading in np.column_stack([draws, np.full(len(draws), last)]):
        value, error = hr.expected_max([0.5] * 5, covariance=np.outer(loading, loading), with_error=True)
        exact = 0.5 + float(np.ptp(loading)) / math.sqrt(2.0 * math.pi)
        assert abs(value - exact) <= 3.0 * error + 1e-6 * float(abs(loading).max())


def test_profiles_refuse_what_decisions_refuse_beside_a_hopeless_model() -> None:
    arguments: Arguments = {
        "cost": [0.1, 0.2, 0.3],
        "covariance": [[1.0, 0.0, -2.0], [0.0, 0.0, 0.0], [-2.0, 0.0, 3.0]],
    }
    quality = [-1e10, 0.3, 0.5]
    for rule in (hr.CascadeRouting(0.1), hr.Cascade(0.1)):
        with pytest.raises(ValueError, match="positive semi-definite"):
            rule.select(quality, **arguments)
        with pytest.raises(ValueError, match="positive semi-definite"):
            rule.profile_batch([quality], lower=[0.0], upper=[1.0], **arguments)


@pytest.mark.parametrize("number", [10**400, -(10**400)])
def test_whole_numbers_that_no_float_holds_are_refused_by_name(number: int) -> None:
    calls: list[tuple[str, Callable[[], object]]] = [
        ("max_cost", lambda: hr.Routing(0.1).select([0.5], [0.1], max_cost=number)),
        ("uncertainty_scale", lambda: hr.expected_max([0.5], uncertainty_scale=number)),
        ("cost_weight", lambda: hr.CascadeRouting(number)),
        ("uncertainty_scale", lambda: hr.IndexRule(0.1, uncertainty_scale=number)),
        ("gap", lambda: hr.Decision(0, (0,), 0.5, 0.5, gap=number)),
    ]
    for name, call in calls:
        with pytest.raises(TypeError, match="a number that a float can hold") as caught:
            call()
        assert name in " ".join(caught.value.__notes__)


@pytest.mark.parametrize("free", [False, True], ids=["priced", "free"])
@pytest.mark.parametrize("ulps", [[0, 0, 0, 0, 0, 0], [0, 9, 4, -8, 3, 1], [5, 5, 0, 2, 11, 7]])
def test_models_that_differ_by_rounding_do_not_take_turns_in_a_profile(ulps: list[int], free: bool) -> None:
    quality = [0.183 + math.ulp(0.183) * n for n in ulps]
    cost, variance = [0.545] * len(ulps), [0.599] * len(ulps)
    if free:
        quality, cost, variance = [*quality, 0.183], [*cost, 0.0], [*variance, 0.0]
    one: Arguments = {"quality": quality, "cost": cost, "variance": variance}
    _, lower, upper, model = hr.IndexRule(0.0).profile_batch(
        [quality], cost, variance=variance, lower=[0.01], upper=[1.0]
    )
    # One of those alike, then the free one.
    assert len(model) == 1 + free
    if len(set(ulps)) == 1:
        assert model.tolist() == [0, len(ulps)][: 1 + free]
    for low, high, named in zip(lower, upper, model, strict=True):
        weight = float(low + 0.4 * (high - low))
        settings = {"uncertainty_scale": 1.0, "cost_weight": weight}
        chosen = hr.IndexRule(weight).select(**one).next
        assert chosen is not None
        for either in (chosen, int(named)):
            assert is_near_tie("IndexRule", settings, one, either)
        if free:
            assert not is_near_tie("IndexRule", settings, one, 0 if chosen == len(ulps) else len(ulps))


def test_profiles_end_where_prices_near_zero_have_infinite_parameters() -> None:
    quality, variance = [5.7e8, 4.3e8, 1.4e8, 7.8e8], [0.77, 0.51, 0.51, 0.51]
    cost = [1e-300, 1e-300, 1e-320, 0.1]
    rule = hr.IndexRule(0.01, uncertainty_scale=50.0)
    _, _, _, model = rule.profile_batch([quality], cost, variance=variance, lower=[0.5], upper=[math.inf])
    assert 1 <= len(model) < 8


def test_a_search_values_a_part_of_a_covariance_to_its_stated_accuracy() -> None:
    generator, worst = np.random.default_rng(7), 0.0
    for k in (3, 5, 8, 12) * 30:
        factor = generator.normal(0.0, 0.3, (k, k))
        one: Arguments = {
            "quality": generator.uniform(size=k),
            "cost": generator.uniform(size=k),
            "covariance": factor @ factor.T,
        }
        found, problem = hr.Cascade(0.1).select(**one), Problem(one, 1.0)
        value, error = problem.value(list(found.plan))
        off = abs(found.value - value)
        assert off <= accuracy_of(problem, range(k)) + error
        worst = max(worst, off / float(max(problem.deviations())))
    assert worst > 1e-4  # searches do sample


def test_a_search_of_many_scales_beside_a_small_factor_is_quick() -> None:
    r = random.Random(9)
    k = 128
    one: Arguments = {
        "quality": [r.random() for _ in range(k)],
        "cost": [r.choice((0.0, 0.03, 1.0)) for _ in range(k)],
        "variance": [abs(r.choice(POOL)) for _ in range(k)],
        "loading": [r.gauss(0.0, 0.3) for _ in range(k)],
    }
    begun = time.process_time()
    assert hr.CascadeRouting(0.5, max_depth=5, node_limit=500).select(**one).plan
    assert time.process_time() - begun < MOST_SECONDS / 2


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, where the check of a result overflows
def test_calls_end_in_a_right_result_or_a_named_error() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for number in range(CALLS):
        entry, outcome, checked = attempt(SEED, number)
        counts[entry, outcome] += 1
        counts["checked", str(checked)] += 1
    # The calls must not all be refused, nor their checks all be left out.
    for entry in ENTRIES:
        total = sum(n for (name, _), n in counts.items() if name == entry)
        assert counts[entry, "result"] > 0.2 * total, counts
    for checked in ("optimum", "singles", "pieces", "value", "regression"):
        assert counts["checked", checked] > 20, counts
