"""A policy: a few numbers that say which rule decides which query. JSON in, JSON out."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arrays import BoolArray, FloatArray, IndexArray, broadcast_rows, checked_bools, checked_numbers
from headrace.draft import draft_of
from headrace.rules import Cascade, CascadeRouting, IndexRule, Routing, Rule, ThresholdCascade
from headrace.walk import step_weight

__all__ = ["RULES", "Policy", "fold_of", "folds_of", "share_of", "shares_of"]

#: Before an id where it is hashed for a fold: another number than the one that mixes rules.
FOLD = "fold of "

#: Names of the rules, as users write them.
RULES: dict[str, Callable[..., Rule]] = {
    "routing": Routing,
    "threshold-cascade": ThresholdCascade,
    "cascade": Cascade,
    "cascade-routing": CascadeRouting,
    "index": IndexRule,
}


def share_of(seed: int, query_id: str) -> float:
    """Map a query to a number in [0, 1), the same on every machine and in every process.

    Parameters
    ----------
    seed : int
        Another seed gives an independent number.
    query_id : str
        Id of the query.

    Returns
    -------
    float
        The first 53 bits of BLAKE2b of ``"seed:id"``, as a fraction.

    Examples
    --------
    >>> from headrace.policy import share_of
    >>> share_of(0, "q-17") == share_of(0, "q-17"), 0.0 <= share_of(1, "q-17") < 1.0
    (True, True)
    """
    digest = hashlib.blake2b(f"{seed}:{query_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2.0**53


def shares_of(seed: int, query_ids: Iterable[str], prefix: str = "") -> FloatArray:
    """Map many queries: ``share_of(seed, prefix + query_id)`` of each.

    Examples
    --------
    >>> from headrace.policy import share_of, shares_of
    >>> shares_of(0, ["q-17", "q-18"]).tolist() == [share_of(0, "q-17"), share_of(0, "q-18")]
    True
    """
    begun = hashlib.blake2b(f"{seed}:{prefix}".encode(), digest_size=8)
    digests = []
    for query_id in query_ids:
        hashed = begun.copy()
        hashed.update(query_id.encode())
        digests.append(hashed.digest())
    bits = np.frombuffer(b"".join(digests), dtype=">u8") >> np.uint64(11)
    return np.asarray(bits.astype(np.float64) / 2.0**53)


def folds_of(seed: int, query_ids: Iterable[str], n_folds: int) -> IndexArray:
    """Map many queries to folds; see `fold_of`.

    Examples
    --------
    >>> from headrace.policy import fold_of, folds_of
    >>> folds_of(0, ["q-17", "q-18"], 3).tolist() == [fold_of(0, "q-17", 3), fold_of(0, "q-18", 3)]
    True
    """
    return (shares_of(seed, query_ids, FOLD) * n_folds).astype(np.intp)


def fold_of(seed: int, query_id: str, n_folds: int) -> int:
    """Map a query to one of the folds' estimators, evenly and the same everywhere.

    Examples
    --------
    >>> from headrace.policy import fold_of
    >>> sorted({fold_of(0, f"q-{i}", 3) for i in range(50)})
    [0, 1, 2]
    """
    return int(share_of(seed, FOLD + query_id) * n_folds)


@dataclass(frozen=True)
class Policy:
    """Two rules that differ in their parameter only, mixed per query by a hash of its id.

    Parameters
    ----------
    models : tuple of str
        Names of the models, in the order of the rule's indices.
    rule : str
        A key of `RULES`.
    settings : dict
        The rule's other settings, e.g. ``{"max_depth": 5, "uncertainty_scale": 0.5}``.
    parameters : tuple of float
        Parameter of the cheaper rule and of the dearer one: the cost weight; for a threshold cascade, minus the
        threshold.
    share : float
        Share of the queries that the cheaper rule decides.
    seed : int
        Seed of the hash.
    costs : tuple of str
        Names of the costs.
    rates : tuple of float
        What one unit of each cost counts in the cost that the rule trades against quality.
    step_weights : tuple of float
        Factors of the cost weight at each step; empty: one cost weight for all steps.

    Raises
    ------
    ValueError
        An unknown rule, or settings that it refuses.

    Examples
    --------
    >>> from headrace.policy import Policy
    >>> policy = Policy(("small", "large"), "cascade-routing", {"max_depth": 2}, (200.0, 50.0), 0.25)
    >>> policy.rule_for("q-17").cost_weight in (200.0, 50.0)
    True
    >>> Policy.from_json(policy.to_json()) == policy
    True
    """

    models: tuple[str, ...]
    rule: str
    settings: dict[str, Any]
    parameters: tuple[float, float]
    share: float = 1.0
    seed: int = 0
    costs: tuple[str, ...] = ("cost",)
    rates: tuple[float, ...] = (1.0,)
    step_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule: expected one of {', '.join(RULES)}; got {self.rule!r}")
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"share: expected a number from 0 to 1, got {self.share}")
        if len(self.parameters) != 2:
            raise ValueError(f"parameters: expected two, of the cheaper rule and of the dearer, got {self.parameters}")
        if not 1 <= len(self.rates) <= len(self.costs):
            raise ValueError(f"rates: expected one for each of the costs {self.costs}, got {self.rates}")
        # JSON knows lists only; a tuple compares and hashes.
        settings = {name: tuple(value) if isinstance(value, list) else value for name, value in self.settings.items()}
        object.__setattr__(self, "settings", settings)
        rules = tuple(make_rule(self.rule, parameter, self.settings) for parameter in self.parameters)
        object.__setattr__(self, "_rules", rules)

    def rule_for(self, query_id: str) -> Rule:
        """Give the rule that decides a query: the same one for every step, process and machine."""
        cheap, dear = self.rules
        if cheap is dear or self.share == 1.0:
            return cheap
        return cheap if share_of(self.seed, query_id) < self.share else dear

    @property
    def rules(self) -> tuple[Rule, Rule]:
        """The cheaper rule and the dearer one."""
        rules: tuple[Rule, Rule] = self._rules  # type: ignore[attr-defined]  # set after the fields are frozen
        return rules

    def select_batch(
        self,
        quality: npt.ArrayLike,
        cost: npt.ArrayLike,
        *,
        ids: Sequence[str],
        variance: npt.ArrayLike | None = None,
        covariance: npt.ArrayLike | None = None,
        loading: npt.ArrayLike | None = None,
        run: npt.ArrayLike | None = None,
        threads: int | None = None,
    ) -> npt.NDArray[np.int32]:
        """Decide a batch of queries, each by the rule that its id stands for.

        Parameters
        ----------
        quality : array-like of shape (n_queries, n_models)
            Estimated qualities.
        cost : array-like of shape (n_queries, n_models) or (n_models,)
            Estimated costs; several costs are added up beforehand, at the policy's `rates`
            (`headrace.belief_table.weighed`).
        ids : sequence of str of length n_queries
            Ids of the queries.
        variance, covariance, loading, run, threads
            As in the rules' ``select_batch``.

        Returns
        -------
        int32 ndarray of shape (n_queries,)
            Index of the model to run next; -1 = stop.

        Raises
        ------
        TypeError, ValueError
            Shapes that don't fit each other or the policy's models; numbers that the rules refuse.

        Examples
        --------
        >>> from headrace.policy import Policy
        >>> policy = Policy(("small", "large"), "routing", {}, (200.0, 50.0), 0.5)
        >>> beliefs = [[0.6, 0.9]] * 4
        >>> policy.select_batch(beliefs, [0.001, 0.004], ids=["q-1", "q-2", "q-3", "q-4"]).tolist()
        [0, 1, 1, 0]
        """
        means = checked_numbers("quality", quality)
        n, k = len(means), len(self.models)
        if means.ndim != 2 or means.shape[1] != k:
            raise ValueError(f"quality: expected shape (n_queries, {k}), got {means.shape}")
        if len(ids) != n:
            raise ValueError(f"ids: expected one for each of {n} queries, got {len(ids)}")
        prices = broadcast_rows("cost", checked_numbers("cost", cost), means.shape)
        mask = None if run is None else broadcast_rows("run", checked_bools("run", run), means.shape)
        if self.step_weights:
            n_run = np.zeros(n, dtype=np.intp) if mask is None else mask.sum(axis=1)
            prices = prices * np.array([step_weight(self.step_weights, step) for step in range(k + 1)])[n_run][:, None]
        spreads = {"variance": variance, "covariance": covariance, "loading": loading}
        cheap, dear = self.rules
        if cheap is dear or self.share == 1.0:
            is_cheap = np.ones(n, dtype=np.bool_)
        else:
            is_cheap = shares_of(self.seed, ids) < self.share
        chosen = np.empty(n, dtype=np.int32)
        for rule, rows in ((cheap, is_cheap), (dear, ~is_cheap)):
            if rows.all():
                return rule.select_batch(means, prices, run=mask, threads=threads, **spreads)  # no copies
            if rows.any():
                here = {name: _rows(values, rows) for name, values in spreads.items()}
                ran = None if mask is None else mask[rows]
                chosen[rows] = rule.select_batch(means[rows], prices[rows], run=ran, threads=threads, **here)
        return chosen

    def to_json(self) -> str:
        """Write the policy as JSON; infinity is written as the string "inf"."""
        fields = asdict(self) | {"format": "headrace-policy-1"}
        fields["parameters"] = [number if math.isfinite(number) else str(number) for number in self.parameters]
        return json.dumps(fields, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Policy:
        """Read a policy from JSON.

        Raises
        ------
        ValueError
            The text is not that of a policy.
        """
        try:
            fields = json.loads(text)
            if fields.pop("format") != "headrace-policy-1":
                raise ValueError("another format")
            fields["models"] = tuple(fields["models"])
            fields["parameters"] = tuple(float(number) for number in fields["parameters"])
            # A file written before there were several costs, or weights of the steps, has none of these.
            fields |= {name: tuple(fields[name]) for name in ("costs", "rates", "step_weights") if name in fields}
            return cls(**fields)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"text: expected a headrace policy as JSON, got something else ({error})") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy to a file: to a temporary name first, then renamed."""
        with draft_of(path) as draft:
            draft.write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """Read a policy from a file; the errors are those of `from_json`."""
        return cls.from_json(Path(path).read_text(encoding="utf-8"))


def _rows(values: npt.ArrayLike | None, rows: BoolArray) -> npt.ArrayLike | None:
    """Take rows of values that have one for each query; one that holds for all stays."""
    if values is None:
        return None
    array = np.asarray(values)
    return array[rows] if array.ndim >= 2 and len(array) == len(rows) else array


def make_rule(name: str, parameter: float, settings: dict[str, Any]) -> Rule:
    """Make a rule of a kind of `RULES` at one value of its parameter."""
    try:
        return RULES[name](-parameter if name == "threshold-cascade" else parameter, **settings)
    except TypeError as error:
        raise ValueError(f"settings: {name} does not take {settings} ({error})") from error
