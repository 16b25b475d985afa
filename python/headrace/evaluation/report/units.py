"""One way of writing qualities and costs: in words, tables and pictures, on the command line and on pages.

Qualities between 0 and 1 are written in percent, and their differences in points; all others in their own unit. Costs
carry the name of their column, and are written per 1,000 queries, too, where one query costs next to nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.arguments import FloatArray
from headrace.evaluation.bootstrap import Estimate
from headrace.evaluation.scorecard import Scorecard
from headrace.outcomes import Outcomes

__all__ = ["Units"]

#: Costs below this are written per 1,000 queries, too.
TINY = 0.01

#: A column of this name doesn't say its unit.
NAMELESS = "cost"


class Units(NamedTuple):
    """How qualities and costs are written.

    Attributes
    ----------
    scale : float
        What a quality is multiplied by: 100 for percent.
    sign : str
        Behind a quality: "%", or nothing.
    word : str
        Behind a difference: " points", or nothing.
    digits : int
        Decimals of a quality.
    cost : str
        Unit of the costs, or nothing where it isn't known.

    Examples
    --------
    >>> from headrace.evaluation.report.units import Units
    >>> percent = Units()
    >>> percent.quality(0.6834), percent.spent(0.003)
    ('68.3%', '0.003 per query (3.00 per 1,000)')
    >>> own = Units(scale=1.0, sign="", word="", cost="usd")
    >>> own.quality(89.0), own.spent(1.5)
    ('89.0', '1.5 usd per query')
    """

    scale: float = 100.0
    sign: str = "%"
    word: str = " points"
    digits: int = 1
    cost: str = ""

    @classmethod
    def of(cls, card: Scorecard, cost_unit: str = "") -> Units:
        """Give the units of an evaluation."""
        lowest, highest = card.quality_range
        return cls.between(lowest, highest, cost_unit or _unit(card.cost_name))

    @classmethod
    def of_table(cls, outcomes: Outcomes, cost_unit: str = "") -> Units:
        """Give the units of a table."""
        lowest, highest = float(np.nanmin(outcomes.quality)), float(np.nanmax(outcomes.quality))
        return cls.between(lowest, highest, cost_unit or _unit(outcomes.cost_name))

    @classmethod
    def between(cls, lowest: float, highest: float, cost: str = "") -> Units:
        """Give the units of qualities between two ends.

        Examples
        --------
        >>> from headrace.evaluation.report.units import Units
        >>> Units.between(0.0, 1.0).quality(0.5), Units.between(0.0, 100.0).quality(50.0)
        ('50.0%', '50.0')
        >>> Units.between(1.0, 5.0).quality(3.5), Units.between(-1.0, 1.0).quality(0.5)
        ('3.50', '0.500')
        """
        if lowest >= 0.0 and highest <= 1.0:
            return cls(cost=cost)
        size = max(abs(lowest), abs(highest))
        return cls(1.0, "", "", 1 if size > 20.0 else 2 if size > 2.0 else 3, cost)

    @property
    def axis(self) -> str:
        """What an axis or a column of qualities is called."""
        return "quality (%)" if self.sign else "quality"

    def number(self, quality: float, more: int = 0) -> str:
        """Write a quality without its sign, with a few more decimals."""
        return _plain(self.scale * quality, self.digits + more)

    def quality(self, quality: float) -> str:
        """Write a quality."""
        return self.number(quality) + self.sign

    def within(self, quality: Estimate, more: int = 0) -> str:
        """Write a quality and its interval, without the sign: for a column."""
        return (
            f"{self.number(quality.value, more)} [{self.number(quality.low, more)}, {self.number(quality.high, more)}]"
        )

    def signed(self, difference: Estimate, more: int = 0) -> str:
        """Write a difference and its interval, without the word: for a column.

        Examples
        --------
        >>> from headrace.evaluation.bootstrap import Estimate
        >>> from headrace.evaluation.report.units import Units
        >>> Units().signed(Estimate(0.0123, -0.0001, 0.02)), Units().signed(Estimate(-1e-6, -1e-5, 1e-5))
        ('+1.2 [0.0, +2.0]', 'none (below 0.1)')
        """
        digits = self.digits + more
        value, low, high = (_plain(self.scale * end, digits, "+") for end in difference)
        if _is_zero(low) and _is_zero(high) and _is_zero(value):
            return f"none (below {10.0**-digits:g})"
        return f"{value} [{low}, {high}]"

    def difference(self, difference: Estimate) -> str:
        """Write a difference of qualities with its interval; one that can't be seen is no interval of zeros.

        Examples
        --------
        >>> from headrace.evaluation.bootstrap import Estimate
        >>> from headrace.evaluation.report.units import Units
        >>> Units().difference(Estimate(0.0123, -0.001, 0.02)), Units().difference(Estimate(0.0, -1e-5, 1e-5))
        ('+1.2 points [-0.1, +2.0]', 'less than 0.1 points')
        """
        value, low, high = (_plain(self.scale * end, self.digits, "+") for end in difference)
        if _is_zero(low) and _is_zero(high) and _is_zero(value):
            return f"less than {10.0**-self.digits:g}{self.word}"
        return f"{value}{self.word} [{low}, {high}]"

    def amount(self, cost: float) -> str:
        """Write a cost with its unit."""
        return f"{cost:.4g} {self.cost}".strip()

    def spent(self, cost: float, *, inside: bool = False) -> str:
        """Write a mean cost per query; where it is tiny, per 1,000 queries, too, in brackets unless inside of some."""
        thousand = f"{_three(1000.0 * cost)} per 1,000" if 0.0 < abs(cost) < TINY else ""
        more = (f", {thousand}" if inside else f" ({thousand})") if thousand else ""
        return f"{self.amount(cost)} per query{more}"

    def ticks(self, qualities: FloatArray) -> list[str]:
        """Write the numbers of an axis."""
        return [f"{_plain(self.scale * float(quality), 6):s}".rstrip("0").rstrip(".") for quality in qualities]


def _unit(cost_name: str) -> str:
    return "" if cost_name == NAMELESS else cost_name


def _three(number: float) -> str:
    """Write three significant digits, trailing zeros kept: 3.00."""
    return f"{number:#.3g}".rstrip(".")


def _plain(number: float, digits: int, sign: str = "") -> str:
    """Write a number; one that rounds to zero has no sign."""
    text = f"{number:{sign}.{digits}f}"
    return text.lstrip("+-") if _is_zero(text) else text


def _is_zero(text: str) -> bool:
    return not text.strip("+-0.")
