"""The examples of docs/integrations.md run, and `import headrace` imports none of the packages they need."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import headrace

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")

#: Sections with examples, and what each needs.
NEEDS = {
    "LangChain": "langchain_core",
    "litellm's SDK": "litellm",
    "OpenTelemetry": "opentelemetry",
    "Plain asyncio": "asyncio",
}


def blocks(text: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}


def test_every_section_with_examples_is_run() -> None:
    assert [name for name, text in SECTIONS.items() if blocks(text)] == list(NEEDS)


@pytest.mark.parametrize("section", NEEDS)
def test_examples_run(section: str) -> None:
    if find_spec(NEEDS[section]) is None:
        pytest.skip(f"needs {NEEDS[section]}")
    names: dict[str, object] = {}
    for code in [*blocks(PAGE.partition("\n## ")[0]), *blocks(SECTIONS[section])]:
        exec(compile(code, section, "exec"), names)
    names["runner"].close()


def test_the_proxys_configuration_is_the_one_in_the_examples() -> None:
    assert blocks(PAGE, "yaml") == [(ROOT / "examples" / "litellm_proxy.yaml").read_text(encoding="utf-8")]


def test_the_package_imports_none_of_them() -> None:
    names = {"langchain_core", "litellm", "opentelemetry", "pydantic"}
    code = f"import sys, headrace, headrace.runner, headrace.router; print(*({names} & set(sys.modules)))"
    path = str(Path(headrace.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=path)
    assert not done.stdout.strip()
