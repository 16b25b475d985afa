"""The repository's own files agree: versions, workflows, make targets, licences, the pages for contributors."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import headrace as hr

ROOT = Path(__file__).resolve().parents[3]

#: Files of the core that may have unsafe code: each was read for it.
AUDITED = {"rust_src/py/arrays.rs", "rust_src/py/fastcall.rs", "rust_src/expected_max/lanes.rs"}

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTION = re.compile(r"uses: (?P<name>[\w-]+/[\w-]+)@(?P<pin>[0-9a-f]{40}) # v(?P<version>\d+\.\d+\.\d+)")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def cargo() -> dict[str, Any]:
    return tomllib.loads(text("Cargo.toml"))


def targets() -> dict[str, str]:
    """Make's targets that have a line in its help, with that line."""
    return dict(re.findall(r"^([a-z-]+):.*## (.*)$", text("Makefile"), flags=re.MULTILINE))


def loaded(name: str) -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(text(name))


def runs(workflow: dict[str, Any]) -> list[str]:
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


def test_all_files_name_one_version() -> None:
    version = cargo()["package"]["version"]
    assert hr.__version__ == version
    assert loaded("CITATION.cff")["version"] == version
    locked = tomllib.loads(text("Cargo.lock"))["package"]
    assert [package["version"] for package in locked if package["name"] == "headrace"] == [version]


def test_the_changelog_has_an_entry_of_this_version() -> None:
    heads = re.findall(r"^## (.*)$", text("CHANGELOG.md"), flags=re.MULTILINE)
    assert heads[0] == "Unreleased"
    assert heads[1].split(" ")[0] == cargo()["package"]["version"]


def test_the_citation_names_the_paper() -> None:
    citation = loaded("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert [paper["title"] for paper in citation["references"]] == [
        "A Unified Approach to Routing and Cascading for LLMs"
    ]


def test_one_license_everywhere() -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert {project["license"], cargo()["package"]["license"], loaded("CITATION.cff")["license"]} == {"Apache-2.0"}


def test_every_target_says_what_it_does() -> None:
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", text("Makefile"), flags=re.MULTILINE)
    assert phony is not None
    assert set(phony[1].replace("\\\n", " ").split()) == set(targets())


def test_pages_name_targets_that_exist() -> None:
    for name in ("CONTRIBUTING.md", "RELEASING.md", "SECURITY.md"):
        for command in re.findall(r"`make ([a-z -]+)`|^make ([a-z-]+)", text(name), flags=re.MULTILINE):
            for target in " ".join(command).split():
                assert target in targets(), (name, target)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_what_is_here(path: Path) -> None:
    workflow = loaded(str(path.relative_to(ROOT)))
    for command in runs(workflow):
        for target in re.findall(r"\bmake ([a-z-]+)", command):
            assert target in targets(), target
        for script in re.findall(r"\bscripts/\w+\.py", command):
            assert (ROOT / script).is_file(), script
        groups = tomllib.loads(text("pyproject.toml"))["dependency-groups"]
        for pair in re.findall(r"--group .*?'([a-z-]+)' \|\| '([a-z-]+)'", command):
            assert set(pair) <= groups.keys()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_do_little_and_pins_what_it_uses(path: Path) -> None:
    workflow = loaded(str(path.relative_to(ROOT)))
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60
        wanted = {"id-token", "attestations"} if name == "publish" else {"contents"}
        assert job["permissions"].keys() == wanted
    content = path.read_text(encoding="utf-8")
    assert len(ACTION.findall(content)) == content.count("uses:")


def test_an_action_has_one_pin() -> None:
    found = {use for path in WORKFLOWS for use in ACTION.findall(path.read_text(encoding="utf-8"))}
    assert len(found) == len({name for name, _, _ in found})
    assert "actions/checkout" in {name for name, _, _ in found}


def test_hooks_run_what_is_here() -> None:
    for hook in loaded(".pre-commit-config.yaml")["repos"][0]["hooks"]:
        for target in re.findall(r"\bmake ([a-z-]+)", hook["entry"]):
            assert target in targets()
        for script in re.findall(r"\btests/[\w/]+\.py", hook["entry"]):
            assert (ROOT / script).is_file()


def test_files_of_github_are_yaml() -> None:
    found = [*(ROOT / ".github").rglob("*.yml"), *(ROOT / ".github").rglob("*.yaml")]
    assert len(found) >= 7
    for path in found:
        assert isinstance(loaded(str(path.relative_to(ROOT))), dict)


def test_paths_on_the_page_for_contributors_exist() -> None:
    rooms = [ROOT, ROOT / "python/headrace", ROOT / "rust_src", ROOT / "tests/python"]
    names = set(re.findall(r"`([\w./-]+(?:\.py|\.pyi|\.rs|\.md|\.toml|/))`", text("CONTRIBUTING.md")))
    assert len(names) > 40
    assert not {name for name in names if not any((room / name).exists() for room in rooms)}


def test_unsafe_code_is_in_audited_files_only() -> None:
    assert cargo()["lints"]["rust"]["unsafe_code"] == "deny"
    unsafe = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "rust_src").rglob("*.rs")
        if re.search(r"^(?!\s*//).*(\bunsafe\b|unsafe_code)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert unsafe == AUDITED


def allows(licence: str, allowed: set[str]) -> bool:
    """Whether a licence expression can be met by the allowed ones; AND binds closer than OR."""
    tokens = re.findall(r"[()]|[\w.+-]+(?: WITH [\w.+-]+)?", licence.replace("/", " OR "))
    code = [word if word in "()" else {"OR": "or", "AND": "and"}.get(word, str(word in allowed)) for word in tokens]
    return bool(eval(" ".join(code), {}))


@pytest.mark.parametrize(
    ("licence", "met"),
    [
        ("MIT", True),
        ("GPL-3.0", False),
        ("Unlicense/MIT", True),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", False),
        ("GPL-3.0 OR MIT AND MIT", True),
        ("Apache-2.0 WITH LLVM-exception", False),
    ],
)
def test_expressions_of_licences(licence: str, met: bool) -> None:
    assert allows(licence, {"MIT", "Apache-2.0"}) is met


def test_licences_of_all_crates_are_allowed() -> None:
    if shutil.which("cargo") is None:
        pytest.skip("cargo is not here")
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--all-features"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if told.returncode != 0:
        pytest.skip("cargo can't reach the crates")
    deny = tomllib.loads(text("deny.toml"))
    packages = json.loads(told.stdout)["packages"]
    assert len(packages) > 20
    registry = "registry+https://github.com/rust-lang/crates.io-index"
    assert {package["source"] for package in packages} <= {None, registry}
    allowed = set(deny["licenses"]["allow"])
    assert not {p["name"]: p["license"] for p in packages if not allows(p["license"] or "none", allowed)}
    oldest = tuple(map(int, cargo()["package"]["rust-version"].split(".")))
    newer = [p["name"] for p in packages if tuple(map(int, (p["rust_version"] or "1").split(".")))[:2] > oldest]
    assert not newer, "they need a newer Rust than rust-version says"


def test_a_source_distribution_takes_files_from_the_root_only() -> None:
    """Without a slash before it, "LICENSE" also takes those of all packages in .venv along."""
    patterns = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["include"]
    assert "/LICENSE" in patterns
    assert [pattern for pattern in patterns if not pattern.startswith("/")] == []


def test_every_dependency_has_a_floor() -> None:
    extras = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"].keys() - {"all"}
    command = [sys.executable, str(ROOT / "scripts/floors.py"), *sorted(extras)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    assert "numpy==1.26" in told
    assert "scipy==1.11.1" in told
    assert "scikit-learn==1.5" in told
    assert "ray==2.40" in told


def checked(*paths: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/check_distributions.py"), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("extra", "remark"),
    [
        ({}, ""),
        ({"headrace/__pycache__/a.pyc": 1}, "has headrace/__pycache__/a.pyc"),
        ({"headrace/big.npz": 500_000}, "has headrace/big.npz of 500000 bytes"),
        ({"tests/a.py": 1}, "has tests/a.py"),
        ({"headrace/_core.pyi": None}, r"lacks headrace/_core\.pyi"),
        ({"headrace-1.dist-info/licenses/LICENSE": None}, "lacks headrace-[^/]*"),
    ],
)
def test_what_is_in_a_wheel_is_looked_at(tmp_path: Path, extra: dict[str, int | None], remark: str) -> None:
    sound = ["headrace/__init__.py", "headrace/_core.pyi", "headrace/py.typed", "headrace/_core.abi3.so"]
    sound += ["headrace-1.dist-info/licenses/LICENSE", "headrace-1.dist-info/sboms/headrace.cyclonedx.json"]
    sizes: dict[str, int | None] = dict.fromkeys(sound, 10) | {"headrace/_core.abi3.so": 900_000}
    path = tmp_path / "headrace-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, size in (sizes | extra).items():
            if size is not None:
                archive.writestr(name, bytes(size))
    told = checked(path)
    assert told.returncode == (1 if remark else 0), told.stderr
    assert remark in told.stderr


def test_what_is_no_distribution_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "headrace.zip"
    other.write_bytes(b"x")
    assert "neither an sdist (.tar.gz) nor a wheel (.whl)" in checked(other).stderr
    assert "give the files to check" in checked().stderr
