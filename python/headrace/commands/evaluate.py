"""``headrace evaluate``: whether routing helps on a log, by how much, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import headrace as hr
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
    progress_bar,
    read_log,
    told,
)
from headrace.commands.fit import parsed_budget

EXAMPLES = (
    "Examples: [bold]headrace evaluate log.parquet --budget 0.002 --report out.html[/]; "
    "[bold]headrace evaluate log.csv --models a,b,c --json[/]"
)


def evaluate(
    log: Log,
    models: Models = None,
    cost: Cost = None,
    layout: Layout = None,
    labels: Labels = None,
    verified: Verified = False,
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Mean cost per query that may be spent; of several costs, name=number, once for each."),
    ] = None,
    rule: RuleName = "cascade-routing",
    max_depth: MaxDepth = 5,
    seed: Seed = 0,
    estimation_cost: Annotated[float, typer.Option(help="What the estimates of one query cost.")] = 0.0,
    report: Annotated[Path | None, typer.Option(help="Where a page with all of it goes (.html).")] = None,
    as_json: AsJson = False,
) -> None:
    """Fit on one half of a log, replay the other half, and compare with single models and other rules."""
    limits = None if not budget else parsed_budget(budget)
    console = notes()
    with told(console):
        outcomes = read_log(log, models=models, cost=cost, layout=layout, labels=labels, verified=verified)
        description = outcomes.describe()
        console.print(str(description), markup=False)
        fitting, test = outcomes.complete().split(0.5, rng=seed)
        with progress_bar(console, rule) as progress:
            router = hr.Router(rule=rule, max_depth=max_depth, seed=seed)
            router.fit(fitting, budget=limits, progress=lambda share: progress(rule, share))
            evaluation = hr.evaluate(
                router, test, fitting=fitting, estimation_cost=estimation_cost, seed=seed, progress=progress
            )
        if report is not None:
            evaluation.report(report)
    if as_json:
        print_json({"outcomes": description.to_dict(), **evaluation.to_dict(), "written": report and str(report)})
    else:
        typer.echo(evaluation.summary())
        if report is not None:
            typer.echo(f"written: {report}")
