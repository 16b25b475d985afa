"""A policy: a few numbers that say which rule decides which query. JSON in, JSON out."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import (
    BoolArray,
    FloatArray,
    broadcast_rows,
    checked_bools,
    checked_number,
    checked_numbers,
    listed,
)
from headrace.atomic_file import draft_of
from headrace.json_values import json_of
from headrace.policy.hashing import share_of, shares_of
from headrace.rules import RULES, Rule, make_rule

__all__ = ["Policy", "weighed"]

#: Most models that a rule decides among.
MOST_MODELS = 128


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
        Parameter of the cheaper rule and of the more expensive one: the cost weight; for a threshold cascade, minus the
        threshold.
    share : float
        Share of the queries that the cheaper rule decides.
    seed : int
        Seed of the hash.
    costs : tuple of str
        Names of the costs.
    rates : tuple of float
        What one unit of each cost counts in the cost that the rule trades against quality.

    Raises
    ------
    ValueError
        An unknown rule, or settings that it refuses.

    Examples
    --------
    >>> from headrace.policy.policy import Policy
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
    _: KW_ONLY
    seed: int = 0
    costs: tuple[str, ...] = ("cost",)
    rates: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule: expected one of {', '.join(RULES)}; got {self.rule!r}")
        if not 0 < len(self.models) <= MOST_MODELS or len(set(self.models)) < len(self.models):
            raise ValueError(f"models: expected 1 to {MOST_MODELS} different names, got {listed(self.models)}")
        if not 0.0 <= checked_number("share", self.share) <= 1.0:
            raise ValueError(f"share: expected a number from 0 to 1, got {self.share}")
        if len(self.parameters) != 2:
            raise ValueError(
                f"parameters: expected two, of the cheaper rule and of the more expensive, got {self.parameters}"
            )
        if not 1 <= len(self.rates) <= len(self.costs):
            raise ValueError(f"rates: expected one for each of the costs {self.costs}, got {self.rates}")
        if not all(0.0 <= checked_number("rates", rate) < math.inf for rate in self.rates) or not any(self.rates):
            raise ValueError(f"rates: expected finite numbers >= 0, one of them above 0, got {self.rates}")
        # JSON knows lists only; a tuple compares and hashes.
        settings = {name: tuple(value) if isinstance(value, list) else value for name, value in self.settings.items()}
        object.__setattr__(self, "settings", settings)
        rules = tuple(make_rule(self.rule, parameter, self.settings) for parameter in self.parameters)
        object.__setattr__(self, "_rules", rules)

    def rule_for(self, query_id: str) -> Rule:
        """Give the rule that decides a query: the same one for every step, process and machine."""
        rules: tuple[Rule, Rule] = self._rules  # type: ignore[attr-defined]  # as `rules`, without its call
        cheap, costly = rules
        if cheap is costly or self.share == 1.0:
            return cheap
        return cheap if share_of(self.seed, query_id) < self.share else costly

    def final_rule_for(self, query_id: str) -> Rule:
        """Give the rule that decides where the model that runs now must answer: routing, at the same cost weight.

        A threshold cascade has no cost weight, and keeps its own rule.
        """
        rule = self.rule_for(query_id)
        has_weight = RULES[self.rule].parameter == "cost weight"
        return make_rule("routing", rule.cost_weight, {}) if has_weight else rule  # type: ignore[attr-defined]

    @property
    def rules(self) -> tuple[Rule, Rule]:
        """The cheaper rule and the more expensive one."""
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
            (`headrace.beliefs.belief_table.weighed`).
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
        >>> from headrace.policy.policy import Policy
        >>> policy = Policy(("small", "large"), "routing", {}, (200.0, 50.0), 0.5)
        >>> beliefs = [[0.6, 0.9]] * 4
        >>> policy.select_batch(beliefs, [0.001, 0.004], ids=["q-1", "q-2", "q-3", "q-4"]).tolist()
        [0, 1, 1, 0]
        """
        means, k = checked_numbers("quality", quality), len(self.models)
        if means.ndim != 2 or means.shape[1] != k:
            raise ValueError(f"quality: expected shape (n_queries, {k}), got {means.shape}")
        n = len(means)
        if len(ids) != n:
            raise ValueError(f"ids: expected one for each of {n} queries, got {len(ids)}")
        prices = broadcast_rows("cost", checked_numbers("cost", cost), means.shape)
        mask = None if run is None else broadcast_rows("run", checked_bools("run", run), means.shape)
        spreads = {
            "variance": _spread("variance", variance, (n, k)),
            "covariance": _spread("covariance", covariance, (n, k, k)),
            "loading": _spread("loading", loading, (n, k)),
        }
        cheap, costly = self.rules
        if cheap is costly or self.share == 1.0:
            is_cheap = np.ones(n, dtype=np.bool_)
        else:
            is_cheap = shares_of(self.seed, ids) < self.share
        chosen = np.empty(n, dtype=np.int32)
        for rule, rows in ((cheap, is_cheap), (costly, ~is_cheap)):
            if rows.all():
                return rule.select_batch(means, prices, run=mask, threads=threads, **spreads)  # no copies
            if rows.any():
                here = {name: _rows(v, rows, 3 if name == "covariance" else 2) for name, v in spreads.items()}
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
            fields = json_of(text)
            if fields.pop("format") != "headrace-policy-1":
                raise ValueError("another format")
            fields["models"] = tuple(fields["models"])
            fields["parameters"] = tuple(float(number) for number in fields["parameters"])
            fields |= {name: tuple(fields[name]) for name in ("costs", "rates")}
            return cls(**fields)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"text: expected a headrace policy as JSON, got something else ({error})") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy to a file: to a temporary name first, then renamed."""
        with draft_of(path) as draft:
            draft.write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """Read a policy from a file; the errors are those of `from_json`."""
        return cls.from_json(Path(path).read_text(encoding="utf-8"))


def _spread(argument: str, values: npt.ArrayLike | None, shape: tuple[int, ...]) -> FloatArray | None:
    """Give how far estimates may move, of one row for each query or for all of them."""
    if values is None:
        return None
    # What is right already isn't copied: batches may be large.
    plain = type(values) is np.ndarray and values.dtype == np.float64
    array = np.asarray(values) if plain else checked_numbers(argument, values)
    if array.shape not in (shape, shape[1:]):
        raise ValueError(f"{argument}: expected shape {shape} or {shape[1:]}, got {array.shape}")
    return array


def _rows(values: FloatArray | None, rows: BoolArray, axes: int) -> FloatArray | None:
    """Take rows of values that have one for each query; one that holds for all stays."""
    return values if values is None or values.ndim < axes else values[rows]


def weighed(costs: FloatArray, rates: Sequence[float]) -> FloatArray:
    """Add up several costs, an array whose first axis is theirs, at exchange rates; rates that lack are zero.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.policy.policy import weighed
    >>> weighed(np.array([[1.0, 2.0], [10.0, 0.0]]), (1.0, 0.5)).tolist()
    [6.0, 2.0]
    """
    if tuple(rates) == (1.0,):
        first: FloatArray = costs[0]
        return first
    total = np.zeros(costs.shape[1:])
    for rate, cost in zip(rates, costs, strict=False):
        total += rate * cost
    return total
