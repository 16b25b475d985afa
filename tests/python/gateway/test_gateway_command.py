"""`headrace serve` as it is typed: the demonstration, Ctrl-C, several processes, and what can't be done."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pytest

import headrace as hr

httpx = pytest.importorskip("httpx")
pytest.importorskip("prometheus_client")
pytest.importorskip("typer")

from gateways import asked  # noqa: E402  # they need uvicorn
from pools import MODELS  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from fake_provider import FakeProvider

#: Seconds that anything may take: only a hang takes longer.
PATIENCE = 60.0

windows = pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")


@contextmanager
def command(*arguments: str, folder: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    program = [sys.executable, "-c", "from headrace.cli import main; main()", "serve", *arguments]
    python = os.pathsep.join(part for part in sys.path if part)
    process = subprocess.Popen(
        program,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": python, "NO_COLOR": "1"},
        start_new_session=True,
        # A shell may have it ignored, which would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until(stream: IO[str] | None, pattern: str) -> tuple[re.Match[str], str]:
    """Read lines until one fits; give the match, and all that was read."""
    assert stream is not None
    read = ""
    for line in stream:
        read += line
        if found := re.search(pattern, line):
            return found, read
    raise AssertionError(read)


def ended(process: subprocess.Popen[str]) -> str:
    """Press Ctrl-C, and give what is then said."""
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert "Error" not in said
    return said


@windows
def test_the_demonstration_answers_and_ends_with_the_bill() -> None:
    with command("--demo", "--queries", "30", "--port", "0") as process:
        _, read = until(process.stdout, r"^q-5000 .* \$\S+ +(right|wrong)  \S+")
        assert re.search(r"page http://127\.0\.0\.1:[1-9]\d*/headrace", read)
        assert "expect" in read
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    bill = said.strip().splitlines()[-1]
    assert re.match(r"30 questions: [\d.]+% right, \$\S+ against \$\S+ for large alone \(-\d+%\); mean ", bill)


@windows
def test_ctrl_c_ends_the_demonstration_with_the_bill() -> None:
    with command("--demo", "--port", "0") as process:
        found, _ = until(process.stdout, r"page (\S+)/headrace")
        until(process.stdout, "^q-5003 ")
        state = httpx.get(f"{found[1]}/headrace/state", timeout=PATIENCE).json()
        assert state["n"] >= 4
        said = ended(process)
    assert re.search(r"\n?\d+ questions: .* against ", said)


@windows
def test_ctrl_c_twice_ends_the_demonstration_without_a_traceback() -> None:
    with command("--demo", "--port", "0") as process:
        until(process.stdout, "^q-5003 ")
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)  # the first one has begun to end it
        assert " questions: " in ended(process)


def settings(folder: Path, url: str) -> Path:
    targets = "".join(f'[targets.{name}]\nurl = "{url}"\nmodel = "{name}"\n' for name in MODELS)
    (folder / "serve.toml").write_text(
        f'router = "router.headrace"\n[log]\npath = "decisions.jsonl"\n{targets}', encoding="utf-8"
    )
    return folder / "serve.toml"


def answered(url: str) -> Any:
    """Ask for health until somebody is there."""
    by = time.monotonic() + PATIENCE
    while True:
        try:
            return httpx.get(f"{url}/health").json()
        except httpx.TransportError:
            assert time.monotonic() < by
            time.sleep(0.1)


@windows
@pytest.mark.parametrize("workers", [1, 2])
def test_a_router_is_served_by_one_process_or_by_two(
    provider: FakeProvider, decider: hr.Decider, tmp_path: Path, workers: int
) -> None:
    decider.save(tmp_path / "router.headrace")
    settings(tmp_path, provider.url)
    with command("--port", "0", "--workers", str(workers), folder=tmp_path) as process:
        found, read = until(process.stdout, r"base_url (http://127\.0\.0\.1:[1-9]\d*)/v1")
        assert "Decider" not in read
        assert answered(found[1]) == {"status": "ok", "policy": decider.fingerprint}
        for row in range(8):
            body = {"messages": asked(f"[id w-{row}] {row} + 1"), "headrace": {"id": f"w-{row}"}}
            answer = httpx.post(f"{found[1]}/v1/chat/completions", json=body, timeout=PATIENCE).json()
            assert answer["choices"][0]["message"]["content"].endswith(f"[id w-{row}]")
        ended(process)
    assert all(f'"id":"w-{row}"' in (tmp_path / "decisions.jsonl").read_text() for row in range(8))


@windows
@pytest.mark.parametrize("columns", [["text"], ["text", "task"]])
def test_columns_that_an_app_must_send_are_told(provider: FakeProvider, tmp_path: Path, columns: list[str]) -> None:
    queries = {"text": [f"{row} + 1" for row in range(60)], "task": ["sum", "product"] * 30}
    rng = np.random.default_rng(0)
    table = hr.Outcomes(
        models=list(MODELS),
        quality=rng.integers(0, 2, (60, len(MODELS))),
        cost=np.tile(1.0 + np.arange(len(MODELS)), (60, 1)),
        queries={name: queries[name] for name in columns},
    )
    hr.Router().fit(table, budget=1.5).save(tmp_path / "router.headrace")
    settings(tmp_path, provider.url)
    with command("--port", "0", folder=tmp_path) as process:
        found, read = until(process.stdout, r"base_url (http://127\.0\.0\.1:[1-9]\d*)/v1")
        assert ("beside the text, the fit had 'task' of a query" in read) == ("task" in columns)
        assert answered(found[1])["status"] == "ok"
        ended(process)


def refused(*arguments: str, folder: Path) -> str:
    """Give the one line that says what can't be done."""
    with command(*arguments, folder=folder) as process:
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, said
    lines: list[str] = said.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


@windows
def test_what_can_not_be_served_is_told_in_one_line(
    provider: FakeProvider, decider: hr.Decider, tmp_path: Path
) -> None:
    assert "serve.toml: no such file" in refused(folder=tmp_path)
    settings(tmp_path, provider.url)
    assert "router.headrace" in refused(folder=tmp_path)
    assert "other.headrace" in refused("other.headrace", folder=tmp_path)
    (tmp_path / "router.headrace").write_bytes(b"PK")
    assert "router.headrace" in refused(folder=tmp_path)
    decider.save(tmp_path / "router.headrace")
    assert "lets in other machines" in refused("--host", "0.0.0.0", folder=tmp_path)
    assert "--port and --queries" in refused("--demo", "--workers", "2", folder=tmp_path)
    taken = re.search(r":(\d+)/", provider.url)
    assert taken is not None
    for first in ((), ("--demo",)):
        said = refused(*first, "--port", taken[1], folder=tmp_path)
        assert f"127.0.0.1:{taken[1]}" in said
        assert "--port" in said
