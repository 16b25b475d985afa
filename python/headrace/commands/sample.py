"""``headrace sample``: a small log to try the other commands with."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from headrace.atomic_file import draft_of
from headrace.commands.console import notes, told
from headrace.commands.outputs import Force, check_output

EXAMPLES = (
    "Examples: [bold]headrace sample > log.csv[/]; [bold]headrace sample --out log.csv[/]; then "
    "[bold]headrace evaluate log.csv[/]"
)

N_QUERIES = 600


class SampleModel(NamedTuple):
    """A made-up model of the sample.

    Attributes
    ----------
    name : str
    skill : float
        Difficulty of a sum that it gets right half of the time.
    price : float
        Dollars for a character, in or out.
    """

    name: str
    skill: float
    price: float


MODELS = (SampleModel("small", 4.8, 6e-6), SampleModel("medium", 5.7, 3e-5), SampleModel("large", 6.5, 2e-4))

#: Kind of sum: its sign in the question, and how much harder it is than an addition.
TASKS = {"addition": ("+", 0.0), "subtraction": ("-", 0.5), "multiplication": ("*", 1.5)}

WORDINGS = ("What is {}?", "Please work out {}.", "{} = ?")


def sample(
    out: Annotated[Path | None, typer.Option(help="Where the log goes (.csv); printed by default.")] = None,
    force: Force = False,
) -> None:
    """Write a small log: 600 sums and three made-up models, a row per query. It is the same every time."""
    if out is None:
        typer.echo(sample_log(), nl=False)
        return
    with told(notes()):
        check_output("--out", out, force=force, suffixes=(".csv",))
        with draft_of(out) as draft:
            draft.write_text(sample_log(), encoding="utf-8", newline="")
    typer.echo(f"written: {out}")


def sample_log() -> str:
    r"""Give the sample as CSV.

    Examples
    --------
    >>> from headrace.commands.sample import sample_log
    >>> sample_log().splitlines()[0][:58]
    '"query_id","text","task","small|quality","small|cost","sma'
    """
    draw = random.Random(2)
    text = io.StringIO()
    # Quotation marks around text alone: an answer of digits is read as text.
    rows = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    parts = ("quality", "cost", "answer", "logprob")
    rows.writerow(["query_id", "text", "task", *(f"{model.name}|{part}" for model in MODELS for part in parts)])
    for number in range(N_QUERIES):
        rows.writerow([f"q{number:03d}", *_answered(draw)])
    return text.getvalue()


def _answered(draw: random.Random) -> list[str | int | float]:
    """Draw a sum, and what each model makes of it: text, task, then quality, cost, answer and log-probability."""
    task = draw.choice(list(TASKS))
    sign, extra = TASKS[task]
    digits = draw.randint(1, 4), draw.randint(1, 4)
    a, b = (draw.randint(10 ** (d - 1), 10**d - 1) for d in digits)
    right = {"+": a + b, "-": a - b, "*": a * b}[sign]
    text = draw.choice(WORDINGS).format(f"{a} {sign} {b}")
    # Part of what makes a sum hard can't be read off it, and is the same for all models.
    hard = sum(digits) * 0.75 + extra + draw.gauss(0.0, 1.0)
    cells: list[str | int | float] = [text, task]
    for model in MODELS:
        margin = model.skill - hard + draw.gauss(0.0, 1.0)
        is_right = margin > 0.0
        answer = right if is_right else right + draw.choice((-10, -2, -1, 1, 2, 10)) * 10 ** draw.randint(0, 1)
        cost = model.price * (len(text) + 2 * len(str(answer)))
        # The surer of itself, the likelier it is right.
        logprob = -0.02 - 0.5 / (1.0 + 2.0 ** (3.0 * margin + draw.gauss(0.0, 1.0)))
        cells += [int(is_right), round(cost, 8), str(answer), round(logprob, 4)]
    return cells
