"""The router's file is replaced while requests run."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("prometheus_client")

from gateways import asked, heard, serving  # noqa: E402  # they need uvicorn

from headrace.gateway import app  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from fake_provider import FakeProvider

    import headrace as hr

CHAT = "/v1/chat/completions"
BUDGETS = (2.0, 3.0, 5.0, 6.0, 8.0)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "LOOK_S", 0.02)


def policy_of(served: Any) -> str:
    told: str = served.http.get("/health").json()["policy"]
    return told


def comes(served: Any, policy: str) -> bool:
    """Whether a policy decides, within some time."""
    until = time.monotonic() + 30.0
    while policy_of(served) != policy and time.monotonic() < until:
        time.sleep(0.02)
    return policy_of(served) == policy


def test_no_request_is_dropped_while_the_file_is_replaced(
    provider: FakeProvider, decider: hr.Decider, tmp_path: Path
) -> None:
    path = tmp_path / "router.headrace"
    decider.save(path)
    others = [decider.with_budget(budget) for budget in BUDGETS]
    known = [decider.fingerprint, *(other.fingerprint for other in others)]
    n = 200

    async def main(served: Any) -> list[Any]:
        async with httpx.AsyncClient(base_url=served.url, timeout=60.0) as http:

            async def one(row: int) -> Any:
                text = f"[id r-{row}] {row} + 1 [fault all=slow after={0.1 + 0.02 * (row % 50)}]"
                return await http.post(CHAT, json={"messages": asked(text), "headrace": {"id": f"r-{row}"}})

            tasks = []
            for number in range(len(known)):
                tasks += [asyncio.create_task(one(row)) for row in range(n) if row * len(known) // n == number]
                await asyncio.sleep(0.05)
                if number < len(others):
                    await asyncio.to_thread(others[number].save, path)
                    assert await asyncio.to_thread(comes, served, known[number + 1])
            return await asyncio.gather(*tasks)

    with heard() as lines, serving(provider.url, decider, artefact=path) as served:
        answers = asyncio.run(main(served))
    assert [answer.status_code for answer in answers] == [200] * n
    receipts = [answer.json()["headrace"] for answer in answers]
    assert [receipt["decision"] for receipt in receipts] == [f"r-{row}" for row in range(n)]
    for row, receipt in enumerate(receipts):
        assert receipt["policy"] in known[row * len(known) // n :]
    assert receipts[-1]["policy"] == known[-1]
    assert [line.split(" ")[1] for line in lines if "decides from now on" in line] == ["router.headrace"] * len(others)


def test_a_file_that_is_none_is_not_taken_up(provider: FakeProvider, decider: hr.Decider, tmp_path: Path) -> None:
    path = tmp_path / "router.headrace"
    decider.save(path)
    good = path.read_bytes()
    broken = [b"", b"x", good[: len(good) // 2], good[:2000] + b"\0\1\2" + good[2003:]]
    with heard() as lines, serving(provider.url, decider, artefact=path) as served:
        for number, content in enumerate(broken, 1):
            path.write_bytes(content)
            until = time.monotonic() + 30.0
            while sum("is not taken up" in line for line in lines) < number and time.monotonic() < until:
                time.sleep(0.02)
            assert sum("is not taken up" in line for line in lines) >= number
            assert policy_of(served) == decider.fingerprint
            assert served.http.post(CHAT, json={"messages": asked("1 + 1")}).status_code == 200
        path.unlink()
        assert policy_of(served) == decider.fingerprint
        other = decider.with_budget(BUDGETS[0])
        other.save(path)
        assert comes(served, other.fingerprint)


def test_a_file_that_was_replaced_before_the_start_is_taken_up(
    provider: FakeProvider, decider: hr.Decider, tmp_path: Path
) -> None:
    other = decider.with_budget(BUDGETS[0])
    other.save(tmp_path / "router.headrace")
    with serving(provider.url, decider, artefact=tmp_path / "router.headrace") as served:
        assert comes(served, other.fingerprint)
