"""``headrace show``: what is in the file of a router."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import headrace as hr
from headrace.commands.console import AsJson, notes, print_json, told
from headrace.commands.path import show as show_path
from headrace.evaluation.report.units import Units
from headrace.serving.artefact import read_artefact

EXAMPLES = "Examples: [bold]headrace show router.headrace[/]; [bold]headrace show router.headrace --json[/]"

Router = Annotated[Path, typer.Argument(help="A router that headrace fit or Router.save has written.")]


def show(router: Router, as_json: AsJson = False) -> None:
    """Say what a router decides by, what it expects of a query, and what each budget would bring."""
    with told(notes()):
        decider, artefact = hr.load(router), read_artefact(router)
    estimators = [type(one).__name__ for one in (decider.estimators[0][0], *decider.estimators[0][1])]
    columns = {"queries": sorted(decider.query_columns), "responses": sorted(decider.response_columns)}
    if as_json:
        path = {name: values.tolist() for name, values in decider.path.to_dict().items()}
        known = {"headrace": artefact.version, "fingerprint": artefact.fingerprint, "estimators": estimators}
        print_json({**known, **dict(decider.told()), "columns": columns, "path": path})
        return
    lines = [
        *decider.told(),
        ("estimators", f"{', '.join(estimators)}; {len(decider.estimators)} folds"),
        ("columns of a query", ", ".join(columns["queries"]) or "none"),
        ("columns of a response", ", ".join(columns["responses"]) or "none"),
        ("written by", f"headrace {artefact.version}"),
        ("fingerprint", artefact.fingerprint[:16]),
    ]
    width = max(len(name) for name, _ in lines)
    typer.echo("\n".join(f"{name:{width}}  {value}" for name, value in lines))
    quality = decider.path.quality
    show_path(decider.path, Units.between(float(quality.min()), float(quality.max())))
