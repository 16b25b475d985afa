"""Sizes of the rooms: a file that has grown too long is two files."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

#: Files over the limit, each with its reason.
LONGER: dict[str, str] = {}

LIMITS = {"python/headrace/**/*.py": 450, "rust_src/**/*.rs": 500}


@pytest.mark.skipif(not (ROOT / "rust_src").is_dir(), reason="the tests run without the source tree")
@pytest.mark.parametrize("pattern", LIMITS)
def test_no_file_is_too_long(pattern: str) -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in ROOT.glob(pattern)
    }
    assert len(lengths) > 30
    long = {name: n for name, n in lengths.items() if n > LIMITS[pattern] and name not in LONGER}
    assert not long
