"""Run sets: the sets of models that may have run at some moment of a policy's walks."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

from headrace.arguments import BoolArray, checked_int
from headrace.policy.policy import Policy
from headrace.rules import RULES

__all__ = ["MOST_RUN_SETS", "run_sets"]

#: Most run sets that are listed.
MOST_RUN_SETS = 4096


def run_sets(policy: Policy, max_runs: int | None = None) -> BoolArray:
    """List the run sets that a policy may meet, the smallest first.

    Parameters
    ----------
    policy : Policy
    max_runs : int, optional
        Most models that run for one query; by default what the rule allows.

    Returns
    -------
    bool ndarray of shape (n_run_sets, n_models)
        For a cascade, those along its order only.

    Raises
    ------
    ValueError
        `max_runs` is no int >= 0; more than 4,096 run sets.

    Examples
    --------
    >>> from headrace.policy import Policy
    >>> from headrace.policy.run_sets import run_sets
    >>> policy = Policy(("a", "b", "c"), "cascade-routing", {"max_depth": 1}, (1.0, 1.0))
    >>> run_sets(policy).astype(int).tolist()
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    k, settings = len(policy.models), policy.settings
    most = settings.get("max_depth", 1 if RULES[policy.rule].estimates == "before" else k)
    most = min(k, int(most) if max_runs is None else checked_int("max_runs", max_runs, 0))
    if "order" in settings:
        order = tuple(settings["order"])
        return _rows([order[:size] for size in range(min(most, len(order)) + 1)], k)
    n_sets = sum(comb(k, size) for size in range(most + 1))
    if n_sets > MOST_RUN_SETS:
        raise ValueError(
            f"max_runs: expected so few that there are at most {MOST_RUN_SETS} run sets; "
            f"up to {most} of {k} models are {n_sets}"
        )
    return _rows([ran for size in range(most + 1) for ran in combinations(range(k), size)], k)


def _rows(sets: list[tuple[int, ...]], n_models: int) -> BoolArray:
    runs = np.zeros((len(sets), n_models), dtype=np.bool_)
    for row, ran in zip(runs, sets, strict=True):
        row[list(ran)] = True
    return runs
