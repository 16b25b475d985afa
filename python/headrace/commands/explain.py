"""``headrace explain``: why a policy decides as it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

import headrace as hr
from headrace.commands.console import AsJson, names_in, notes, print_json, print_table, told
from headrace.commands.fit import ROUTER
from headrace.json_values import json_of
from headrace.policy.explanation import explain as explained

EXAMPLES = (
    'Examples: [bold]headrace explain router.headrace --query \'{"text": "Why?"}\'[/]; '
    "[bold]headrace explain policy.json --quality 0.6,0.8 --cost 0.001,0.01 --variance 0.09,0.04[/]; "
    "[bold]headrace explain policy.json --quality 0.3,0.8 --cost 0.001,0.01 --run small --json[/]"
)


def explain(
    source: Annotated[
        Path,
        typer.Argument(help="A router, or a policy, that headrace fit has written.", metavar="ROUTER_OR_POLICY"),
    ],
    query: Annotated[
        str | None, typer.Option(help="Columns of a query as JSON: the router estimates what a decision needs.")
    ] = None,
    quality: Annotated[str | None, typer.Option(help="Or estimated quality of each model, comma separated.")] = None,
    cost: Annotated[
        list[str] | None,
        typer.Option(help="Estimated cost of each model; repeat it, for each cost of the policy in order."),
    ] = None,
    variance: Annotated[
        str | None, typer.Option(help="Variance of the update of each quality still to come; zero by default.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="Models that have run, comma separated.")] = None,
    id: Annotated[str | None, typer.Option(help="Id of the query: which of the policy's two rules decides it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain a decision: the candidates, what was beaten and by how much, and what would flip it."""
    if (query is None) == (quality is None) or (quality is None) != (cost is None):
        raise typer.BadParameter("expected either --query, or --quality and --cost")
    if query is not None and (variance is not None or run is not None):
        raise typer.BadParameter("--variance and --run go with --quality and --cost")
    levels = [] if quality is None else numbers_in("--quality", quality)
    costs = [numbers_in("--cost", text) for text in cost or []]
    spread = None if variance is None else numbers_in("--variance", variance)
    if any(len(row) != len(costs[0]) for row in costs):
        raise typer.BadParameter("--cost: expected as many numbers each time")
    with told(notes()):
        if query is not None:
            columns = columns_in(query)
            why = hr.load(source).start(columns, id=id).why()
        else:
            policy = hr.load(source).policy if source.suffix.lower() == ROUTER else hr.Policy.load(source)
            why = explained(policy, levels, costs, variance=spread, run=names_in(run) or (), id=id)
    if as_json:
        print_json(why.to_dict())
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("model")
    for name in ("quality", "sd", "cost", why.score):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in why.models:
        score = "" if row["score"] is None else f"{row['score']:.4f}"
        state = "next" if row["model"] == why.next else "has run" if row["run"] else "in plan" if row["in_plan"] else ""
        table.add_row(
            escape(row["model"]), f"{row['quality']:.3f}", f"{row['sd']:.3f}", f"{row['cost']:.4g}", score, state
        )
    print_table(table)
    typer.echo(str(why))


def columns_in(text: str) -> Any:
    """Read the columns of a query.

    Examples
    --------
    >>> from headrace.commands.explain import columns_in
    >>> columns_in('{"text": "Why?", "size": 3}')
    {'text': 'Why?', 'size': 3}
    """
    try:
        columns = json_of(text)
    except ValueError as error:
        raise ValueError(f"--query: expected JSON, an object of columns ({error})") from None
    if not isinstance(columns, dict):
        raise ValueError(f"--query: expected a JSON object of columns, got {type(columns).__name__}")
    return columns


def numbers_in(option: str, text: str) -> list[float]:
    """Read comma-separated numbers.

    Examples
    --------
    >>> from headrace.commands.explain import numbers_in
    >>> numbers_in("--cost", "0.001, 2")
    [0.001, 2.0]
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{option}: expected numbers, comma separated, got {text!r}") from None
