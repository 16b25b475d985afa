"""The target for litellm: what it passes on, with a stand-in; and the real one, where it is installed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from headrace.runner import Fault, LitellmTarget, Request, Target

if TYPE_CHECKING:
    from fake_provider import FakeProvider


class RateLimitError(Exception):
    """As litellm has it: its text repeats what the provider wrote."""

    status_code = 429


class Response:
    """As much of litellm's response as is looked at."""

    def __init__(self, cost: float | None) -> None:
        self._hidden_params = {"response_cost": cost}

    def model_dump(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": "42"}
        usage = {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": None}
        return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Put a module in litellm's place; it notes what it is asked."""
    calls: list[dict[str, Any]] = []

    async def acompletion(**given: Any) -> Response:
        calls.append(given)
        if given.get("user") == "often":
            raise RateLimitError("slow down, sk-secret")
        await asyncio.sleep(given.get("top_p", 0.0))
        return Response(0.002)

    module = ModuleType("litellm")
    module.acompletion = acompletion  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "litellm", module)
    return calls


def request(text: str = "17 + 25", *, timeout_s: float = 5.0, **options: Any) -> Request:
    return Request(id="q-17", model="small", query=text, options=options, timeout_s=timeout_s)


def test_what_is_asked_and_what_comes_back(asked: list[dict[str, Any]]) -> None:
    target = LitellmTarget("anthropic/claude", temperature=0.5, seed=3, num_retries=7, api_key="sk-secret")
    assert isinstance(target, Target)
    assert repr(target) == "LitellmTarget('anthropic/claude')"
    reply = asyncio.run(target.call(request(temperature=0.0)))
    assert asked == [
        {
            "model": "anthropic/claude",
            "messages": [{"role": "user", "content": "17 + 25"}],
            "temperature": 0.0,
            "seed": 3,
            "api_key": "sk-secret",
            "timeout": 5.0,
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": True,
            "stream": False,
        }
    ]
    assert (reply.answer, reply.cost, reply.columns["output_tokens"], reply.finish) == ("42", 0.002, 3, "stop")


def test_an_exception_becomes_a_fault_without_its_text(asked: list[dict[str, Any]]) -> None:
    with pytest.raises(Fault) as caught:
        asyncio.run(LitellmTarget("openai/small").call(request(user="often")))
    assert caught.value.kind == "rate_limited"
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


def test_it_ends_when_its_time_is_up(asked: list[dict[str, Any]]) -> None:
    with pytest.raises(Fault) as caught:
        asyncio.run(LitellmTarget("openai/small").call(request(top_p=30.0, timeout_s=0.05)))
    assert caught.value.kind == "timeout"


def test_without_litellm_it_says_how_to_get_it() -> None:
    code = (
        "import sys, asyncio\n"
        "sys.modules['litellm'] = None\n"
        "from headrace.runner import LitellmTarget, Request\n"
        "try:\n"
        "    asyncio.run(LitellmTarget('openai/small').call(Request(id='q', model='small', query='hi')))\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout == "LitellmTarget needs litellm: pip install 'headrace[litellm]'\n", run.stderr


@pytest.mark.filterwarnings("default")
def test_the_real_one_calls_a_provider(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("litellm")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    target = LitellmTarget(
        "openai/large",
        api_base=provider.url,
        logprobs=True,
        input_cost_per_token=1e-6,
        output_cost_per_token=1e-5,
    )

    async def run() -> None:
        reply = await target.call(request("[id q-17] 17 + 25", timeout_s=20.0))
        assert reply.answer == "42 [id q-17]"
        assert reply.cost == pytest.approx(35e-6)
        assert reply.columns["logprob"] < 0.0
        for name, kind in {"429": "rate_limited", "context": "context", "401": "auth", "empty": "malformed"}.items():
            before = provider.calls["large"]
            with pytest.raises(Fault) as caught:
                await target.call(request(f"[fault large={name} after=0.05] 1 + 1"))
            assert caught.value.kind == kind
            assert provider.calls["large"] == before + 1

    asyncio.run(run())
