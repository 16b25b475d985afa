"""Print the oldest versions that pyproject.toml allows, one `name==version` a line, as constraints for pip."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def floors(extras: list[str]) -> list[str]:
    """List the floors of the package and of some of its extras."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for name in extras for line in project["optional-dependencies"][name])]
    found = []
    for line in wanted:
        match = re.match(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=([0-9.]+)", line)
        if match is None:
            sys.exit(f"pyproject.toml: {line!r} has no floor")
        found.append(f"{match[1]}=={match[2]}")
    return sorted(set(found))


if __name__ == "__main__":
    print("\n".join(floors(sys.argv[1:])))
