"""What goes on in a gateway: numbers of this process, for the page and for Prometheus."""

from __future__ import annotations

import math
import time
from collections import Counter as Counted
from collections import defaultdict, deque
from contextlib import suppress
from typing import Any

from headrace.extras import imported
from headrace.runner import Exhausted, Result, Runner
from headrace.serving import Decider

__all__ = ["Live", "amount", "reason"]

#: Queries of the page's curve, and decisions that it lists.
N_CURVE, N_LISTED = 400, 10

#: Queries that one point of the curve is the mean of.
N_MEAN = 25

#: Ends of the histogram's classes, in seconds.
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

#: Why there was no further call, where it wasn't the plan that wanted none.
STOPPED = {
    "deadline": "the deadline came",
    "exhausted": "no model was left",
    "error": "an estimate failed",
    "shadow": "one model serves all queries",
}

#: Half the width of a 95% interval, in standard errors.
TWO_SIDED = 1.96


class Live:
    """Counts what a gateway answers.

    Parameters
    ----------
    decider : Decider
        The one that decides.
    """

    def __init__(self, decider: Decider) -> None:
        prometheus = imported("prometheus_client", "the gateway")
        self._exposed = prometheus.generate_latest
        self._registry = registry = prometheus.CollectorRegistry()
        self._answers = prometheus.Counter(
            "headrace_answers", "Queries answered.", ["model", "stopped"], registry=registry
        )
        self._attempts = prometheus.Counter(
            "headrace_attempts", "Calls of models, by how they ended.", ["model", "kind"], registry=registry
        )
        self._spent = prometheus.Counter("headrace_cost", "Cost of all calls.", ["model"], registry=registry)
        self._errors = prometheus.Counter("headrace_errors", "Requests without an answer.", ["code"], registry=registry)
        self._seconds = prometheus.Histogram(
            "headrace_seconds", "Seconds to the answer.", registry=registry, buckets=SECONDS
        )
        self._expected = prometheus.Gauge("headrace_expected_cost", "Mean cost that is expected.", registry=registry)
        self._begun = time.time()
        self._last: deque[Result] = deque(maxlen=N_LISTED)
        self._costs: deque[float] = deque(maxlen=N_CURVE)
        self._by: Counted[str] = Counted()
        self._spent_by: defaultdict[str, float] = defaultdict(float)
        self._n = self._n_errors = 0
        self._total = self._squares = self._total_alone = 0.0
        self._qualities: list[float] = [0.0, 0.0, 0.0]
        self.swapped(decider)

    def swapped(self, decider: Decider) -> None:
        """Take in that another decider decides."""
        self._expected.set(decider.point.cost)

    def answered(self, result: Result) -> None:
        """Take in an answer."""
        self._count(result)
        self._answers.labels(result.model, result.stopped).inc()
        self._seconds.observe(result.seconds)
        self._last.appendleft(result)
        self._costs.append(result.cost)
        self._by[str(result.model)] += 1
        self._n += 1
        self._total += result.cost
        self._squares += result.cost**2
        self._total_alone += _most_expensive(result)

    def refused(self, error: Exception) -> None:
        """Take in a request without an answer."""
        self._n_errors += 1
        self._errors.labels(type(error).__name__).inc()
        if isinstance(error, Exhausted):
            self._count(error.result)

    def feedback(self, quality: float) -> None:
        """Take in how good an answer was."""
        n, total, squares = self._qualities
        self._qualities = [n + 1, total + quality, squares + quality**2]

    @property
    def last(self) -> Result | None:
        """The last answer."""
        return self._last[0] if self._last else None

    def prometheus(self) -> bytes:
        """Give the numbers as Prometheus reads them."""
        exposed: bytes = self._exposed(self._registry)
        return exposed

    def state(self, runner: Runner) -> dict[str, Any]:
        """Give what the page shows, ready for JSON but for numbers that aren't finite."""
        decider = runner.decider
        alarms = [watch.name for watch in runner.report() if watch.verdict != "as promised"]
        return {
            "policy": decider.fingerprint,
            "rule": decider.policy.rule,
            "since": self._begun,
            "cost_name": decider.policy.costs[0],
            "budget": None if decider.budget is None else decider.budget.get(decider.policy.costs[0]),
            "expected": {"cost": decider.point.cost, "quality": decider.point.quality, "runs": decider.point.n_runs},
            "n": self._n,
            "errors": self._n_errors,
            "cost": _mean(self._n, self._total, self._squares),
            "quality": _mean(*self._qualities),
            "saved": 1.0 - self._total / self._total_alone if self._total_alone else None,
            "total": self._total,
            "total_alone": self._total_alone,
            "curve": _curve(list(self._costs), self._n),
            "models": [{"model": name, "n": self._by[name], "cost": self._spent_by[name]} for name in decider.models],
            "left_alone": list(runner.left_alone),
            "alarms": alarms,
            "last": [_told(result) for result in self._last],
        }

    def _count(self, result: Result) -> None:
        for attempt in result.attempts:
            self._attempts.labels(attempt.model, attempt.kind).inc()
            cost = next(iter(attempt.cost.values()))
            self._spent.labels(attempt.model).inc(cost)
            self._spent_by[attempt.model] += cost


def amount(cost: float) -> str:
    """Write a cost with the two digits that count.

    Examples
    --------
    >>> from headrace.gateway.live import amount
    >>> amount(2.81e-05), amount(0.5), amount(1234.5), amount(0.0)
    ('0.000028', '0.50', '1234', '0')
    """
    if not cost or not math.isfinite(cost):
        return f"{cost:g}"
    return f"{cost:.{max(1 - math.floor(math.log10(abs(cost))), 0)}f}"


def reason(result: Result) -> str:
    """Say in a few words why no further model was called."""
    if result.stopped in STOPPED:
        return STOPPED[result.stopped]
    why = result.why()
    if why.next is not None:
        return "streamed: decided before its first word"
    costs = {one["model"]: one["cost"] for one in why.models}
    if why.runner_up not in costs:
        return "no other model may run" if why.excluded else "all models have run"
    return f"sure enough: {why.runner_up} isn't worth another {amount(costs[why.runner_up])}"


def _most_expensive(result: Result) -> float:
    """Tell what the most expensive model alone was expected to cost; where that can't be estimated, what was spent."""
    with suppress(Exception):
        session = result.session
        return max(next(iter(session.expected(name)[1].values())) for name in session.models)
    return result.cost


def _mean(n: float, total: float, squares: float) -> dict[str, float] | None:
    """Give a mean with its 95% interval."""
    if n < 1:
        return None
    mean = total / n
    variance = max(squares / n - mean**2, 0.0) * n / max(n - 1, 1)
    half = TWO_SIDED * math.sqrt(variance / n)
    return {"n": n, "mean": mean, "low": mean - half, "high": mean + half}


def _curve(costs: list[float], n: int) -> list[dict[str, float]]:
    """Give means of successive queries, with their intervals; of the first ones, before there are enough, one mean.

    Its points stand still: they begin at every 25th query since the start.
    """
    first = (len(costs) - n) % N_MEAN
    parts = [costs[start : start + N_MEAN] for start in range(first, len(costs) - N_MEAN + 1, N_MEAN)]
    parts = parts or [costs] * (len(costs) > 1)
    means = [_mean(len(part), sum(part), sum(cost**2 for cost in part)) for part in parts]
    return [mean for mean in means if mean is not None]


def _told(result: Result) -> dict[str, Any]:
    """Give a decision as the page lists it; without a word of the query or of the answer."""
    return {
        "id": result.id,
        "calls": [{"model": attempt.model, "kind": attempt.kind} for attempt in result.attempts],
        "model": result.model,
        "cost": result.cost,
        "seconds": result.seconds,
        "reason": reason(result),
    }
