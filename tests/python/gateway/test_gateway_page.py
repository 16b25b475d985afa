"""The page in a browser, where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("httpx")
pytest.importorskip("prometheus_client")

from gateways import asked, serving
from pools import MODELS

if TYPE_CHECKING:
    from pathlib import Path

    from fake_provider import FakeProvider

    import headrace as hr

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def seen(url: str, folder: Path, *options: str) -> str:
    """Give the page as it is after its first numbers; no script may fail."""
    assert BROWSER is not None
    ended = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={folder}",
            "--virtual-time-budget=4000",
            "--dump-dom",
            *options,
            f"{url}/headrace",
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    assert [line for line in ended.stderr.splitlines() if "CONSOLE" in line] == []
    return ended.stdout


def number(page: str, id: str) -> str:
    found = re.search(rf'id="{id}"[^>]*>([^<]*)<', page)
    assert found is not None
    return found[1]


@pytest.mark.skipif(BROWSER is None, reason="no browser")
def test_numbers_appear_and_go_on(provider: FakeProvider, decider: hr.Decider, tmp_path: Path) -> None:
    def ask(n: int, fault: str = "") -> None:
        for row in range(n):
            body = {"messages": asked(f"{row} + 1{fault}"), "headrace": {"columns": {"difficulty": row % 7 / 7}}}
            served.http.post("/v1/chat/completions", json=body)

    with serving(provider.url, decider) as served:
        empty = seen(served.url, tmp_path)
        assert number(empty, "n") == "0"
        assert "waiting" not in empty
        ask(30)
        first = seen(served.url, tmp_path)
        ask(15, " [fault small=500]")
        ask(1, " [fault all=400]")
        second = seen(served.url, tmp_path)
    assert (number(first, "n"), number(second, "n")) == ("30", "45")
    assert number(first, "cost") != number(second, "cost")
    assert "0 without an answer" in first
    assert "1 without an answer" in second
    assert "<polyline" in first
    assert len(re.findall(r'class="reason"', second)) == 10
    for page in (first, second):
        assert all(f"<span>{model}</span>" in page for model in MODELS)
        assert "NaN" not in page.split("<script>")[0]
        assert "undefined" not in page.split("<script>")[0]
