"""List the pages of results that are older than the code that they measure: ``make stale``.

A page names its command, and so the file of the bench. What the bench imports says which rooms it measures; that of the
rules is the Rust core as well, and a router is what a fit passes through. A page is as old as the last commit that
changed a row of its tables. The list is for people: a commit may have changed no number. Without history it says so.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = Path("python/headrace")

#: What counts as measured with a room, beside its own files.
BELOW = {
    "router": ("beliefs", "calibration", "estimators", "policy"),
    "evaluation": ("policy",),
}

#: Rooms that are one file; other files of the package itself are small things that all rooms share.
WHOLE = {"router", "rules"}

CORE = Path("rust_src")


def benches(page: str, root: Path = ROOT) -> list[Path]:
    """Give the files that the commands of a page run, relative to `root`."""
    named = {Path(path) for path in re.findall(r"\bbenches/[\w/]+\.py", page)}
    if re.search(r"`headrace bench [\w-]+", page):
        named.add(PACKAGE / "benchmarks")
    return sorted(path for path in named if (root / path).exists())


def rooms(bench: Path, root: Path = ROOT) -> list[Path]:
    """Give the rooms that a bench imports, names as ``hr.<name>``, or has its own name of; paths relative to `root`."""
    homes = _homes(root)
    found = {bench.stem}
    files = sorted((root / bench).rglob("*.py")) if (root / bench).is_dir() else [root / bench]
    for tree in (ast.parse(file.read_text(encoding="utf-8")) for file in files):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("headrace."):
                found.add(node.module.split(".")[1])
            elif isinstance(node, ast.ImportFrom) and node.module == "headrace":
                found.update(homes.get(name.name, name.name) for name in node.names)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "hr":
                found.add(homes.get(node.attr, node.attr))
    found.update(below for room in tuple(found) for below in BELOW.get(room, ()))
    paths = {PACKAGE / room for room in found} | {PACKAGE / f"{name}.py" for name in found & WHOLE}
    return sorted(
        {path for path in paths if (root / path).exists()} - {bench} | ({CORE} if "rules" in found else set())
    )


def _homes(root: Path) -> dict[str, str]:
    """Give the room of each name of the package itself: its table of lazy names, and the names that it imports."""
    homes: dict[str, str] = {}
    for node in ast.parse((root / PACKAGE / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "_ROOMS":
            homes |= {name: home.split(".")[0] for name, home in ast.literal_eval(node.value).items()}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("headrace."):
            homes |= {name.name: str(node.module).split(".")[1] for name in node.names}
    return homes


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def report(root: Path = ROOT) -> list[str]:
    """Give the lines that are printed."""
    try:
        if git(root, "rev-parse", "--is-shallow-repository") == "true":
            return ["stale: not known, as this clone has no history"]
    except (OSError, subprocess.CalledProcessError):
        return ["stale: not known, as this is no clone"]
    pages = [path for path in sorted((root / "docs/results").glob("*.md")) if path.stem != "index"]
    lines = []
    for page in pages:
        name = page.relative_to(root).as_posix()
        rows = ("-G", "^[|] .*[0-9]")
        made = git(root, "log", "-1", "--format=%h %as", *rows, "--", name) or git(
            root, "log", "-1", "--format=%h %as", "--", name
        )
        if not made:
            continue
        commit, day = made.split()
        since = {path: _since(root, commit, path) for path in measured(page.read_text(encoding="utf-8"), root)}
        changed = sorted(((n, path) for path, n in since.items() if n), key=lambda one: (-one[0], one[1]))
        if changed or not since:
            told = ", ".join(f"{_short(path)} {n}" for n, path in changed) or "names no command"
            lines.append(f"{name.removeprefix('docs/results/'):26}{day}  {told}")
    if not lines:
        return [f"all {len(pages)} pages of docs/results are as new as what they measure"]
    return [
        f"{len(lines)} of {len(pages)} pages of docs/results are older than something that they measure.",
        "The page, the day of its tables, and the commits since then by what they changed:",
        *lines,
    ]


def measured(page: str, root: Path = ROOT) -> list[Path]:
    """Give what a page measures: its benches and their rooms."""
    own = benches(page, root)
    return list(dict.fromkeys([*own, *(room for bench in own for room in rooms(bench, root))]))


def _since(root: Path, commit: str, path: Path) -> int:
    return int(git(root, "rev-list", "--count", f"{commit}..HEAD", "--", path.as_posix()))


def _short(path: Path) -> str:
    return path.as_posix().removeprefix("python/headrace/").removeprefix("benches/python/")


if __name__ == "__main__":
    sys.stdout.write("\n".join(report()) + "\n")
