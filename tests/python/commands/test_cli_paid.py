"""The command line on a log with signals that cost something: --column-cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import headrace as hr

pytest.importorskip("typer")

from command_line import RUNNER, invoked, saved

from headrace.commands import app

BUDGET = "0.004"


@pytest.fixture(scope="module")
def table() -> hr.Outcomes:
    plain = hr.datasets.simulate(300, 2, noise="high")
    judge = plain.quality + np.random.default_rng(7_000).normal(0.0, 0.1, plain.quality.shape)
    return hr.Outcomes(
        models=plain.models,
        quality=plain.quality,
        cost=plain.cost,
        queries=dict(plain.queries),
        responses={"judge": judge},
    )


def test_fit_says_what_it_buys_as_the_router_does(table: hr.Outcomes, tmp_path: Path) -> None:
    log, out = saved(tmp_path, table), tmp_path / "router.headrace"
    given = ["fit", log, "--column-cost", "judge=0.0002", "--budget", BUDGET, "--rule", "routing", "--out", str(out)]
    numbers = invoked(*given)
    priced = hr.Outcomes.from_file(log, column_cost={"judge": 0.0002})
    router = hr.Router(rule="routing").fit(priced, budget=float(BUDGET))
    assert router.signals_ is not None
    assert numbers["bought"] == list(router.bought_)
    assert numbers["signals"] == router.signals_.words
    assert tuple(hr.load(out).wanted) == router.bought_
    printed = RUNNER.invoke(app, [*given, "--force"]).stdout
    assert f"at this budget it buys {' and '.join(router.bought_) or 'nothing'} after each run" in printed


def test_path_says_which_columns_it_buys(table: hr.Outcomes, tmp_path: Path) -> None:
    given = ["path", saved(tmp_path, table), "--column-cost", "judge=0.0002"]
    result = RUNNER.invoke(app, given)
    assert result.exit_code == 0, result.output
    assert "this path is that of buying judge after each run" in result.stdout
    assert "judge pays" in result.output
    assert invoked(*given)["bought"] == ["judge"]
    assert invoked("path", saved(tmp_path, table))["bought"] == []


def test_a_converted_log_keeps_its_prices(table: hr.Outcomes, tmp_path: Path) -> None:
    out = tmp_path / "priced.jsonl"
    result = RUNNER.invoke(app, ["convert", saved(tmp_path, table), str(out), "--column-cost", "judge=0.0002"])
    assert result.exit_code == 0, result.output
    assert np.unique(hr.Outcomes.from_file(out).column_cost["judge"]).tolist() == [0.0002]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("jugde=1", "column_cost: expected response columns, 'judge'; got 'jugde'"),
        ("judge", "--column-cost: expected name=value, each name once; got judge"),
        ("judge=cheap", "--column-cost: expected name=number; got judge=cheap"),
    ],
)
def test_what_is_no_price_is_told_in_a_line(table: hr.Outcomes, tmp_path: Path, given: str, message: str) -> None:
    result = RUNNER.invoke(app, ["fit", saved(tmp_path, table), "--column-cost", given, "--budget", BUDGET])
    assert result.exit_code == 1
    assert message in result.output
