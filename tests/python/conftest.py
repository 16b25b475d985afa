"""What all tests share: Hypothesis' profile, and the provider that runners and gateways call."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from fake_provider import FakeProvider

# Threads of OpenMP, which scikit-learn's trees use, wait for each other busily: where two workers of pytest have two
# cores, they take both from those that they wait for. It is read when the library is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Where the environment says CI, Hypothesis draws the same cases every time: a red run then speaks of the change.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def provider() -> Iterator[FakeProvider]:
    """Start a server for the session. Tests whose faults have ``times=`` take ids of their own."""
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    from fake_provider import FakeProvider

    with FakeProvider() as server:
        yield server
