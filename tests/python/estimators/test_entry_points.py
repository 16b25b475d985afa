"""Estimators by name: the built-in ones, and one of another package that pip has installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from headrace.estimators import KNeighborsQuality, LinearCost, estimator_names, make

MODULE = """
from headrace.estimators import ConstantCost, ConstantQuality


class Optimist(ConstantQuality):
    def __init__(self, bonus=0.0):
        self.bonus = bonus


Thrifty = ConstantCost
nothing = 3


class Fitless:
    pass
"""
ENTRY_POINTS = """
[headrace.quality_estimators]
optimist = tiny_estimators:Optimist
linear = tiny_estimators:Optimist
number = tiny_estimators:nothing
fitless = tiny_estimators:Fitless

[headrace.cost_estimators]
thrifty = tiny_estimators:Thrifty
"""
METADATA = "Metadata-Version: 2.1\nName: tiny-estimators\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: headrace-tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def install(folder: Path, target: Path, name: str = "tiny_estimators") -> None:
    """Make a wheel by hand, so that no build backend is needed, and let pip install it without a network."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": MODULE,
        f"{info}/METADATA": METADATA.replace("tiny-estimators", name.replace("_", "-")),
        f"{info}/WHEEL": WHEEL,
        f"{info}/entry_points.txt": ENTRY_POINTS.replace("tiny_estimators", name),
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(path, text)
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("pip")
    target = tmp_path / "site"
    install(tmp_path, target)
    monkeypatch.syspath_prepend(str(target))
    monkeypatch.delitem(sys.modules, "tiny_estimators", raising=False)
    return target


def test_built_in_estimators_have_names() -> None:
    assert set(estimator_names()) >= {"boosting", "clusters", "constant", "joint", "linear", "neighbors"}
    assert set(estimator_names("cost")) >= {"constant", "linear", "prices", "switching"}
    estimator = make("neighbors", n_neighbors=7)
    assert isinstance(estimator, KNeighborsQuality)
    assert estimator.n_neighbors == 7
    assert isinstance(make("linear", "cost"), LinearCost)


def test_an_estimator_of_another_package_is_found(plugin: Path) -> None:
    assert "optimist" in estimator_names()
    assert "optimist" not in estimator_names("cost")
    assert "thrifty" in estimator_names("cost")
    # Listing imports nothing.
    assert "tiny_estimators" not in sys.modules
    estimator = make("optimist", bonus=0.1)
    assert (type(estimator).__module__, estimator.bonus) == ("tiny_estimators", 0.1)
    assert type(make("thrifty", "cost")).__name__ == "ConstantCost"


def test_without_the_package_it_is_not_found() -> None:
    with pytest.raises(ValueError, match=r"name: unknown quality estimator 'optimist'; known: .*'linear'"):
        make("optimist")


def test_a_built_in_estimator_is_not_replaced(plugin: Path) -> None:
    assert type(make("linear")).__name__ == "LinearQuality"


@pytest.mark.parametrize(("name", "message"), [("number", "is not callable: 3"), ("fitless", "lacks fit or predict")])
def test_what_is_no_estimator_is_refused(plugin: Path, name: str, message: str) -> None:
    with pytest.raises(TypeError, match=rf"name: quality estimator '{name}' \(tiny_estimators:.*\) {message}"):
        make(name)


def test_a_name_that_two_packages_register_is_refused(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    install(tmp_path, other, "other_estimators")
    monkeypatch.syspath_prepend(str(other))
    with pytest.raises(ValueError, match="several packages register the quality estimator 'optimist': 'other_est"):
        make("optimist")


def test_there_are_two_kinds() -> None:
    for ask in (lambda: estimator_names("latency"), lambda: make("linear", "latency")):
        with pytest.raises(ValueError, match="kind: expected one of quality, cost; got 'latency'"):
            ask()
