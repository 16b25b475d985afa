"""The provider and the router of the other tests, for models that are called through other people's packages."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "python"))

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or litellm asks the internet for prices

import pools
from fake_provider import FakeProvider

import headrace as hr
from headrace.runner import OpenAITarget

PRICES = {"small": 0.05, "medium": 0.4, "large": 3.0}


@pytest.fixture(scope="session")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture(scope="session")
def decider() -> hr.Decider:
    return pools.fitted()


@pytest.fixture(scope="session")
def targets(provider: FakeProvider) -> dict[str, OpenAITarget]:
    return {
        name: OpenAITarget(
            provider.url,
            name,
            prices={"input": 1000 * price, "output": 4000 * price},
            options={"logprobs": True},
        )
        for name, price in PRICES.items()
    }


@pytest.fixture
async def runner(decider: hr.Decider, targets: dict[str, OpenAITarget]) -> AsyncIterator[hr.Runner]:
    """Give a runner whose connections are closed in the test's loop, and in its own."""
    with hr.Runner(decider, targets, retry=hr.runner.Retry(base_s=0.01)) as runner:
        yield runner
        await runner.aclose()
