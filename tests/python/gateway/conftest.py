"""The gateway that most tests ask: fitted on the small pool, in front of the tests' provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pools
import pytest

import headrace as hr

if TYPE_CHECKING:
    from fake_provider import FakeProvider


@pytest.fixture(scope="session")
def decider() -> hr.Decider:
    return pools.fitted()


@pytest.fixture(scope="session")
def gateway(provider: FakeProvider, decider: hr.Decider) -> Iterator[Any]:
    for name in ("httpx", "prometheus_client"):
        pytest.importorskip(name)
    from gateways import serving

    with serving(provider.url, decider) as listening:
        yield listening


@pytest.fixture(scope="session")
def client(gateway: Any) -> Iterator[Any]:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-none", max_retries=0, timeout=30.0) as made:
        yield made
