"""The gateway as a Ray Serve deployment with two replicas, on a Ray of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray.serve")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "ray_serve.py"


@pytest.mark.timeout(200)
def test_the_example_is_answered_by_its_replicas() -> None:
    # A cluster of its own, whatever else runs on the machine.
    own = os.environ | {"RAY_ADDRESS": "local", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run([sys.executable, EXAMPLE], env=own, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^20 answers: (\w+( > \w+)*, ){5}\.\.\.$", done.stdout, re.MULTILINE)
    assert re.search(r"^mean cost \d", done.stdout, re.MULTILINE)
