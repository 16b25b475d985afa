"""``headrace report``: a page to show, from a log: whether routing helps, what to deploy, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.commands.console import (
    AsJson,
    Cost,
    Labels,
    Layout,
    Log,
    MaxDepth,
    Models,
    RuleName,
    Seed,
    Verified,
    notes,
    print_json,
    read_log,
    told,
)
from headrace.commands.evaluate import Budget, EstimationCost, judged, parsed_estimation
from headrace.commands.fit import parsed_budget

EXAMPLES = (
    "Examples: [bold]headrace report log.parquet --budget 0.002[/]; "
    "[bold]headrace report log.csv page.html --models a,b,c --title 'Support desk' --text[/]"
)


def report(
    log: Log,
    out: Annotated[Path, typer.Argument(help="Where the page goes (.html).")] = Path("report.html"),
    models: Models = None,
    cost: Cost = None,
    layout: Layout = None,
    labels: Labels = None,
    verified: Verified = False,
    budget: Budget = None,
    rule: RuleName = "cascade-routing",
    max_depth: MaxDepth = 5,
    seed: Seed = 0,
    estimation_cost: EstimationCost = None,
    title: Annotated[str, typer.Option(help="Of the page.")] = "Router report",
    text: Annotated[bool, typer.Option("--text", help="Show the texts of the example queries.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the page of `headrace evaluate`: one HTML file that needs no network; print its verdict."""
    limits, estimates = None if not budget else parsed_budget(budget), parsed_estimation(estimation_cost or [])
    console = notes()
    with told(console):
        outcomes = read_log(log, models=models, cost=cost, layout=layout, labels=labels, verified=verified)
        evaluation = judged(console, outcomes, limits, rule, max_depth, seed, estimates)
        evaluation.report(out, title=title, show_text=text)
    if as_json:
        print_json({"verdict": evaluation.verdict, "written": str(out)})
    else:
        typer.echo("\n".join(evaluation.verdict))
        typer.echo(f"written: {out}")
