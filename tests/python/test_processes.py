"""The core among processes, threads and signals, and what it leaves unimported."""

from __future__ import annotations

import multiprocessing
import re
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from operator import methodcaller
from pathlib import Path

import numpy as np
import pytest

import headrace as hr

RULES: list[hr.Rule] = [
    hr.Routing(0.3),
    hr.ThresholdCascade(0.6, order=[2, 0, 1]),
    hr.Cascade(0.3, order=[1, 0, 2], max_depth=2),
    hr.CascadeRouting(0.3, uncertainty_scale=0.5),
    hr.IndexRule(0.3),
]
SOURCES = Path(__file__).resolve().parents[2] / "rust_src"


def python(code: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


# Models so alike that a decision takes tens of milliseconds, and so many rows that the batch takes many minutes.
INTERRUPTED = """
import os, signal, threading, time
import numpy as np
import headrace as hr

n, k = 40_000, 40
rng = np.random.default_rng(0)
quality = 0.5 + 1e-3 * rng.random((n, k))
cost = 0.1 + 0.01 * rng.random(k)
variance = 0.1 + 0.01 * rng.random(k)
factor = rng.normal(size=(k, k))
covariance = 0.1 * factor @ factor.T / k
sent = []

def interrupt():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

# A process started in the background may have been told to ignore the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(0.5, interrupt).start()
try:
    CALL
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - sent[0])
    # The rule works on.
    print(hr.CascadeRouting(0.5).select_batch(np.tile([0.5, 0.6], (100, 1)), [0.1, 0.9]).sum())
"""


@pytest.mark.parametrize(
    "call",
    [
        "hr.CascadeRouting(0.002).select_batch(quality, cost, variance=variance)",
        "hr.CascadeRouting(0.002).select_batch(quality, cost, variance=variance, threads=2)",
        "hr.CascadeRouting(0.002).profile_batch(quality, cost, variance=variance, lower=[0.0] * n, upper=[1.0] * n)",
        "hr.CascadeRouting(0.002, node_limit=10**7).select_batch(quality[:16], cost, covariance=covariance)",
    ],
    ids=["all cores", "two threads", "profile", "few rows"],
)
@pytest.mark.skipif(sys.platform == "win32", reason="no process signals itself there")
def test_ctrl_c_ends_a_long_batch(call: str) -> None:
    run = python(INTERRUPTED.replace("CALL", call))
    first, second = run.stdout.splitlines()
    word, seconds = first.split()
    assert word == "interrupted", run.stderr
    # Within a second on a machine that is not busy.
    assert float(seconds) < 5.0
    assert second == "0"


def test_a_signal_handler_that_does_not_raise_lets_the_batch_go_on() -> None:
    code = """
        import os, signal, threading
        import numpy as np
        import headrace as hr
        seen = []
        signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        rng = np.random.default_rng(0)
        quality = 0.5 + 1e-3 * rng.random((20, 40))
        arguments = (quality, 0.1 + 0.01 * rng.random(40))
        rule = hr.CascadeRouting(0.002)
        batch = rule.select_batch(*arguments, variance=[0.1] * 40)
        while not seen:
            batch = rule.select_batch(*arguments, variance=[0.1] * 40)
        assert batch.tolist() == [rule.select(q, arguments[1], variance=[0.1] * 40).next for q in quality]
        print("done")
    """
    run = python(code)
    assert run.stdout == "done\n", run.stderr


def test_rules_and_decisions_cross_to_a_spawned_process() -> None:
    problem = {"quality": [0.5, 0.6, 0.7], "cost": [0.1, 0.2, 0.3], "variance": [0.04, 0.03, 0.02]}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        far = pool.map(methodcaller("select", **problem), RULES)
        assert pool.map(repr, RULES) == [repr(rule) for rule in RULES]
        hashes = pool.map(hash, RULES)
    assert far == [rule.select(**problem) for rule in RULES]
    assert hashes == [hash(rule) for rule in RULES]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill") or sys.platform == "win32", reason="no fork")
def test_a_forked_process_decides_batches() -> None:
    code = """
        import os
        import numpy as np
        import headrace as hr
        rule, quality = hr.Routing(0.5), np.tile([0.5, 0.6], (1000, 1))
        expected = rule.select_batch(quality, [0.1, 0.2]).tolist()
        child = os.fork()
        if child == 0:
            os._exit(0 if rule.select_batch(quality, [0.1, 0.2]).tolist() == expected else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert python(code, timeout=10).stdout == "0\n"


@pytest.mark.parametrize("rule", RULES, ids=[type(rule).__name__ for rule in RULES])
@pytest.mark.parametrize("correlated", [False, True])
def test_eight_threads_decide_as_one(rule: hr.Rule, correlated: bool) -> None:
    rng = np.random.default_rng(11)
    n, n_models = 200, 3
    quality, cost = rng.uniform(0.2, 0.9, (n, n_models)), rng.uniform(0, 0.4, (n, n_models))
    factor = 0.3 * rng.normal(size=(n, n_models, n_models))
    covariance = factor @ factor.swapaxes(1, 2)
    spread = {"covariance": covariance} if correlated else {"variance": np.diagonal(covariance, 0, 1, 2)}

    def decide(row: int) -> hr.Decision:
        return rule.select(quality[row], cost[row], **{name: value[row] for name, value in spread.items()})

    def decide_all(_: int) -> list[int]:
        return rule.select_batch(quality, cost, **spread).tolist()

    alone = [decide(row) for row in range(n)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(decide, [*range(n)] * 4)) == alone * 4
        batches = list(pool.map(decide_all, range(16)))
    assert batches == [[-1 if one.next is None else one.next for one in alone]] * 16


def test_importing_headrace_imports_nothing_heavy() -> None:
    code = """
        import sys
        import headrace
        print(*sorted({name.partition(".")[0] for name in sys.modules}))
    """
    run = python(code)
    loaded = set(run.stdout.split())
    assert {"headrace", "numpy"} <= loaded, run.stderr
    heavy = {"scipy", "sklearn", "matplotlib", "pyarrow", "pandas", "narwhals", "typer", "rich", "hypothesis"}
    assert not loaded & heavy


@pytest.mark.skipif(not SOURCES.is_dir(), reason="the tests run without the source tree")
def test_only_the_boundary_names_python() -> None:
    boundary = SOURCES / "py"
    inside = [path for path in sorted(SOURCES.rglob("*.rs")) if boundary not in path.parents]
    assert len(inside) > 10
    for path in inside:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not re.search(r"pyo3|numpy|\bPy[A-Z]\w*|\bpyfunction\b", line), f"{path.name}:{number}: {line}"
