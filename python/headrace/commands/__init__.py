"""The commands, on typer and rich: one file each."""

from __future__ import annotations

from typing import Annotated

import typer

import headrace as hr
from headrace.commands import bench, convert, demo, evaluate, explain, fit, logs, path, sample, serve, show

__all__ = ["app"]

app: typer.Typer = typer.Typer(
    help="Decide, per query, which model to run next or to stop.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(hr.__version__)
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Decide, per query, which model to run next or to stop."""


app.command("demo", epilog=demo.EXAMPLES)(demo.demo)
app.command("sample", epilog=sample.EXAMPLES)(sample.sample)
app.command("convert", epilog=convert.EXAMPLES)(convert.convert)
app.command("fit", epilog=fit.EXAMPLES)(fit.fit)
app.command("path", epilog=path.EXAMPLES)(path.path)
app.command("evaluate", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("bench", epilog=bench.EXAMPLES)(bench.bench)
app.command("show", epilog=show.EXAMPLES)(show.show)
app.command("explain", epilog=explain.EXAMPLES)(explain.explain)
app.add_typer(logs.app, name="logs")
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)
