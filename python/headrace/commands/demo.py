"""``headrace demo``: the rules against each other, on the bundled table or on one's own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import headrace as hr
from headrace.commands.console import (
    AsJson,
    Cost,
    MaxDepth,
    Seed,
    Verified,
    names_in,
    notes,
    print_json,
    progress_bar,
    read_log,
    told,
)
from headrace.evaluation.comparison import LINEAR, METHODS, Comparison, compare
from headrace.evaluation.report.picture import LABELS, draw

EXAMPLES = (
    "Examples: [bold]headrace demo[/]; "
    "[bold]headrace demo --data log.parquet --models small,medium,large --out curve.png[/]"
)

#: Most models that the demo compares unless told which.
MOST_MODELS = 5

#: A loss of quality that counts as none in the verdict.
NEARLY = 0.005

#: Budgets of the table, as shares of the way (in logarithms) from the cheapest model to the dearest.
SHOWN_BUDGETS = (0.25, 0.5, 0.75)


def demo(
    data: Annotated[
        Path | None, typer.Option(help="Your own table (.parquet, .csv or .npz); the bundled one by default.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Models to compare, comma separated; up to five efficient ones by default.")
    ] = None,
    cost: Cost = None,
    verified: Verified = False,
    fit_share: Annotated[float, typer.Option(help="Share of the queries that is fitted on.", min=0.05, max=0.95)] = 0.5,
    max_depth: MaxDepth = 5,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("headrace-demo.png"),
    as_json: AsJson = False,
) -> None:
    """Fit on one part of a table, test on the other, and compare the rules at many budgets."""
    started = time.perf_counter()
    # Progress and remarks go to stderr, results to stdout.
    console = notes()
    with told(console):
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
        with progress_bar(console, *(LABELS[method] for method in METHODS)) as progress:
            comparison = compare(
                fitting,
                test,
                max_depth=max_depth,
                seed=seed,
                progress=lambda method, share: progress(LABELS[method], share),
            )
        title = "Quickstart digits: five classifiers" if data is None else data.stem
        picture = draw(comparison, out, title=title, cost_unit=unit)
    if as_json:
        print_json(summary(comparison, picture))
    else:
        show(comparison, unit)
        console.print(f"picture: {picture}; {time.perf_counter() - started:.1f} s")


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


def show(comparison: Comparison, unit: str) -> None:
    """Print the tables and the verdict."""
    console = Console()
    costs = comparison.single_cost[comparison.single_cost > 0.0]
    exponent = 3 * int(np.floor(np.log10(costs).mean() / 3.0))
    unit = " ".join(filter(None, [f"1e{exponent}" if exponent else "", unit]))

    def scaled(cost: float) -> str:
        cost *= 10.0**-exponent
        return f"{cost:.0f}" if cost >= 1000.0 else f"{cost:.3g}"

    singles = Table(title=f"Single models, {comparison.n_test} test queries", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    singles.add_column("model")
    singles.add_column("mean cost" + (f" ({unit})" if unit else ""), justify="right")
    singles.add_column("quality (%)", justify="right")
    for name, cost, quality in zip(comparison.models, comparison.single_cost, comparison.single_quality, strict=True):
        singles.add_row(name, scaled(cost), f"{100 * quality:.1f}")
    console.print(singles)

    shown = shown_budgets(comparison)
    rules = Table(title="Rules: quality in %, realised mean cost in brackets", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    rules.add_column("method", no_wrap=True)
    rules.add_column("area", justify="right", no_wrap=True)
    for at in shown:
        rules.add_column(f"@{scaled(comparison.budgets[at])}", justify="right", no_wrap=True)
    rules.add_column("over", justify="right")
    for method in comparison.methods:
        cells = [
            f"{100 * method.quality[at]:.1f} ({scaled(method.cost[at])})" + ("" if method.feasible[at] else "*")
            for at in shown
        ]
        low, high = method.interval
        rules.add_row(
            LABELS[method.name],
            f"{100 * method.area:.2f} ±{50 * (high - low):.2f}",
            *cells,
            f"{100 * method.excess:.1f}%",
            style="bold" if method.name == "cascade-routing" else None,
        )
    console.print(rules)
    console.print(
        "area: mean quality over the costs from the cheapest to the dearest model, in %,\n"
        "      ± half the width of its 95% bootstrap interval\n"
        "@:    three of the budgets\n"
        "over: realised cost above the budget, mean over all budgets (0 where below)",
        style="dim",
    )
    if not all(method.feasible[at] for method in comparison.methods for at in shown):
        console.print("*: the budget is below the cheapest policy of the method; that policy is shown.")
    for line in verdict(comparison):
        console.print(line)


def shown_budgets(comparison: Comparison) -> list[int]:
    """Give the indices of the budgets that the table shows."""
    logarithms = np.log(np.maximum(comparison.budgets, 1e-300))
    wanted = logarithms[0] + np.array(SHOWN_BUDGETS) * (logarithms[-1] - logarithms[0])
    return sorted({int(np.abs(logarithms - level).argmin()) for level in wanted})


def verdict(comparison: Comparison) -> list[str]:
    """Say in words what the intervals allow to say."""
    lines = []
    for other in (LINEAR, "routing", "threshold-cascade", "cascade", "index"):
        difference, low, high = comparison.difference("cascade-routing", other)
        interval = f"{100 * difference:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}]"
        says = "beats" if low > 0.0 else "is beaten by" if high < 0.0 else "cannot be told from"
        lines.append(f"Cascade routing {says} {LABELS[other]}: {interval}")
    best = int(comparison.single_quality.argmax())
    name, wanted = comparison.models[best], float(comparison.single_quality[best])
    method = comparison["cascade-routing"]
    as_good = np.flatnonzero(method.quality >= wanted - NEARLY)
    if len(as_good):
        saved = 1.0 - method.cost[as_good].min() / comparison.single_cost[best]
        lines.append(
            f"It comes within {100 * NEARLY:g} points of the best single model, {name}, "
            f"at {100 * abs(saved):.0f}% {'less' if saved > 0 else 'more'} cost."
        )
    else:
        gap = 100 * (wanted - method.quality.max())
        lines.append(
            f"The best single model, {name}, stays {gap:.1f} points ahead of it at every budget: use that one."
        )
    return lines


def summary(comparison: Comparison, picture: Path) -> dict[str, Any]:
    """Collect the numbers for JSON."""
    methods = [
        {
            "method": method.name,
            "area": method.area,
            "interval": list(method.interval),
            "over_budget": method.excess,
            "uncertainty_scale": method.uncertainty_scale,
            "budget": comparison.budgets.tolist(),
            "cost": method.cost.tolist(),
            "quality": method.quality.tolist(),
            "n_runs": method.n_runs.tolist(),
            "feasible": method.feasible.tolist(),
        }
        for method in comparison.methods
    ]
    singles = [
        {"model": name, "cost": float(cost), "quality": float(quality)}
        for name, cost, quality in zip(
            comparison.models, comparison.single_cost, comparison.single_quality, strict=True
        )
    ]
    return {
        "n_fit": comparison.n_fit,
        "n_test": comparison.n_test,
        "models": singles,
        "methods": methods,
        "verdict": verdict(comparison),
        "picture": str(picture),
    }
