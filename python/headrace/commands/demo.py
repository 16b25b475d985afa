"""``headrace demo``: the rules against each other, on the bundled table or on one's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import headrace as hr
from headrace.arguments import FloatArray
from headrace.commands.console import (
    AsJson,
    Cost,
    MaxDepth,
    Seed,
    Verified,
    names_in,
    notes,
    print_json,
    print_table,
    progress_bar,
    read_log,
    told,
)
from headrace.commands.outputs import Force, attempted, check_output
from headrace.evaluation import Evaluation, Scorecard
from headrace.evaluation.baselines import AGREEMENT, CLUSTERS, LABELS, LINEAR, PAIRS
from headrace.evaluation.curves import budget_grid
from headrace.evaluation.report.picture import check_drawable, draw
from headrace.evaluation.report.units import Units
from headrace.evaluation.report.verdict import verdict
from headrace.rules import RULES

EXAMPLES = (
    "Examples: [bold]headrace demo[/]; "
    "[bold]headrace demo --data log.parquet --models small,medium,large --out curve.png[/]"
)

#: Most models that the demo compares unless told which.
MOST_MODELS = 5

#: The router's rule.
RULE = "cascade-routing"

#: What it is compared with, in the order of the tables.
BASELINES = (LINEAR, *(rule for rule in RULES if rule != RULE), PAIRS, AGREEMENT, CLUSTERS)

#: Budgets of the table, as shares of the way (in logarithms) from the cheapest model to the most expensive one.
SHOWN_BUDGETS = (0.25, 0.5, 0.75)

#: Name of the picture where none is given; the demo replaces its own.
PICTURE = "headrace-demo.png"


def demo(
    data: Annotated[
        Path | None, typer.Option(help="Your own table (.parquet, .csv, .json or .jsonl); the bundled one by default.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Models to compare, comma separated; up to five efficient ones by default.")
    ] = None,
    cost: Cost = None,
    verified: Verified = False,
    fit_share: Annotated[float, typer.Option(help="Share of the queries that is fitted on.", min=0.05, max=0.95)] = 0.5,
    max_depth: MaxDepth = 5,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help=f"Where the picture goes; {PICTURE} by default.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Fit on one part of a table, test on the other, and compare the rules at many budgets."""
    started = time.perf_counter()
    # Progress and remarks go to stderr, results to stdout.
    console, picture_path = notes(), out or Path(PICTURE)
    with told(console):
        check_output("--out", picture_path, reads=[data], force=force or out is None)
        check_drawable(picture_path, argument="--out")
        table, unit = _table(data, models=models, cost=cost, verified=verified)
        complete = table.complete() if table.n_missing else table
        fitting, test = complete.split(fit_share, rng=seed)
        if models is None and fitting.n_models > MOST_MODELS:
            names = efficient_models(fitting)
            fitting, test = fitting.select(names), test.select(names)
        console.print(
            f"{'bundled quickstart table' if data is None else data.name}: {len(table)} queries, "
            f"{len(table) - len(complete)} left out for missing cells; "
            f"{len(fitting)} to fit on, {len(test)} to test on, {fitting.n_models} models"
        )
        with progress_bar(console, *(LABELS[method] for method in (RULE, *BASELINES))) as progress:
            evaluation = judged(fitting, test, max_depth, seed, lambda method, share: progress(LABELS[method], share))
    title = "Quickstart digits: five classifiers" if data is None else data.stem
    picture = attempted(partial(draw, evaluation, picture_path, title=title, cost_unit=unit))
    if as_json:
        print_json({**evaluation.to_dict(), "picture": picture.path and str(picture.path)})
    else:
        show(evaluation, unit)
    with told(console):
        if picture.failure is not None:
            raise picture.failure
    if not as_json:
        console.print(f"picture: {picture.path}; {time.perf_counter() - started:.1f} s")


def judged(
    fitting: hr.Outcomes, test: hr.Outcomes, max_depth: int, seed: int, progress: Callable[[str, float], None]
) -> Evaluation:
    """Fit a router of linear estimators for the middle one of the budgets shown, and evaluate it."""
    router = hr.Router(quality="linear", rule=RULE, max_depth=max_depth, seed=seed)
    router.fit(fitting, progress=partial(progress, RULE))
    budgets = budget_grid(fitting)
    shown = shown_budgets(budgets[budgets >= router.path_.cost.min()])
    if len(shown):
        router = router.with_budget(float(shown[len(shown) // 2]))
    return hr.evaluate(
        router, test, baselines=BASELINES, fitting=fitting, budgets=budgets, seed=seed, progress=progress
    )


def _table(data: Path | None, *, models: str | None, cost: list[str] | None, verified: bool) -> tuple[hr.Outcomes, str]:
    """Read the table, and the unit of its costs where it is known."""
    if data is not None:
        return read_log(data, models=models, cost=cost, verified=verified), ""
    table, chosen = hr.datasets.load_quickstart(), names_in(models)
    return (table if chosen is None else table.select(chosen)), "microseconds"


def efficient_models(outcomes: hr.Outcomes) -> list[str]:
    """Choose up to five models that no other one beats in both mean cost and mean quality, spread over the costs.

    Examples
    --------
    >>> import numpy as np
    >>> import headrace as hr
    >>> table = hr.Outcomes(models=["a", "b", "c"], quality=[[0.5, 0.4, 0.9]] * 2, cost=[1.0, 2.0, 3.0])
    >>> efficient_models(table)
    ['a', 'c']
    """
    cost, quality = outcomes.mean_cost, outcomes.mean_quality
    front: list[int] = []
    for j in np.lexsort((-quality, cost)).tolist():
        if not front or quality[j] > quality[front[-1]]:
            front.append(j)
    logarithms = np.log(np.maximum(cost[front], 1e-12))
    wanted = np.linspace(logarithms[0], logarithms[-1], min(MOST_MODELS, len(front)))
    chosen: list[int] = []
    for level in wanted:
        rest = [i for i in range(len(front)) if i not in chosen]
        chosen.append(min(rest, key=lambda i: abs(logarithms[i] - level)))
    return [outcomes.models[front[i]] for i in sorted(chosen)]


def show(card: Evaluation, unit: str) -> None:
    """Print the tables and the verdict."""
    console = Console()
    costs = np.array([single.cost.value for single in card.singles])
    exponent = 3 * int(np.floor(np.log10(costs[costs > 0.0]).mean() / 3.0))
    scaled, units = partial(_scaled, exponent=exponent), Units.of(card, unit)
    shown_unit = " ".join(filter(None, [f"1e{exponent}" if exponent else "", units.cost]))
    singles = Table(title=f"Single models, {card.n_test} test queries", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    singles.add_column("model")
    singles.add_column("mean cost" + (f" ({shown_unit})" if shown_unit else ""), justify="right")
    singles.add_column(units.axis, justify="right")
    for single in card.singles:
        singles.add_row(escape(single.model), scaled(single.cost.value), units.number(single.quality.value))
    print_table(singles)
    shown = [int(np.abs(card.budgets - budget).argmin()) for budget in shown_budgets(card.budgets)]
    print_table(_methods(card, shown, scaled, units))
    console.print(
        f"{LABELS[card.rule]} is this router; the others are fitted on the same queries\n"
        "area: mean quality over the costs from the cheapest to the most expensive\n"
        f"      model{', in %' if units.sign else ''}, ± half the width of its 95% bootstrap interval\n"
        "@:    three of the budgets\n"
        "over: realised cost above the budget, mean over all budgets (0 where below)",
        style="dim",
    )
    for name, reason in card.left_out.items():
        console.print(f"left out: {LABELS[name]}, {reason}", style="dim", markup=False)
    if not all(method.feasible[at] for method in card.methods for at in shown):
        console.print("*: the budget is below the cheapest policy of the method; that policy is shown.")
    for sentence in verdict(card, unit):
        console.print(sentence, markup=False)


def _methods(card: Scorecard, shown: list[int], scaled: Callable[[float], str], units: Units) -> Table:
    table = Table(title=f"Rules: {units.axis}, realised mean cost in brackets", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method", no_wrap=True)
    table.add_column("area", justify="right", no_wrap=True)
    for at in shown:
        table.add_column(f"@{scaled(card.budgets[at])}", justify="right", no_wrap=True)
    table.add_column("over", justify="right")
    for method in card.methods:
        cells = [
            f"{units.number(method.quality[at])} ({scaled(method.cost[at])})" + ("" if method.feasible[at] else "*")
            for at in shown
        ]
        low, high = method.interval
        own = method.name == "router"
        table.add_row(
            LABELS[card.rule if own else method.name],
            f"{units.number(method.area, 1)} ±{units.number(0.5 * (high - low), 1)}",
            *cells,
            f"{100 * method.excess:.1f}%",
            style="bold" if own else None,
        )
    return table


def _scaled(cost: float, exponent: int) -> str:
    cost *= 10.0**-exponent
    return f"{cost:.0f}" if cost >= 1000.0 else f"{cost:.3g}"


def shown_budgets(budgets: FloatArray) -> list[float]:
    """Choose the budgets that the table shows, by rising size.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.commands.demo import shown_budgets
    >>> shown_budgets(np.array([1.0, 2.0, 4.0, 8.0, 16.0]))
    [2.0, 4.0, 8.0]
    """
    logarithms = np.log(np.maximum(budgets, 1e-300))
    wanted = logarithms[0] + np.array(SHOWN_BUDGETS) * (logarithms[-1] - logarithms[0])
    return sorted({float(budgets[np.abs(logarithms - level).argmin()]) for level in wanted})
