"""``headrace path``: what every budget would bring."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import headrace as hr
from headrace.atomic_file import draft_of
from headrace.commands.console import (
    AsJson,
    ColumnCost,
    Cost,
    Features,
    Ignore,
    Labels,
    Layout,
    Log,
    MaxDepth,
    ModelsOrNumber,
    Price,
    Rename,
    RuleName,
    Seed,
    Verified,
    names_or_number,
    notes,
    print_json,
    print_table,
    progress_bar,
    read_log,
    tell_of_many,
    told,
)
from headrace.commands.outputs import Force, Output, attempted, check_output, tell_written
from headrace.evaluation.baselines import LINEAR
from headrace.evaluation.conclusion import LEAST_SAVING
from headrace.evaluation.metrics import concave_hull, cost_at_quality
from headrace.evaluation.report.picture import INK, Line, finish, headed, new_axes
from headrace.evaluation.report.units import Units
from headrace.extras import imported
from headrace.policy.budget_path import BudgetPath

EXAMPLES = (
    "Examples: [bold]headrace path log.parquet[/]; "
    "[bold]headrace path log.csv --cost output_tokens --out path.png[/]; [bold]headrace path log.jsonl --json[/]"
)

#: Budgets that the table shows.
N_SHOWN = 11

#: Room for the arrow above the line, as a share of the picture's height.
ARROW = 0.07

#: Costs of zero have no place on a logarithmic axis.
TINIEST = 1e-300

#: Kinds of files that a path is written to.
SUFFIXES = (".csv", ".png", ".svg", ".pdf")


def path(
    log: Log,
    models: ModelsOrNumber = None,
    cost: Cost = None,
    layout: Layout = None,
    labels: Labels = None,
    verified: Verified = False,
    price: Price = None,
    column_cost: ColumnCost = None,
    rename: Rename = None,
    features: Features = None,
    ignore: Ignore = None,
    rule: RuleName = None,
    max_depth: MaxDepth = 5,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="Where all points go (.csv), or their picture (.png, .svg or .pdf).")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Show the mean quality that every budget reaches, from one fit."""
    console = notes()
    with told(console):
        if out is not None:
            check_output("--out", out, reads=[log, labels], force=force, suffixes=SUFFIXES)
            if out.suffix.lower() != ".csv":
                imported("matplotlib.figure", "a picture")
        named, number = names_or_number(models)
        outcomes = read_log(
            log,
            models=named,
            cost=cost,
            layout=layout,
            labels=labels,
            verified=verified,
            price=price,
            column_cost=column_cost,
            rename=rename,
            features=features,
            ignore=ignore,
        )
        description = outcomes.describe()
        console.print(str(description), markup=False)
        tell_of_many(console, outcomes, number)
        router = hr.Router(number, rule=rule, max_depth=max_depth, seed=seed)
        with progress_bar(console, rule or "fit") as progress:
            router.fit(outcomes, progress=lambda share: progress(rule or "fit", share))
    written = Output()
    if out is not None:
        written = attempted(lambda: write(router.path_, outcomes.complete(), out, title=f"{log.stem}: {router.rule_}"))
    if as_json:
        columns = {name: values.tolist() for name, values in router.path_.to_dict().items()}
        numbers = {"rule": router.rule_, "bought": list(router.bought_), "path": columns, "written": written.name}
        print_json({"outcomes": description.to_dict(), **numbers})
    else:
        show(router.path_, Units.of_table(outcomes.complete()))
        if router.signals_ is not None:
            said = f"this path is that of buying {' and '.join(router.bought_) or 'nothing'} after each run"
            Console().print("\n".join([said, *router.signals_.words]), markup=False)
    with told(console):
        tell_written(written, quiet=as_json)


def shown_budgets(budget_path: BudgetPath) -> list[float]:
    """Choose budgets for the table, from the cheapest policy to the most expensive, evenly in logarithms.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.policy.budget_path import BudgetPath
    >>> from headrace.commands.path import shown_budgets
    >>> ones = np.ones(2)
    >>> shown_budgets(BudgetPath(np.array([0.0, 1.0]), np.array([3.0, 3.0]), ones, ones, 1))
    [3.0]
    """
    least, most = float(budget_path.cost.min()), float(budget_path.cost.max())
    if least <= 0.0:
        return sorted(set(np.linspace(least, most, N_SHOWN).tolist()))
    inner = np.geomspace(least, most, N_SHOWN)[1:-1].tolist()
    return sorted({least, *(budget for budget in inner if least < budget < most), most})


def show(budget_path: BudgetPath, units: Units) -> None:
    """Print the path at some budgets."""
    table = Table(title=f"Budget path, {budget_path.n_queries} queries", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in (f"mean {budget_path.cost_name}", "quality", "runs per query", *budget_path.further_costs):
        table.add_column(escape(name), justify="right")
    for budget in shown_budgets(budget_path):
        point = budget_path.at(budget=budget)
        further = [f"{value:.4g}" for value in point.further_costs.values()]
        table.add_row(f"{point.cost:.4g}", units.quality(point.quality), f"{point.n_runs:.2f}", *further)
    print_table(table)


def write(budget_path: BudgetPath, outcomes: hr.Outcomes, out: Path, *, title: str) -> Path:
    """Write all points, or a picture of them with the single models."""
    with draft_of(out) as draft:
        if out.suffix.lower() == ".csv":
            columns = budget_path.to_dict()
            with draft.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(columns)
                writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
        else:
            axes = picture(budget_path, outcomes, title=title)
            axes.figure.savefig(draft, dpi=150)
    return out


def picture(budget_path: BudgetPath, outcomes: hr.Outcomes, *, title: str = "") -> Any:
    """Draw the path, the mixtures of single models, and the models as points; the title says what the path claims."""
    units = Units.of_table(outcomes)
    axes = new_axes(units, units.cost)
    order = np.lexsort((budget_path.quality, budget_path.cost))
    cost, quality = outcomes.mean_cost, outcomes.mean_quality
    hull = concave_hull(cost, quality)
    corners = cost[hull]
    along = np.unique(np.concatenate([corners, np.geomspace(max(corners[0], TINIEST), max(corners[-1], TINIEST), 200)]))
    mixed = np.interp(along, corners, quality[hull])
    lines = [
        Line("this router", budget_path.cost[order], units.scale * budget_path.quality[order], INK["router"]),
        Line("models, mixed", along, units.scale * mixed, INK[LINEAR]),
    ]
    dots = list(zip(outcomes.models, cost.tolist(), (units.scale * quality).tolist(), strict=True))
    best = int(np.lexsort((cost, -quality))[0])
    finish(axes, lines, dots, {outcomes.models[j] for j in hull} | {outcomes.models[best]})
    spent = cost_at_quality(budget_path.cost, budget_path.quality, float(quality[best]))
    if 0.0 < spent < (1.0 - LEAST_SAVING) * cost[best]:
        _saving(axes, spent, float(cost[best]), units.scale * float(quality[best]))
    headed(axes, title, _claim(budget_path, outcomes, best, units))
    return axes


def _saving(axes: Any, spent: float, cost: float, level: float) -> None:
    """Draw an arrow above the line, from the best model's cost to what the router spends for the same quality."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + ARROW * (high - low))
    above = level + 0.5 * ARROW * (high - low)
    colour = INK["router"]["color"]
    arrow = {"arrowstyle": "<-", "color": colour, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (cost, above), xytext=(spent, above), arrowprops=arrow, zorder=6)
    said = f"{100.0 * (1.0 - spent / cost):.0f}% less cost"
    axes.annotate(said, (cost, above), textcoords="offset points", xytext=(0, 4), ha="right", fontsize=9, color=colour)


def _claim(budget_path: BudgetPath, outcomes: hr.Outcomes, best: int, units: Units) -> str:
    """Say what the path has to offer against the best model, on the queries of the fit."""
    cost, quality = float(outcomes.mean_cost[best]), float(outcomes.mean_quality[best])
    named = f"{outcomes.models[best]}, the best model ({units.quality(quality)} at {units.amount(cost)})"
    spent = cost_at_quality(budget_path.cost, budget_path.quality, quality)
    if spent < (1.0 - LEAST_SAVING) * cost:
        return f"As good as {named}, at {100.0 * (1.0 - spent / cost):.0f}% less cost (fitting queries)"
    top = int(budget_path.quality.argmax())
    reached = f"{units.quality(budget_path.quality[top])} at {units.amount(float(budget_path.cost[top]))}"
    return f"At most {reached}, against {named} (fitting queries)"
