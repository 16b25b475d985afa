"""The examples of every docstring, executed.

Those of modules are found by doctest; those of compiled objects are looked up here, as its finder may miss them.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

import headrace as hr
from headrace import _core

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def is_public_object(name: str) -> bool:
    return callable(getattr(hr, name))


def is_compiled(name: str) -> bool:
    return getattr(hr, name) is getattr(_core, name, None)


def documented() -> Iterator[tuple[str, str]]:
    """Yield the docstring of every compiled object of the package's namespace, and of its methods and getters."""
    for name in filter(is_compiled, filter(is_public_object, hr.__all__)):
        thing = getattr(hr, name)
        yield name, inspect.getdoc(thing) or ""
        for member, value in inspect.getmembers(thing) if inspect.isclass(thing) else ():
            inherited = any(value is getattr(base, member, None) for base in thing.__mro__[1:])
            if not member.startswith("_") and not inherited:
                yield f"{name}.{member}", inspect.getdoc(value) or ""


def modules() -> Iterator[str]:
    """Yield the names of the package's modules that can be imported without running a program."""
    yield hr.__name__
    for module in pkgutil.walk_packages(hr.__path__, f"{hr.__name__}."):
        if not module.name.endswith("__main__"):
            yield module.name


def run(test: doctest.DocTest) -> doctest.TestResults:
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    assert result.failed == 0, "".join(report)
    return result


DOCUMENTED = dict(documented())
WITH_EXAMPLES = [name for name, text in DOCUMENTED.items() if ">>>" in text]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_compiled_objects_hold(name: str) -> None:
    test = doctest.DocTestParser().get_doctest(DOCUMENTED[name], {}, name, None, None)
    assert run(test).attempted > 0


@pytest.mark.parametrize("name", list(modules()))
def test_the_examples_of_modules_hold(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == hr.__name__:
            raise
        pytest.skip(f"needs {error.name}")
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        run(test)


@pytest.mark.parametrize("name", list(filter(is_public_object, hr.__all__)))
def test_every_public_class_and_function_is_documented(name: str) -> None:
    assert len(inspect.getdoc(getattr(hr, name)) or "") > 60


def test_the_compiled_core_has_examples() -> None:
    kinds = ["Routing", "ThresholdCascade", "Cascade", "CascadeRouting", "IndexRule", "Decision", "expected_max"]
    methods = ["Rule.select", "Rule.select_batch", "Rule.profile_batch"]
    assert set(kinds + methods) <= set(WITH_EXAMPLES)
