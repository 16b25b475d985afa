"""``headrace bench``: the protocols of the paper and of the field, with one table of results each."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from headrace.atomic_file import draft_of
from headrace.benchmarks import PROTOCOLS
from headrace.commands.console import AsJson, notes, print_json, progress_bar, told
from headrace.commands.outputs import Force, Output, attempted, check_output

EXAMPLES = (
    "Examples: [bold]headrace bench routerbench --data DIR --out paper.md[/]; "
    "[bold]headrace bench routerbench --download[/]; [bold]headrace bench simulated --draws 1 --json[/]\n\n"
    + "\n\n".join(f"[bold]{name}[/]: {protocol.about}" for name, protocol in PROTOCOLS.items())
)


def _known(name: str) -> str:
    if name not in PROTOCOLS:
        raise typer.BadParameter(f"expected one of {', '.join(PROTOCOLS)}; got {name!r}")
    return name


def bench(
    name: Annotated[
        str,
        typer.Argument(
            help=f"One of {', '.join(PROTOCOLS)}.",
            callback=_known,
            autocompletion=lambda: list(PROTOCOLS),
            metavar="NAME",
        ),
    ],
    data: Annotated[Path | None, typer.Option(help="The table, or a folder that holds it.")] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the table from the Hugging Face hub, where it is published there.")
    ] = False,
    draws: Annotated[
        int | None,
        typer.Option(help="Draws of the queries to fit and to test; each benchmark has its own default.", min=1),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the tables go, as Markdown.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Run a benchmark, and print its results as Markdown, beside the paper's where it has some."""
    if download and data is not None:
        raise typer.BadParameter("expected one of --data and --download")
    console, protocol = notes(), PROTOCOLS[name]
    command = f"headrace bench {name}{' --download' if download else ' --data DIR' if protocol.files else ''}"
    with told(console):
        if out is not None:
            check_output("--out", out, reads=[data], force=force)
        table = protocol.table(data, download=download)
        given = () if table is None else (table,)
        with progress_bar(console) as progress:
            results = protocol.run(*given, n_draws=draws or protocol.n_draws, progress=progress)
        results = replace(results, command=command + (f" --draws {draws}" if draws else ""))
    page = results.to_markdown()
    output = Output() if out is None else attempted(partial(_written, page, out))
    if as_json:
        print_json({"benchmark": name, **results.to_dict(), "written": output.path and str(output.path)})
    else:
        typer.echo(page, nl=False)
    with told(console):
        if output.failure is not None:
            raise output.failure


def _written(page: str, out: Path) -> Path:
    with draft_of(out) as draft:
        draft.write_text(page, encoding="utf-8")
    return out
