"""What the tests of the commands share: how a command is called, and a table as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

import headrace as hr
from headrace.commands import app

__all__ = ["RUNNER", "invoked", "saved"]

# Wide and plain, so that no message is broken over lines or coloured.
RUNNER = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})


def saved(tmp_path: Path, outcomes: hr.Outcomes) -> str:
    path = tmp_path / "log.jsonl"
    outcomes.save(path)
    return str(path)


def invoked(*arguments: str) -> dict[str, Any]:
    result = RUNNER.invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    numbers: dict[str, Any] = json.loads(result.stdout)
    return numbers
