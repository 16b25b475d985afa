"""The provider that the runner's tests call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fake_provider import FakeProvider


@pytest.fixture(scope="session")
def provider() -> Iterator[FakeProvider]:
    """Start a server for the session. Tests whose faults have ``times=`` take ids of their own."""
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    from fake_provider import FakeProvider

    with FakeProvider() as server:
        yield server
