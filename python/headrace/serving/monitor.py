"""The monitor: whether cost and quality, as they come in, are still those that calibration promised.

Mean cost and quality change slowly with the price of one model. So each model is watched by itself, too: what its runs
cost over what the decider expected, by ranks (`headrace.serving.ranks`), which see a change within few runs.

Means are compared by a confidence sequence, an interval that holds at all times at once, so that looking often doesn't
raise false alarms: the predictable plug-in empirical Bernstein sequence of Waudby-Smith and Ramdas (JRSS B 2024,
theorem 2). It needs a few numbers of state and no history. Both what was promised (a mean of the calibration queries)
and what is seen have such an interval, each at half of the error allowed; only where the two don't meet, something has
drifted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headrace.arguments import checked_confidence, checked_number, listed
from headrace.serving.columns import checked_cost
from headrace.serving.decider import Decider
from headrace.serving.promised import log_ratio
from headrace.serving.ranks import RankDetector
from headrace.serving.session import Session

__all__ = ["ConfidenceSequence", "Monitor", "Watch"]

#: Bets are at most this, so that the weights of single values stay bounded.
LARGEST_BET = 0.5


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What is known of one quantity: a mean, or what a model's runs cost over what they were expected to.

    Attributes
    ----------
    name : str
        The cost's name, "quality", or e.g. "cost of small".
    n : int
        Number of values seen.
    mean : float
        Their mean; NaN before the first. Of a model, the geometric mean of its latest ratios, about a hundred.
    low, high : float
        Confidence interval of the mean they come from, valid at all times at once; NaN of a model, judged by ranks.
    promised : float
        Mean on the calibration queries; of a model, NaN where it didn't run there.
    promised_low, promised_high : float
        Confidence interval of that; NaN of a model.
    verdict : {"as promised", "above", "below"}
    """

    name: str
    n: int
    mean: float
    low: float = math.nan
    high: float = math.nan
    promised: float
    promised_low: float = math.nan
    promised_high: float = math.nan
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
        self.n: int = 0
        self.mean: float = math.nan
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
        Probability that no quantity is ever said to have drifted while none has, however often one looks: all costs,
        quality and models together.

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

    A model that is now half as expensive again, whose cost the decider expects to be 0.001:

    >>> for _ in range(100):
    ...     monitor.ran("model-2", cost=0.0015, expected=0.001)
    >>> watch = monitor.report()[-1]
    >>> watch.name, round(watch.mean, 3), watch.verdict
    ('cost of model-2', 1.5, 'above')
    """

    def __init__(self, decider: Decider, *, confidence: float = 0.95) -> None:
        if decider.promised is None:
            raise ValueError("decider: expected one that a router made; this one has another budget than its router")
        promised, ends = decider.promised.values, decider.promised.ends
        confidence = checked_confidence(confidence)
        # Shared between the quantities; of means, one half for what was promised, one for what comes.
        self._models, ratios = decider.models, decider.promised.ratios
        share = (1.0 - confidence) / (len(promised) + len(self._models))
        each = 1.0 - share / 2.0
        self._promised = {name: ConfidenceSequence(*ends[name], each) for name in promised}
        self._seen = {name: ConfidenceSequence(*ends[name], each) for name in promised}
        for name, values in promised.items():
            for value in values.tolist():
                self._promised[name].add(value)
        self._ratios = {name: RankDetector(ratios.get(name, np.empty(0)), 1.0 - share) for name in self._models}
        self._expected = {name: float(np.exp(values.mean())) for name, values in ratios.items()}

    def ran(self, model: str, *, cost: float, expected: float) -> None:
        """Take in what one run of a model cost, of several costs the first, and what it was expected to just before.

        Where the fit has nothing to compare with, as when several costs are traded, the first runs stand for it. A run
        whose cost isn't known, or a failed one, needn't be told.

        Parameters
        ----------
        model : str
        cost : float
        expected : float
            The decider's estimate when it chose the model.

        Raises
        ------
        TypeError, ValueError
            An unknown model; a cost that isn't a finite number >= 0.
        """
        if model not in self._ratios:
            raise ValueError(f"model: unknown model {model!r}; known: {listed(self._models)}")
        costs = checked_cost("cost", cost), checked_cost("expected", expected)
        self._ratios[model].add(float(log_ratio(*costs)))

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
        """Say of each quantity what was promised, what is seen, and whether they differ by more than chance.

        Costs by name, quality, then each model that ran.
        """
        watches = []
        for name, seen in self._seen.items():
            (low, high), (least, most) = seen.interval, self._promised[name].interval
            verdict = "above" if low > most else "below" if high < least else "as promised"
            watches.append(
                Watch(
                    name=name,
                    n=seen.n,
                    mean=seen.mean,
                    low=low,
                    high=high,
                    promised=self._promised[name].mean,
                    promised_low=least,
                    promised_high=most,
                    verdict=verdict,
                )
            )
        watches += [
            Watch(
                name=f"{next(iter(self._seen))} of {model}",
                n=ratio.n,
                mean=math.exp(ratio.latest),
                promised=self._expected.get(model, math.nan),
                verdict=ratio.verdict,
            )
            for model, ratio in self._ratios.items()
            if ratio.n
        ]
        return watches

    @property
    def drifted(self) -> bool:
        """Whether any quantity differs from its promise by more than chance."""
        return any(watch.verdict != "as promised" for watch in self.report())
