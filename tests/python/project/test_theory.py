"""The numbers of docs/theory.md are those that the code gives."""

from __future__ import annotations

import doctest
import itertools
import math
import re
from pathlib import Path

import pytest
from scipy.stats import norm

import headrace as hr

PAGE = Path(__file__).parents[3] / "docs" / "theory.md"
COST = [0.05, 0.10, 0.20, 0.50, 1.00]
STEPS = [
    ([0.10, 0.15, 0.60, 0.40, 0.80], [0.001, 0.001, 0.09, 0.01, 0.09], ()),
    ([0.45, 0.40, 0.35, 0.30, 0.40], [0.06, 0.05, 0.0, 0.01, 0.03], (2,)),
]

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the tests run without the source tree")


def test_the_examples_print_what_the_page_says() -> None:
    assert doctest.testfile(str(PAGE), module_relative=False).failed == 0


@pytest.mark.parametrize("step", [0, 1])
def test_the_tables_are_right(step: int) -> None:
    quality, variance, run = STEPS[step]
    page = PAGE.read_text(encoding="utf-8").split("## 3.")[1].split("## 4.")[0]
    tables = re.findall(r"((?:\| \{m.*\n)+)", page)
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in tables[step].splitlines()]
    assert len(rows) == 5
    for name, value, cost, tradeoff in rows:
        members = [int(digit) - 1 for digit in re.findall(r"m(\d)", name)]
        found = hr.expected_max([quality[i] for i in members], variance=[variance[i] for i in members])
        to_come = sum(COST[i] for i in members if i not in run)
        assert float(value) == pytest.approx(float(getattr(found, "value", found)), abs=6e-5)
        assert float(cost) == pytest.approx(to_come)
        assert float(tradeoff) == pytest.approx(float(value) - 0.25 * to_come, abs=1e-4)
    assert [float(row[3]) for row in rows] == sorted((float(row[3]) for row in rows), reverse=True)


def test_clarks_formula_gives_the_number_by_hand() -> None:
    spread = math.sqrt(0.18)
    d = 0.2 / spread
    value = 0.8 * norm.cdf(d) + 0.6 * norm.cdf(-d) + spread * norm.pdf(d)
    assert value == pytest.approx(0.8877, abs=5e-5)
    assert 0.6 + 0.3 / math.sqrt(math.pi) == pytest.approx(0.77, abs=1e-3)


@pytest.mark.parametrize("step", [0, 1])
def test_the_algorithm_box_is_what_the_rule_does(step: int) -> None:
    quality, variance, run = STEPS[step]
    best, plan = -math.inf, ()
    for size in range(max(len(run), 1), 6):
        for members in itertools.combinations(range(5), size):
            if set(run) <= set(members):
                value = hr.expected_max([quality[i] for i in members], variance=[variance[i] for i in members])
                tradeoff = getattr(value, "value", value) - 0.25 * sum(COST[i] for i in members if i not in run)
                if tradeoff > best:
                    best, plan = tradeoff, members
    decision = hr.CascadeRouting(cost_weight=0.25).select(quality=quality, cost=COST, variance=variance, run=list(run))
    assert decision.plan == plan
    assert decision.next == min((i for i in plan if i not in run), key=lambda i: COST[i])
