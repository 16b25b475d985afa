"""The core among processes, threads and signals, and what it leaves unimported."""

from __future__ import annotations

import multiprocessing
import os
import re
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
SOURCES = Path(__file__).resolve().parents[3] / "rust_src"


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# Models so alike that a decision takes many milliseconds, and so many rows that the batch takes many minutes.
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
    sent.append(time.process_time())
    os.kill(os.getpid(), signal.SIGINT)

# A process started in the background may have been told to ignore the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(0.5, interrupt).start()
try:
    CALL
except KeyboardInterrupt:
    print("interrupted", (time.process_time() - sent[0]) / os.cpu_count())
    # The rule works on.
    print(hr.CascadeRouting(0.5).select_batch(np.tile([0.5, 0.6], (100, 1)), [0.1, 0.9]).sum())
"""


@pytest.mark.parametrize(
    "call",
    [
        "hr.CascadeRouting(0.002).select_batch(quality, cost, covariance=covariance)",
        "hr.CascadeRouting(0.002).select_batch(quality, cost, covariance=covariance, threads=2)",
        "hr.CascadeRouting(0.002).profile_batch(quality, cost, variance=variance, lower=[0.0] * n, upper=[1.0] * n)",
        "hr.CascadeRouting(0.002, max_depth=12, node_limit=10**7)"
        ".select_batch(quality[:9], cost, covariance=covariance)",
        "hr._core.expected_max_batch(quality, np.ones((n, k), bool), row=np.arange(n), covariance=covariance)",
    ],
    ids=["all cores", "two threads", "profile", "few rows", "expected maxima"],
)
@pytest.mark.skipif(sys.platform == "win32", reason="no process signals itself there")
def test_ctrl_c_ends_a_long_batch(call: str) -> None:
    run = python(INTERRUPTED.replace("CALL", call))
    first, second = run.stdout.splitlines()
    word, seconds = first.split()
    assert word == "interrupted", run.stderr
    # Seconds of each processor, which pass in a busy machine as well, and not the clock's.
    assert float(seconds) < 1.0
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


# A batch on all cores and one on two threads, so that the process has both kinds of pools, then what all rules decide.
DECIDE = textwrap.dedent("""
    import multiprocessing, os, threading, warnings
    import numpy as np
    import headrace as hr

    # From Python 3.12 on, a fork of a process with threads warns.
    warnings.simplefilter("ignore", DeprecationWarning)
    rng = np.random.default_rng(4)
    n = 500
    quality, cost, variance = rng.uniform(0.2, 0.9, (n, 5)), rng.uniform(0, 0.2, (n, 5)), rng.uniform(0, 0.1, (n, 5))
    rules = [hr.Routing(0.3), hr.ThresholdCascade(0.6), hr.Cascade(0.3), hr.CascadeRouting(0.3), hr.IndexRule(0.3)]

    def decide(_=None):
        batches = [rule.select_batch(quality, cost, variance=variance, threads=t) for rule in rules for t in (None, 2)]
        singles = [rule.select(quality[0], cost[0], variance=variance[0]).next for rule in rules]
        profile = rules[3].profile_batch(quality, cost, variance=variance, lower=[0.0] * n, upper=[1.0] * n)
        return [batch.tolist() for batch in batches], singles, [column.tolist() for column in profile]

    expected = decide()

    def forked():
        child = os.fork()
        if child == 0:
            os._exit(0 if decide() == expected else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
""")
FORKS = {
    "once": "print(forked())",
    # A child's child: the pool that its parent left it is a copy, too.
    "twice": """
        child = os.fork()
        if child == 0:
            os._exit(decide() != expected or forked())
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """,
    "amid a batch of another thread": """
        done = threading.Event()

        def batches():
            while not done.is_set():
                decide()

        busy = threading.Thread(target=batches)
        busy.start()
        codes = [forked() for _ in range(20)]
        done.set()
        busy.join()
        print(sum(codes))
    """,
    "multiprocessing": """
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(sum(result != expected for result in pool.map(decide, range(4), chunksize=1)))
    """,
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("code", FORKS.values(), ids=FORKS.keys())
def test_a_forked_process_decides_as_its_parent(code: str) -> None:
    run = python(DECIDE + textwrap.dedent(code))
    assert run.stdout == "0\n", run.stderr


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="sub-interpreters are CPython's")
def test_a_second_interpreter_of_a_process_is_refused() -> None:
    # NumPy and the core keep objects for the whole process, so one interpreter may have them.
    code = """
        import importlib
        import sys
        import headrace as hr

        interpreters = importlib.import_module("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters")
        second = interpreters.create()
        told = "os.write(1, str(refusal).encode())"
        lines = ["import os", "try:", "  import headrace", "except ImportError as refusal:", f"  {told}"]
        interpreters.run_string(second, "\\n".join(lines))
        interpreters.destroy(second)
        print("", hr.Routing(0.5).select([0.5, 0.6], [0.1, 0.1]).next)
    """
    run = python(code)
    refusal, decision = run.stdout.rsplit(maxsplit=1)
    assert re.search("once per process|subinterpreter", refusal), run
    assert decision == "1", run


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


# A calibration for all budgets: the path and the fitted policy, as bits.
FIT = """
    import hashlib, os, time
    os.environ |= {"RAYON_NUM_THREADS": "WANTED", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    import headrace as hr
    outcomes = hr.datasets.simulate(300, 4, noise="medium", rng=3)
    budget = float(outcomes.cost.mean())
    def n_threads():
        time.sleep(0.01)
        return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else WANTED + 1
    for rule in ("cascade-routing", "cascade", "threshold-cascade", "index"):
        router = hr.Router(rule=rule, quality=hr.datasets.NoisyOracle()).fit(outcomes, budget=budget)
        path = router.path_
        columns = b"".join(column.tobytes() for column in (path.cost, path.quality, path.parameter))
        print(hashlib.sha256(columns).hexdigest(), router.policy_)
    # Less the main thread; the one that waits for a batch may still be about to end.
    print(min(n_threads() for _ in range(20)) - 1)
"""


def test_a_fit_has_the_same_bits_on_any_number_of_threads() -> None:
    fits = {n: python(FIT.replace("WANTED", str(n))) for n in (1, 2, 4)}
    assert [fit.stderr for fit in fits.values()] == ["", "", ""]
    printed = {n: fit.stdout.splitlines() for n, fit in fits.items()}
    # That many threads were there.
    assert [int(lines.pop()) for lines in printed.values()] == list(fits)
    assert printed[1] == printed[2] == printed[4]
    assert len(printed[1]) == 4


def test_importing_headrace_imports_nothing_heavy() -> None:
    code = """
        import sys
        import headrace
        print(*sorted({name.partition(".")[0] for name in sys.modules}))
    """
    run = python(code)
    loaded = set(run.stdout.split())
    assert "headrace" in loaded, run.stderr
    heavy = {"numpy", "scipy", "sklearn", "matplotlib", "pyarrow", "pandas", "narwhals", "typer", "rich", "hypothesis"}
    assert not loaded & heavy


@pytest.mark.skipif(not SOURCES.is_dir(), reason="the tests run without the source tree")
def test_only_the_boundary_names_python() -> None:
    boundary = SOURCES / "py"
    inside = [path for path in sorted(SOURCES.rglob("*.rs")) if boundary not in path.parents]
    assert len(inside) > 10
    for path in inside:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not re.search(r"pyo3|numpy|\bPy[A-Z]\w*|\bpyfunction\b", line), f"{path.name}:{number}: {line}"
