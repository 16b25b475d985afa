"""``headrace logs``: what a decision log says of other budgets, and a router set right by it."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

import headrace as hr
from headrace.commands.console import AsJson, notes, print_json, print_table, told
from headrace.commands.fit import ROUTER
from headrace.commands.outputs import Force, check_output
from headrace.evaluation.logged import METHODS, LoggedEstimate, Mean, evaluate_log, policies_in, recalibrated
from headrace.evaluation.report.units import Units
from headrace.runner.log import events_in, open_parts, read_log

__all__ = ["app"]

#: Seconds between two looks at a log that is followed.
PAUSE = 0.2

DecisionLog = Annotated[Path, typer.Argument(help="A decision log (.jsonl); its renamed files are read, too.")]

app: typer.Typer = typer.Typer(
    help="Read a decision log: what other budgets would bring, a router set right by it, the last decisions.",
    no_args_is_help=True,
)


@app.command(
    epilog="Examples: [bold]headrace logs evaluate decisions.jsonl --budget 0.001 --budget 0.002[/]; "
    "[bold]headrace logs evaluate decisions.jsonl --budget 0.001 --json[/]"
)
def evaluate(
    log: DecisionLog,
    budget: Annotated[list[float], typer.Option(help="Mean cost per query; repeat it for several.")],
    method: Annotated[
        str,
        typer.Option(
            help=f"One of {', '.join(METHODS)}; those after the first need a log with exploration.",
            autocompletion=lambda: list(METHODS),
        ),
    ] = "audit",
    as_json: AsJson = False,
) -> None:
    """Say what budgets would cost and bring, with 95% intervals, from the queries on which all models ran."""
    console = notes()
    with told(console):
        events = list(read_log(log))
        estimates = evaluate_log(events, budget, method=method)
    kept = {estimate.policy for estimate in estimates}
    for policy, own in policies_in(events).items():
        if policy not in kept:
            console.print(f"router {policy}: too few audited queries ({len(own.audits)}): left out", markup=False)
    if as_json:
        print_json({"estimates": [estimate.to_dict() for estimate in estimates]})
        return
    for policy in dict.fromkeys(estimate.policy for estimate in estimates):
        _show(policy, [estimate for estimate in estimates if estimate.policy == policy])


def _show(policy: str, estimates: list[LoggedEstimate]) -> None:
    levels = [estimate.expected.quality for estimate in estimates]
    levels += [estimate.quality.value for estimate in estimates if estimate.quality is not None]
    units = Units.between(min(levels), max(levels))

    def quality(mean: Mean | None) -> str:
        if mean is None:
            return "no labels"
        low, high = mean.interval
        return f"{units.quality(mean.value)} [{units.quality(low)}, {units.quality(high)}]"

    table = Table(title=f"Router {policy}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("budget", "mean cost", "expected", "quality", "expected", "labels", "queries"):
        table.add_column(name, justify="right", no_wrap=True)
    for estimate in estimates:
        low, high = estimate.cost.interval
        cells = [
            f"{estimate.budget:.4g}",
            f"{estimate.cost.value:.4g} [{low:.3g}, {high:.3g}]",
            f"{estimate.expected.cost:.4g}",
            quality(estimate.quality),
            units.quality(estimate.expected.quality),
            str(0 if estimate.quality is None else estimate.quality.n),
            f"{estimate.effective:.0f}",
        ]
        table.add_row(*map(escape, cells))
    print_table(table)


@app.command(
    epilog="Examples: [bold]headrace logs recalibrate decisions.jsonl router.headrace[/]; "
    "[bold]headrace logs recalibrate decisions.jsonl router.headrace --out new.headrace[/]"
)
def recalibrate(
    log: DecisionLog,
    router: Annotated[Path, typer.Argument(help="The router that was served; it is replaced, or --out written.")],
    out: Annotated[
        Path | None, typer.Option(help="Where the router goes (.headrace), instead of replacing it.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Set a router's costs and qualities right by audited queries; a server that watches the file takes it up."""
    with told(notes()):
        if out is not None:
            check_output("--out", out, reads=[log, router], force=force, suffixes=(ROUTER,))
        before = hr.load(router)
        after = recalibrated(before, read_log(log))
        after.save(out or router)
    if as_json:
        points = {"before": before.point, "after": after.point}
        print_json({**{name: point._asdict() for name, point in points.items()}, "written": str(out or router)})
        return
    typer.echo(f"before: {before.headline}\nafter:  {after.headline}\nwritten: {out or router}")


@app.command(
    epilog="Examples: [bold]headrace logs tail decisions.jsonl[/]; [bold]headrace logs tail decisions.jsonl --follow[/]"
)
def tail(
    log: DecisionLog,
    n: Annotated[int, typer.Option("-n", help="How many of the last decisions.", min=0)] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones, until Ctrl-C.")] = False,
) -> None:
    """Print the last decisions, one per line: id, models run, cost, why it ended. A fault is marked by a !."""
    with told(notes()):
        if follow:
            file = log.open("rb")
            file.seek(0, os.SEEK_END)
        for event in deque((event for event in read_log(log) if event["event"] == "decision"), maxlen=n):
            typer.echo(line_of(event))
        if follow:
            for event in events_in(_new_lines(log, file), str(log)):
                if event["event"] == "decision":
                    typer.echo(line_of(event))


def line_of(decision: Mapping[str, Any]) -> str:
    """Write a decision as one line.

    Examples
    --------
    >>> from headrace.commands.logs import line_of
    >>> steps = [{"model": "small", "kind": "timeout"}, {"model": "large", "kind": "ok"}]
    >>> line_of({"id": "q-1", "steps": steps, "model": "large", "cost": {"usd": 0.02}, "stopped": "plan"})
    'q-1              small!timeout > large            usd 0.02  plan'
    """
    steps = decision["steps"]
    ran = " > ".join(f"{step['model']}{'' if step['kind'] == 'ok' else '!' + step['kind']}" for step in steps)
    # Where several models gave an answer, it says whose was taken.
    answered = [step["model"] for step in steps if step["kind"] == "ok"]
    if decision["model"] is None:
        ran += " (no answer)"
    elif answered and decision["model"] != answered[-1]:
        ran += f" (answer: {decision['model']})"
    cost = "  ".join(f"{name} {value:.4g}" for name, value in decision["cost"].items())
    explored = (decision.get("explored") or {}).get("point") is not None
    marks = [decision["stopped"], *["explored"] * explored, *["audited"] * bool(decision.get("audited"))]
    return f"{decision['id']:16} {ran:32} {cost}  {', '.join(marks)}"


def _new_lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Yield lines as they come; a file that was renamed is read to its end, then the one begun after it."""
    line, was_renamed = b"", False
    while True:
        line += file.readline()
        if line.endswith(b"\n"):
            yield line
            line = b""
            continue
        # Other processes may write to the old file for a moment more: it is left at the second look.
        renamed = path.exists() and not os.path.samestat(os.fstat(file.fileno()), path.stat())
        if renamed and was_renamed and file.tell() == os.fstat(file.fileno()).st_size:
            file, was_renamed = _next_part(path, file)
            line = b""
        else:
            time.sleep(PAUSE)
            was_renamed = renamed


def _next_part(path: Path, file: BinaryIO) -> tuple[BinaryIO, bool]:
    """Give the file begun after this one and whether it was renamed too; the oldest kept where this one is gone."""
    parts = open_parts(path)
    own = os.fstat(file.fileno())
    places = [place for place, part in enumerate(parts) if os.path.samestat(os.fstat(part.fileno()), own)]
    following = places[0] - 1 if places else len(parts) - 1
    if following >= 0:
        file.close()
        file = parts.pop(following)
    for part in parts:
        part.close()
    return file, following > 0
