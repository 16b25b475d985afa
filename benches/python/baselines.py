"""What the benches decide, and what they compare with: an empty native call, and the same decision in NumPy.

"Typical" problems are those of the runtime study of Dekoninck et al. 2025: quality, cost and cost weight uniform on
[0, 1], variance 0.01, nothing run yet. "Hard" ones: qualities within 0.1, costs 50 times smaller, standard deviations
0.1 to 0.3.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

ROOT = Path(__file__).resolve().parents[2]

#: Nodes of the grid on which the NumPy version integrates: over 8 per standard deviation, on typical and hard problems.
N_NODES = 200

FloatArray = npt.NDArray[np.float64]


class Problem(NamedTuple):
    """The numbers of one decision, as lists."""

    quality: list[float]
    cost: list[float]
    variance: list[float]
    cost_weight: float


def typical(k: int, n: int) -> list[Problem]:
    """Draw problems as in the paper's runtime study."""
    rng = np.random.default_rng(k)
    return [Problem(rng.random(k).tolist(), rng.random(k).tolist(), [0.01] * k, float(rng.random())) for _ in range(n)]


def hard(k: int, n: int) -> list[Problem]:
    """Draw problems whose models are nearly alike and cheap."""
    rng = np.random.default_rng(k)
    return [
        Problem(
            (0.1 * rng.random(k)).tolist(),
            (0.02 * rng.random(k)).tolist(),
            (rng.uniform(0.1, 0.3, k) ** 2).tolist(),
            float(rng.random()),
        )
        for _ in range(n)
    ]


def one_factor(problem: Problem) -> dict[str, list[float]]:
    """Give the same standard deviations with about half of the variance from one factor."""
    variance = np.array(problem.variance)
    loading = np.sqrt(variance) * np.random.default_rng(len(variance)).uniform(0.5, 0.9, len(variance))
    return {"variance": (variance - loading**2).tolist(), "loading": loading.tolist()}


def covariance(problem: Problem) -> dict[str, FloatArray]:
    """Give the one-factor belief as a full matrix."""
    spread = one_factor(problem)
    return {"covariance": np.outer(spread["loading"], spread["loading"]) + np.diag(spread["variance"])}


def _cdfs(problem: Problem) -> tuple[FloatArray, FloatArray, float]:
    """Each model's CDF on a grid of shape (k, N_NODES), the trapezoidal weights, and the grid's upper end."""
    mu, sd = np.array(problem.quality), np.sqrt(problem.variance)
    grid, step = np.linspace((mu - 6 * sd).min(), (mu + 6 * sd).max(), N_NODES, retstep=True)
    weights = np.full(N_NODES, step)
    weights[[0, -1]] /= 2
    return ndtr((grid - mu[:, None]) / sd[:, None]), weights, float(grid[-1])


class Plans(NamedTuple):
    """All sets of at most `max_depth` of k models, and room for products of their CDFs: made once for all problems.

    Set 0 is empty. Those whose highest member is j come together: `parents[j]` are the sets that j is added to.
    """

    members: FloatArray
    parents: list[npt.NDArray[np.int64]]
    products: FloatArray


@cache
def plans(k: int, max_depth: int) -> Plans:
    members, parents = np.zeros((1, k)), []
    for j in range(k):
        parents.append(np.flatnonzero(members.sum(axis=1) < max_depth))
        with_j = members[parents[-1]]
        with_j[:, j] = 1.0
        members = np.concatenate([members, with_j])
    return Plans(members, parents, np.ones((len(members), N_NODES)))


def numpy_decision(problem: Problem, max_depth: int) -> int:
    """Make the decision of `CascadeRouting` by enumeration: the value of every set at once, on one grid."""
    cdfs, weights, highest = _cdfs(problem)
    members, parents, products = plans(len(cdfs), max_depth)
    n = 1
    for cdf, parent in zip(cdfs, parents, strict=True):
        np.multiply(products[parent], cdf, out=products[n : n + len(parent)])
        n += len(parent)
    cost = np.array(problem.cost)
    tradeoff = highest - products @ weights - problem.cost_weight * (members @ cost)
    plan = members[1 + tradeoff[1:].argmax()] > 0
    return int(np.where(plan, cost, np.inf).argmin())


def numpy_expected_max(problem: Problem) -> float:
    """Integrate the expected maximum of all models on the same grid."""
    cdfs, weights, highest = _cdfs(problem)
    return float(highest - cdfs.prod(axis=0) @ weights)


@cache
def empty_call() -> Callable[..., None]:
    """Build, with cargo, a native method that has the arguments of `Rule.select` and does nothing; return it bound."""
    command = ["cargo", "build", "--locked", "--release", "--features", "python", "--example", "empty_call"]
    environment = os.environ | {"PYO3_BUILD_EXTENSION_MODULE": "1", "PYO3_PYTHON": sys.executable}
    lines = subprocess.run(
        [*command, "--message-format", "json", "-q"], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE
    ).stdout.splitlines()
    targets = [line for line in map(json.loads, lines) if line.get("target", {}).get("name") == "empty_call"]
    (library,) = (file for file in targets[-1]["filenames"] if not file.endswith((".d", ".lib", ".pdb")))
    spec = spec_from_file_location("empty_call", loader=ExtensionFileLoader("empty_call", library))
    assert spec is not None
    assert spec.loader is not None
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    select: Callable[..., None] = module.Empty().select
    return select
