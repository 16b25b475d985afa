"""``headrace convert``: a log in any layout that is known, to a table in ours."""

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
    Models,
    Price,
    Rename,
    notes,
    print_json,
    read_log,
    told,
)
from headrace.commands.outputs import Force, check_output
from headrace.outcomes.readers import SUFFIXES

EXAMPLES = (
    "Examples: [bold]headrace convert routing.jsonl table.parquet[/]; "
    "[bold]headrace convert spend.json table.parquet --labels quality.csv[/]; "
    "[bold]headrace convert responses.csv table.csv --price small=0.0002 --price large=0.003[/]"
)


def convert(
    log: Log,
    out: Annotated[Path, typer.Argument(help="The new file: .parquet, .csv or .jsonl.")],
    models: Models = None,
    cost: Cost = None,
    layout: Layout = None,
    labels: Labels = None,
    price: Price = None,
    rename: Rename = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Read a log, say what is in it, and write it as one table: a row per query, columns per model."""
    with told(notes()):
        check_output("out", out, reads=[log, labels], force=force, suffixes=SUFFIXES)
        outcomes = read_log(log, models=models, cost=cost, layout=layout, labels=labels, price=price, rename=rename)
        outcomes.save(out)
    description = outcomes.describe()
    if as_json:
        print_json({"outcomes": description.to_dict(), "written": str(out)})
    else:
        typer.echo(f"{description}\nwritten: {out}")
