"""The quickstart as a new user types it, in an empty folder: its blocks, its commands, its gateway."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("prometheus_client")

from command_line import RUNNER  # noqa: E402  # it needs typer

from headrace.commands import app  # noqa: E402

PAGE = Path(__file__).parents[3] / "docs" / "quickstart.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the tests run without the source tree")


def blocks() -> list[tuple[str, str]]:
    """Give the blocks of the page in their order: kind and text."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.S | re.M)


@pytest.mark.timeout(300)
def test_the_quickstart_works_as_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[tuple[str, str]] = []
    typed, printed = [], ""
    for kind, text in blocks():
        if kind == "python":
            exec(compile(text, str(PAGE), "exec"), {"__name__": "__main__"})
            printed = capsys.readouterr().out
        elif kind == "text":
            assert printed == text
        elif kind == "toml":
            (tmp_path / "serve.toml").write_text(text.replace("8700", str(free_port())), encoding="utf-8")
        else:
            assert kind == "console"
            for line in text.splitlines():
                name, *arguments = shlex.split(line.removeprefix("$ "))
                typed.append(name if name != "headrace" else arguments[0])
                if name == "headrace" and arguments[0] != "serve":
                    result = RUNNER.invoke(app, arguments)
                    assert result.exit_code == 0, (line, result.output)
                    said.append((arguments[0], result.output))
    assert typed == ["pip", "evaluate", "fit", "show", "explain", "explain", "serve", "curl"]
    assert {path.name for path in tmp_path.iterdir()} == {"runs.csv", "router.headrace", "serve.toml"}
    assert "This router pays at this budget" in dict(said)["evaluate"]
    easy, hard = (text for name, text in said if name == "explain")
    assert "Run small: cascade-routing" in easy
    assert "Run large: cascade-routing" in hard
    assert decided(tmp_path)["next"] == "large"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def decided(folder: Path) -> dict[str, object]:
    """Type the page's last two commands: the gateway in one terminal, curl in another."""
    serve, curl = [line[2:] for kind, text in blocks() if kind == "console" for line in text.splitlines()][-2:]
    assert shlex.split(serve)[:2] == ["headrace", "serve"]
    _, _, url, _, body = shlex.split(curl)
    port = (folder / "serve.toml").read_text(encoding="utf-8").partition("port = ")[2].split()[0]
    program = [sys.executable, "-c", "from headrace.cli import main; main()", *shlex.split(serve)[1:]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part), "NO_COLOR": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(program, cwd=folder, env=environment, text=True, start_new_session=True, **pipes) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("page http://127.0.0.1:"):
                    break
            else:
                raise AssertionError("the gateway ended")
            answer = httpx.post(url.replace("8700", port), content=body, timeout=60.0)
            assert answer.status_code == 200, answer.text
            given: dict[str, object] = json.loads(answer.text)
            return given
        finally:
            process.send_signal(signal.SIGKILL)
