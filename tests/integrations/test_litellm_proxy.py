"""litellm's proxy, a process of its own, with the provider in it: the fault matrix, as a client sees it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider
from fault_matrix import MATRIX, NAMES, small_first
from pools import MODELS

import headrace as hr

yaml = pytest.importorskip("yaml")
pytest.importorskip("litellm.proxy.proxy_cli")

ROOT = Path(__file__).resolve().parents[2]

#: Starting takes the proxy half a minute of one core, which may have other work.
START_S = 200.0
pytestmark = pytest.mark.timeout(START_S + 60.0)

KEY = f"sk-{os.urandom(16).hex()}"

PLANTED = "violet harbour"

#: A provider beside the example's: its breaker never opens, as nearly all of its calls fail.
HANDLER = """
from headrace import load
from headrace.integrations.litellm import HeadraceLLM
from headrace.runner import OpenAITarget, Retry, Runner

targets = {
    name: OpenAITarget(URL, name, prices={"input": 1.0, "output": 4.0}, options={"logprobs": True}, max_bytes=1_000_000)
    for name in MODELS
}
timeouts = dict.fromkeys(MODELS, 30.0) | {"small": 2.0}
runner = Runner(load(ROUTER), targets, breaker=None, retry=Retry(base_s=0.001, cap_s=1.0), timeout_s=timeouts)
provider = HeadraceLLM(runner)
"""

#: Status of an answer that no model gave, by the kind of all faults; 502 for the others.
STATUSES = {"rate_limited": 429, "bad_request": 400, "context": 400, "filtered": 400, "timeout": 504}

Ask = Callable[..., httpx.Response]


def written(folder: Path, decider: hr.Decider, url: str) -> Path:
    """Write the router, serve.toml, the second provider, and the example's configuration with that one in it."""
    router = folder / "router.headrace"
    decider.save(router)
    targets = [f'[targets.{name}]\nurl = "{url}"\nmodel = "{name}"' for name in decider.models]
    (folder / "serve.toml").write_text("\n".join(['router = "router.headrace"', *targets]))
    names = {"URL": url, "MODELS": MODELS, "ROUTER": str(router)}
    (folder / "matrix.py").write_text("".join(f"{name} = {value!r}\n" for name, value in names.items()) + HANDLER)
    told = yaml.safe_load((ROOT / "examples" / "litellm_proxy.yaml").read_text())
    told["model_list"].append({"model_name": "matrix", "litellm_params": {"model": "matrix/headrace"}})
    entry = {"provider": "matrix", "custom_handler": "matrix.provider"}
    told["litellm_settings"]["custom_provider_map"].append(entry)
    path = folder / "litellm_proxy.yaml"
    path.write_text(yaml.safe_dump(told))
    return path


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, decider: hr.Decider, provider: FakeProvider) -> Iterator[str]:
    """Start the proxy; give its URL."""
    folder = tmp_path_factory.mktemp("proxy")
    config = written(folder, decider, provider.url)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [Path(sys.executable).parent / "litellm", "--config", config, "--host", "127.0.0.1", "--port", str(port)]
    told = {"HEADRACE_SERVE": str(folder / "serve.toml"), "LITELLM_MASTER_KEY": KEY}
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(command, env={**os.environ, **told, **quiet}, stdout=log, stderr=log, cwd=folder)
        try:
            until = time.monotonic() + START_S
            while not answers(url):
                if process.poll() is not None or time.monotonic() > until:
                    pytest.fail(f"the proxy did not start:\n{(folder / 'log').read_text()[-3000:]}")
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/liveliness", timeout=2.0).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def ask(proxy: str) -> Iterator[Ask]:
    with httpx.Client(base_url=proxy, headers={"authorization": f"Bearer {KEY}"}, timeout=60.0) as client:

        def asked(text: str, model: str = "matrix", stream: bool = False, **terms: Any) -> httpx.Response:
            messages = [{"role": "user", "content": text}]
            body = {"model": model, "messages": messages, "headrace": terms, "stream": stream}
            return client.post("/v1/chat/completions", json=body)

        yield asked


def test_the_examples_configuration_answers(ask: Ask) -> None:
    response = ask("17 + 25 [id example]", model="headrace", id="example")
    assert response.status_code == 200
    body = response.json()
    assert body["headrace"]["decision"] == "example"
    assert body["model"] == "headrace"
    assert response.headers["llm_provider-x-headrace-model"] == body["headrace"]["model"]


def test_only_its_key_opens_it(proxy: str, provider: FakeProvider) -> None:
    before = provider.calls.total()
    body = {"model": "matrix", "messages": [{"role": "user", "content": "Hi"}]}
    response = httpx.post(f"{proxy}/v1/chat/completions", json=body, headers={"authorization": "Bearer sk-other"})
    assert response.status_code in (400, 401)
    assert provider.calls.total() == before


@pytest.mark.parametrize(("fault", "kind", "n_calls"), MATRIX, ids=NAMES)
def test_each_fault_has_its_kind_and_another_model_answers(
    ask: Ask, decider: hr.Decider, provider: FakeProvider, fault: str, kind: str, n_calls: int
) -> None:
    id, text = small_first(decider, f"p-{kind}", fault)
    before = Counter(provider.calls)
    response = ask(text, id=id, columns={"difficulty": 0.1})
    assert response.status_code == 200, response.text
    body = response.json()
    receipt = body["headrace"]
    called = Counter(attempt["model"] for attempt in receipt["attempts"])
    assert provider.calls - before == called
    assert [a["kind"] for a in receipt["attempts"] if a["model"] == "small"] == [kind] * n_calls
    assert {a["kind"] for a in receipt["attempts"] if a["model"] != "small"} == {"ok"}
    assert receipt["model"] in receipt["runs"]
    assert "small" not in receipt["runs"]
    assert f"[id {id}]" in body["choices"][0]["message"]["content"]
    assert response.headers["llm_provider-x-headrace-model"] == receipt["model"]
    assert float(response.headers["x-litellm-response-cost"]) == pytest.approx(receipt["cost"]["cost"])
    assert provider.is_idle(1.0)


@pytest.mark.parametrize(("fault", "kind", "n_calls"), MATRIX, ids=NAMES)
def test_if_all_models_have_it_the_client_gets_its_status(
    ask: Ask, provider: FakeProvider, fault: str, kind: str, n_calls: int
) -> None:
    before = Counter(provider.calls)
    terms: Mapping[str, Any] = {"deadline_s": 1.0} if fault == "hang" else {}
    response = ask(f"17 + 25 {PLANTED} [fault all={fault}]", **terms)
    status = STATUSES.get(kind, 502)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == str(status)
    assert PLANTED not in response.text
    if fault == "hang":
        assert "(deadline)" in error["message"]
    else:
        assert provider.calls - before == Counter(dict.fromkeys(MODELS, n_calls))
        assert all(f"{name}: {kind}" in error["message"] for name in MODELS)
    assert provider.is_idle(1.0)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_a_stream_goes_on_to_another_model(ask: Ask, decider: hr.Decider) -> None:
    id, text = small_first(decider, "p-stream", "500")
    chunks = events(ask(text, stream=True, id=id, columns={"difficulty": 0.1}, mode="buffer"))
    content = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert f"[id {id}]" in content
    (receipt,) = [chunk["headrace"] for chunk in chunks if "headrace" in chunk]
    assert [a["kind"] for a in receipt["attempts"] if a["model"] == "small"] == ["server"] * 2


def test_a_stream_that_no_model_begins_is_an_error(ask: Ask, provider: FakeProvider) -> None:
    before = Counter(provider.calls)
    response = ask(f"17 + 25 {PLANTED} [fault all=500]", stream=True)
    assert response.status_code == 502
    assert all(f"{name}: server" in response.json()["error"]["message"] for name in MODELS)
    assert PLANTED not in response.text
    assert provider.calls - before == Counter(MODELS)  # a stream calls no model twice
