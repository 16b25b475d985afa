"""What the commands share: where they print, how they fail, the options of a log, and progress."""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import headrace as hr
from headrace.diagnosis import UsedColumns
from headrace.json_values import plain
from headrace.outcomes.readers import LAYOUTS
from headrace.rules import RULES

__all__ = [
    "AsJson",
    "ColumnCost",
    "Cost",
    "Features",
    "Ignore",
    "Labels",
    "Layout",
    "Log",
    "MaxDepth",
    "Models",
    "Price",
    "Rename",
    "RuleName",
    "Seed",
    "Verified",
    "columns_told",
    "names_in",
    "notes",
    "print_json",
    "print_table",
    "progress_bar",
    "read_log",
    "told",
    "warnings_told",
]


def _known_rule(name: str | None) -> str | None:
    if name is not None and name not in RULES:
        raise typer.BadParameter(f"expected one of {', '.join(RULES)}; got {name!r}")
    return name


Log = Annotated[
    Path, typer.Argument(help="Your table or log: .parquet, .csv, .tsv, .json or .jsonl; - is the standard input.")
]
Models = Annotated[str | None, typer.Option(help="Models to choose among, comma separated; all by default.")]
ModelsOrNumber = Annotated[
    str | None,
    typer.Option(
        "--models", help="Models to choose among, comma separated, or how many, those worth most; all by default."
    ),
]
Cost = Annotated[
    list[str] | None,
    typer.Option(help="Per-model column that serves as the cost, e.g. response_len; repeat it for several costs."),
]
Layout = Annotated[
    str | None,
    typer.Option(
        help=f"Layout of the file: {', '.join(LAYOUTS)}. Found by its columns by default.",
        autocompletion=lambda: list(LAYOUTS),
    ),
]
Labels = Annotated[
    Path | None, typer.Option(help="File of request_id and quality, for litellm's spend logs, which have no quality.")
]
Verified = Annotated[bool, typer.Option(help="A run shows its own quality: tests passed, schema valid.")]
Price = Annotated[
    list[str] | None,
    typer.Option(help="model=cost of a run, or 'model|output_tokens'=cost of a unit, for a log without costs."),
]
ColumnCost = Annotated[
    list[str] | None,
    typer.Option(help="column=price of a response column that is bought after a run, such as a judge's verdict."),
]
Rename = Annotated[list[str] | None, typer.Option(help="new=old: read the column 'old' as 'new'; may be repeated.")]
Features = Annotated[
    str | None, typer.Option(help="Query and response columns that may be used, comma separated; all by default.")
]
Ignore = Annotated[str | None, typer.Option(help="Query and response columns that are left out, comma separated.")]
RuleName = Annotated[
    str | None,
    typer.Option(
        "--rule",
        help=f"One of {', '.join(RULES)}. Default: cascade-routing; for a verified log index or cascade.",
        callback=_known_rule,
        autocompletion=lambda: list(RULES),
    ),
]
MaxDepth = Annotated[int, typer.Option(help="Most models to run for one query.", min=1)]
Seed = Annotated[int, typer.Option(help="Seed of folds, splits and mixing.", min=0)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]


#: More models than this take long to fit.
MANY = 40

#: Widest table, in characters.
MAX_WIDTH = 400

#: What messages call it.
STANDARD_INPUT = "the standard input"

#: Oddities of a table that its description tells, too.
TOLD_BEFORE = ("zero costs", "unit")


def notes() -> Console:
    """Make a console for progress and remarks: stderr, so that stdout holds results only."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def print_table(table: Table) -> None:
    """Print a table as wide as it is: in a narrow terminal its lines wrap, but no number is cut off."""
    console = Console()
    least = console.measure(table, options=console.options.update(width=MAX_WIDTH)).maximum
    Console(width=max(console.width, least)).print(table)


@contextmanager
def told(console: Console) -> Iterator[None]:
    """Turn what can't be done into one message on stderr and exit code 1, without a traceback."""
    try:
        yield
    except BrokenPipeError:  # the reader, head or less, has seen enough; typer ends the command
        raise
    except (ValueError, TypeError, OverflowError, OSError, ImportError) as error:
        console.print("[red]error:[/] ", end="")
        said = str(error)
        if isinstance(error, FileNotFoundError) and error.filename is not None:
            said = f"no such file: {error.filename}"
        console.print("; ".join([said, *getattr(error, "__notes__", ())]), markup=False)
        raise typer.Exit(1) from None


@contextmanager
def warnings_told(console: Console) -> Iterator[None]:
    """Say warnings of headrace in a line each, without the place in its code; those of others are theirs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        if warning.category is UserWarning:
            console.print("[yellow]warning:[/] ", end="")
            console.print(str(warning.message), markup=False)
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def names_in(text: str | None) -> list[str] | None:
    """Split comma-separated names."""
    return None if text is None else [name.strip() for name in text.split(",")]


def pairs_in(option: str, given: list[str] | None) -> dict[str, str] | None:
    """Split texts of the form name=value at the last equals sign, and refuse others.

    Examples
    --------
    >>> from headrace.commands.console import pairs_in
    >>> pairs_in("--price", ["small=0.002", "a=b=1"])
    {'small': '0.002', 'a=b': '1'}
    """
    if given is None:
        return None
    parts = [text.rpartition("=") for text in given]
    pairs = {name: value for name, _, value in parts if name and value}
    if len(pairs) < len(given):
        raise ValueError(f"{option}: expected name=value, each name once; got {', '.join(given)}")
    return pairs


def prices_in(option: str, given: list[str] | None) -> dict[str, float] | None:
    """Read prices by name."""
    prices = pairs_in(option, given)
    try:
        return None if prices is None else {model: float(price) for model, price in prices.items()}
    except ValueError:
        raise ValueError(f"{option}: expected name=number; got {', '.join(given or ())}") from None


def names_or_number(models: str | None) -> tuple[str | None, int | None]:
    """Tell names of models from a number of them.

    Examples
    --------
    >>> from headrace.commands.console import names_or_number
    >>> names_or_number("small,large"), names_or_number("40"), names_or_number(None)
    (('small,large', None), (None, 40), (None, None))
    """
    is_number = models is not None and models.strip().isdecimal()
    return (None, int(models)) if models is not None and is_number else (models, None)


def read_log(
    log: Path,
    *,
    models: str | None = None,
    cost: list[str] | None = None,
    layout: str | None = None,
    labels: Path | None = None,
    verified: bool = False,
    price: list[str] | None = None,
    column_cost: list[str] | None = None,
    rename: list[str] | None = None,
    features: str | None = None,
    ignore: str | None = None,
) -> hr.Outcomes:
    """Read a log by the options of a command; "-" is the standard input."""
    if features is not None and ignore is not None:
        raise ValueError("--features, --ignore: expected one of them, got both")
    if str(log) == "-":
        options: dict[str, Any] = {"models": models, "cost": cost, "layout": layout, "labels": labels}
        chosen_columns: dict[str, Any] = {"features": features, "ignore": ignore, "price": price, "rename": rename}
        with _standard_input() as path:
            try:
                return read_log(path, verified=verified, column_cost=column_cost, **options, **chosen_columns)
            except (TypeError, ValueError) as error:
                message = str(error).replace(str(path), STANDARD_INPUT).replace(path.name, STANDARD_INPUT)
                raise ValueError(message) from error
    column = cost[0] if cost is not None and len(cost) == 1 else cost or None
    outcomes = hr.Outcomes.from_file(
        log,
        layout=layout,
        cost=column,
        verified=verified,
        labels=labels,
        prices=prices_in("--price", price),
        column_cost=prices_in("--column-cost", column_cost),
        rename=pairs_in("--rename", rename),
    )
    chosen = names_in(models)
    outcomes = outcomes if chosen is None else outcomes.select(chosen)
    if features is not None:
        return outcomes.with_only(names_in(features) or ())
    return outcomes if ignore is None else outcomes.without(names_in(ignore) or ())


def tell_of_many(console: Console, outcomes: hr.Outcomes, number: int | None) -> None:
    """Say before a fit of many models what makes it shorter."""
    n_models = len(outcomes.models)
    if number is None and n_models > MANY:
        console.print(f"{n_models} models: a fit may take minutes; --models {MANY} takes the {MANY} worth most")


def columns_told(console: Console, outcomes: hr.Outcomes) -> UsedColumns:
    """Say what a table holds, which columns will be used and what they bring, and what looks odd."""
    console.print(str(outcomes.describe()), markup=False)
    used = hr.diagnosis.used_columns(outcomes)
    console.print(used.summary(skip=TOLD_BEFORE), markup=False)
    return used


@contextmanager
def _standard_input() -> Iterator[Path]:
    """Give the standard input as a file, its kind by its first character: CSV, JSON, or JSON lines."""
    data = sys.stdin.buffer.read()
    head = data.lstrip()[:1]
    suffix = ".json" if head == b"[" else ".jsonl" if head == b"{" else ".csv"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"stdin{suffix}"
        path.write_bytes(data)
        yield path


@contextmanager
def progress_bar(console: Console, *names: str) -> Iterator[Callable[[str, float], None]]:
    """Show bars; gives a function that takes a bar's name and the share that is done."""
    columns = (
        TextColumn("{task.description:18}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        tasks = {name: bar.add_task(name, total=1.0, start=False) for name in names}

        def progress(name: str, share: float) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=1.0, start=False)
            if not bar.tasks[tasks[name]].started:
                bar.start_task(tasks[name])
            bar.update(tasks[name], completed=share)

        yield progress


def print_json(value: Any) -> None:
    """Print JSON; an infinite number, which JSON doesn't know, as the text "inf"."""
    typer.echo(json.dumps(plain(value, infinity="inf"), indent=2, allow_nan=False))
