"""``headrace evaluate``: whether routing helps on a log, by how much, and how sure that is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import headrace as hr
from headrace.calibration.parts import FEWEST_QUERIES
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
    columns_told,
    names_or_number,
    notes,
    print_json,
    progress_bar,
    read_log,
    tell_of_many,
    told,
)
from headrace.commands.fit import numbers_in
from headrace.commands.outputs import Force, Output, attempted, check_output, tell_written
from headrace.evaluation import Evaluation
from headrace.evaluation.estimation import MEASURED
from headrace.evaluation.splits import split_again
from headrace.extras import imported

EXAMPLES = (
    "Examples: [bold]headrace evaluate log.parquet --budget 0.002 --splits 5 --report out.html[/]; "
    "[bold]headrace evaluate log.csv --models a,b,c --json[/]; "
    "[bold]headrace evaluate log.csv --report out.html --title 'Support desk' --text[/]"
)

Budget = Annotated[
    list[str] | None,
    typer.Option(help="Mean cost per query that may be spent; of several costs, name=number, once for each."),
]
EstimationCost = Annotated[
    list[str] | None,
    typer.Option(
        help="What the estimates of one query cost: a number in the first cost, or name=number; of seconds also "
        "seconds=measured."
    ),
]


def evaluate(
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
    budget: Budget = None,
    rule: RuleName = None,
    max_depth: MaxDepth = 5,
    seed: Seed = 0,
    estimation_cost: EstimationCost = None,
    splits: Annotated[
        int,
        typer.Option(
            help="Split the log so many times more, fit and test on each, and count how often the verdict flips.",
            min=0,
        ),
    ] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Where a page with all of it goes (.html); it needs no network.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Show the texts of the example queries on the page.")] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Fit on one half of a log, replay the other half, and compare with single models and other rules."""
    if report is None and (title is not None or text):
        raise typer.BadParameter("--title and --text are for the page: expected --report, too")
    limits, estimates = None if not budget else numbers_in("--budget", budget), parsed_estimation(estimation_cost or [])
    console = notes()
    with told(console):
        if report is not None:
            check_output("--report", report, reads=[log, labels], force=force, suffixes=(".html", ".htm"))
            imported("jinja2", "a page")
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
        used = columns_told(console, outcomes)
        router = hr.Router(number, rule=rule, max_depth=max_depth, seed=seed)
        tell_of_many(console, outcomes, number)
        evaluation = judged(console, outcomes, limits, router, estimates, splits)
    page = Output()
    if report is not None:
        page = attempted(lambda: evaluation.report(report, title=title or "Router report", show_text=text))
    if as_json:
        told_of = {"outcomes": outcomes.describe().to_dict(), "used_columns": used.to_dict()}
        print_json({**told_of, **evaluation.to_dict(), "written": page.name})
    else:
        typer.echo(evaluation.summary())
    with told(console):
        tell_written(page, quiet=as_json)


def parsed_estimation(given: list[str]) -> float | str | dict[str, float | str]:
    """Read what estimates cost: a number or "measured", or one of these for each of several costs.

    Examples
    --------
    >>> from headrace.commands.evaluate import parsed_estimation
    >>> parsed_estimation(["1e-5"]), parsed_estimation(["usd=1e-5", "seconds=measured"])
    (1e-05, {'usd': 1e-05, 'seconds': 'measured'})
    """
    named: dict[str, float | str] = {}
    for name, _, value in (text.rpartition("=") for text in given):
        try:
            named[name] = MEASURED if value == MEASURED else float(value)
        except ValueError:
            raise typer.BadParameter(f"--estimation-cost: expected a number or measured, got {value!r}") from None
    if "" in named and len(given) > 1:
        raise typer.BadParameter("--estimation-cost: expected name=number for each of several costs")
    return named.get("", named)


def judged(
    console: Console,
    outcomes: hr.Outcomes,
    budget: float | dict[str, float] | None,
    router: hr.Router,
    estimation_cost: float | str | dict[str, float | str],
    n_splits: int = 0,
) -> Evaluation:
    """Fit on one half of a log, and evaluate on the other; then on other halves, if wanted."""
    seed, task = router.seed, router.rule or "fit"
    fitting, test = _halves(outcomes.complete(), seed)
    with progress_bar(console, task) as progress:
        router.fit(fitting, budget=budget, progress=lambda share: progress(task, share))
        card = hr.evaluate(router, test, fitting=fitting, estimation_cost=estimation_cost, seed=seed, progress=progress)
        if not n_splits:
            return card
        again = split_again(
            card,
            router,
            outcomes,
            n_splits=n_splits,
            budget=budget,
            seed=seed,
            progress=lambda share: progress("other splits", share),
        )
        return dataclasses.replace(card, again=again)


def _halves(complete: hr.Outcomes, seed: int) -> tuple[hr.Outcomes, hr.Outcomes]:
    """Split queries into those that fit and those that test."""
    least = 2 * FEWEST_QUERIES
    if complete.n_queries < least:
        raise ValueError(
            f"expected at least {least} complete queries, one half to fit and one to test on; got "
            f"{complete.n_queries}, and some hundred are better"
        )
    if complete.n_groups < 2:
        raise ValueError("expected queries of at least two groups, as a group is fitted or tested on whole; got one")
    return complete.split(0.5, rng=seed)
