"""Check what is in an sdist and in wheels: what must be there is, and nothing big or foreign came along."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from pathlib import Path

#: No file but the compiled core is larger, and no archive.
MOST_BYTES_OF_FILE, MOST_BYTES = 400_000, 4_000_000

SDIST_NEEDS = ("LICENSE", "README.md", "CHANGELOG.md", "PKG-INFO", "Cargo.toml", "Cargo.lock", "pyproject.toml")
SDIST_NEEDS += (
    "rust_src/lib.rs",
    "python/headrace/__init__.py",
    "python/headrace/_core.pyi",
    "python/headrace/py.typed",
)
SDIST_ROOMS = {"rust_src", "python", "tests", "benches"}
WHEEL_NEEDS = (
    r"headrace/__init__\.py",
    r"headrace/_core\.pyi",
    r"headrace/py\.typed",
    r"headrace/_core\.[^/]*(so|pyd)",
)
WHEEL_NEEDS += (r"headrace-[^/]*\.dist-info/licenses/LICENSE", r"headrace-[^/]*\.dist-info/sboms/[^/]*\.json")
CORE = re.compile(r"headrace/_core\.[^/]*\.(so|pyd)")
FOREIGN = re.compile(r"(^|/)(__pycache__|\.[^/]+)(/|$)|\.(pyc|orig|bak|pkl|pem|key|db|sqlite|log)$")


def sdist_members(path: Path) -> dict[str, int]:
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2]: member.size for member in archive if member.isfile()}


def wheel_members(path: Path) -> dict[str, int]:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: entry.file_size for entry in archive.infolist() if not entry.is_dir()}


def remarks(path: Path) -> list[str]:
    """Say what is wrong with an archive."""
    if path.stat().st_size > MOST_BYTES:
        return [f"has {path.stat().st_size} bytes, over {MOST_BYTES}"]
    if path.name.endswith(".tar.gz"):
        members = sdist_members(path)
        rooms = {name.split("/")[0] for name in members if "/" in name}
        found = [f"lacks {name}" for name in SDIST_NEEDS if name not in members]
        found += [f"has a folder {name}/" for name in sorted(rooms - SDIST_ROOMS)]
        found += [f"has {name}, which is built" for name in members if name.endswith((".so", ".pyd", ".dll", ".dylib"))]
    elif path.suffix == ".whl":
        members = wheel_members(path)
        found = [f"lacks {need}" for need in WHEEL_NEEDS if not any(re.fullmatch(need, name) for name in members)]
        found += [f"has {name}" for name in members if not name.startswith(("headrace/", "headrace-"))]
    else:
        return ["is neither an sdist (.tar.gz) nor a wheel (.whl)"]
    found += [f"has {name}" for name in members if FOREIGN.search(name)]
    found += [
        f"has {name} of {size} bytes"
        for name, size in members.items()
        if size > MOST_BYTES_OF_FILE and not CORE.fullmatch(name)
    ]
    print(f"{path.name}: {len(members)} files, {path.stat().st_size / 1e6:.2f} MB")
    return found


def main(paths: list[str]) -> None:
    if not paths:
        sys.exit("give the files to check: dist/*")
    wrong = [f"{path}: {remark}" for path in paths for remark in remarks(Path(path))]
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])
