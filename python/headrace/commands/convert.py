"""``headrace convert``: a log in any layout that is known, to a table in ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headrace.commands.console import (
    AsJson,
    ColumnCost,
    Cost,
    Features,
    Ignore,
    Labels,
    Layout,
    Log,
    Models,
    Price,
    Rename,
    columns_told,
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
    column_cost: ColumnCost = None,
    rename: Rename = None,
    features: Features = None,
    ignore: Ignore = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Read a log, say what is in it, and write it as one table: a row per query, columns per model."""
    with told(notes()):
        check_output("out", out, reads=[log, labels], force=force, suffixes=SUFFIXES)
        outcomes = read_log(
            log,
            models=models,
            cost=cost,
            layout=layout,
            labels=labels,
            price=price,
            column_cost=column_cost,
            rename=rename,
            features=features,
            ignore=ignore,
        )
        outcomes.save(out)
        used = columns_told(notes() if as_json else Console(soft_wrap=True, highlight=False), outcomes)
    if as_json:
        print_json({"outcomes": outcomes.describe().to_dict(), "used_columns": used.to_dict(), "written": str(out)})
    else:
        typer.echo(f"written: {out}")
