"""The monitor: whether cost and quality, as they come in, are still those that calibration promised.

Means are compared by a confidence sequence, an interval that holds at all times at once, so that looking often doesn't
raise false alarms: the predictable plug-in empirical Bernstein sequence of Waudby-Smith and Ramdas (JRSS B 2024,
theorem 2). It needs a few numbers of state and no history. Both what was promised (a mean of the calibration queries)
and what is seen have such an interval, each at half of the error allowed; only where the two don't meet, something has
drifted.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from headrace.arguments import checked_confidence, checked_number
from headrace.serving.decider import Decider
from headrace.serving.session import Session

__all__ = ["ConfidenceSequence", "Monitor", "Watch"]

#: Bets are at most this, so that the weights of single values stay bounded.
LARGEST_BET = 0.5


class Watch(NamedTuple):
    """What is known of one quantity.

    Attributes
    ----------
    name : str
        The cost's name, or "quality".
    n : int
        Number of values seen.
    mean : float
        Their mean; NaN before the first.
    low, high : float
        Confidence interval of the mean they come from, valid at all times at once.
    promised : float
        Mean on the calibration queries.
    promised_low, promised_high : float
        Confidence interval of that.
    verdict : {"as promised", "above", "below"}
    """

    name: str
    n: int
    mean: float
    low: float
    high: float
    promised: float
    promised_low: float
    promised_high: float
    verdict: str


class ConfidenceSequence:
    """A confidence sequence of the mean of values in an interval: values outside count as its nearer end.

    Parameters
    ----------
    least, greatest : float
        Ends of the interval.
    confidence : float

    Examples
    --------
    >>> from headrace.serving import ConfidenceSequence
    >>> sequence = ConfidenceSequence(0.0, 1.0, 0.95)
    >>> for value in [0.0, 1.0] * 500:
    ...     sequence.add(value)
    >>> sequence.n, sequence.mean, [round(end, 2) for end in sequence.interval]
    (1000, 0.5, [0.44, 0.56])
    """

    def __init__(self, least: float, greatest: float, confidence: float) -> None:
        self.n = 0
        self.mean = math.nan
        self._least, self._width = least, max(greatest - least, 1e-300)
        self._log = math.log(2.0 / (1.0 - confidence))
        # Running sums of values and squared deviations, started as if one value had been 1/2.
        self._sum, self._squares = 0.5, 0.25
        self._bets = self._weighted = self._penalty = 0.0
        self._total = 0.0
        self._low, self._high = 0.0, 1.0

    def add(self, value: float) -> None:
        """Take in a value."""
        self.n += 1
        self._total += value
        self.mean = self._total / self.n
        x = min(max((value - self._least) / self._width, 0.0), 1.0)
        before = self._sum / self.n
        variance = self._squares / self.n
        bet = min(math.sqrt(2.0 * self._log / (variance * self.n * math.log1p(self.n))), LARGEST_BET)
        self._bets += bet
        self._weighted += bet * x
        self._penalty += (x - before) ** 2 * (-math.log1p(-bet) - bet)
        self._sum += x
        self._squares += (x - self._sum / (self.n + 1)) ** 2
        centre, radius = self._weighted / self._bets, (self._log + self._penalty) / self._bets
        # An interval that holds at all times may be intersected with the earlier ones.
        self._low, self._high = max(self._low, centre - radius), min(self._high, centre + radius)

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the confidence interval."""
        return self._least + self._low * self._width, self._least + self._high * self._width


class Monitor:
    """Watches whether cost and quality of served queries are still those of the calibration.

    Parameters
    ----------
    decider : Decider
        The one that serves, as it came from a router.
    confidence : float, default 0.95
        Probability that no quantity is ever said to have drifted while none has, however often one looks.

    Raises
    ------
    ValueError
        A decider that was made by `Decider.with_budget`: it doesn't hold what calibration saw at that budget.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.datasets import NoisyOracle, simulate
    >>> from headrace.serving import Monitor
    >>> router = hr.Router(quality=NoisyOracle()).fit(simulate(2000, 3), budget=0.002)
    >>> monitor = Monitor(router.decider_)
    >>> for _ in range(1000):
    ...     monitor.observe(0.003)
    >>> [(watch.name, watch.n, watch.verdict) for watch in monitor.report()]
    [('cost', 1000, 'above'), ('quality', 0, 'as promised')]
    """

    def __init__(self, decider: Decider, *, confidence: float = 0.95) -> None:
        if decider.promised is None:
            raise ValueError("decider: expected one that a router made; this one has another budget than its router")
        promised, ends = decider.promised.values, decider.promised.ends
        confidence = checked_confidence(confidence)
        # One half of the error for what was promised, one for what comes; shared between the quantities.
        each = 1.0 - (1.0 - confidence) / (2.0 * len(promised))
        self._promised = {name: ConfidenceSequence(*ends[name], each) for name in promised}
        self._seen = {name: ConfidenceSequence(*ends[name], each) for name in promised}
        for name, values in promised.items():
            for value in values.tolist():
                self._promised[name].add(value)

    def observe(self, run: Session | float | dict[str, float], *, quality: float | None = None) -> None:
        """Take in what a query cost, and how good its answer was where that is known.

        Parameters
        ----------
        run : Session, float or dict of str to float
            A session that has ended, or what it cost: of several costs, the first, or each by name.
        quality : float, optional

        Raises
        ------
        TypeError, ValueError
            A cost or a quality that isn't a number, or a cost of another name.
        """
        costs = (
            run.costs if isinstance(run, Session) else run if isinstance(run, dict) else {next(iter(self._seen)): run}
        )
        values = {**costs} if quality is None else {**costs, "quality": quality}
        for name, value in values.items():
            if name not in self._seen:
                raise ValueError(
                    f"run: unknown cost {name!r}; known: {', '.join(n for n in self._seen if n != 'quality')}"
                )
            argument = "quality" if name == "quality" else "run"
            values[name] = checked_number(argument, value)
            if not math.isfinite(values[name]):
                raise ValueError(f"{argument}: expected a finite number, got {value}")
        for name, value in values.items():
            self._seen[name].add(value)

    def report(self) -> list[Watch]:
        """Say of each quantity what was promised, what is seen, and whether they differ by more than chance."""
        watches = []
        for name, seen in self._seen.items():
            (low, high), (least, most) = seen.interval, self._promised[name].interval
            verdict = "above" if low > most else "below" if high < least else "as promised"
            watches.append(Watch(name, seen.n, seen.mean, low, high, self._promised[name].mean, least, most, verdict))
        return watches

    @property
    def drifted(self) -> bool:
        """Whether any quantity differs from its promise by more than chance."""
        return any(watch.verdict != "as promised" for watch in self.report())
