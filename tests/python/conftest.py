"""Where the environment says CI, Hypothesis draws the same cases every time: a red run then speaks of the change."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
