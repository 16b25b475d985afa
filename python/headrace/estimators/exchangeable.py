"""Variables of queries, models and pairs of models; and what their covariance is on average over the models.

A renaming of the models maps variables onto variables of the same kind: a response length of model 0 onto that of model
3, the agreement of models 0 and 1 onto that of models 3 and 4. The mean of a covariance over all renamings is the
nearest one under which the models are exchangeable. It has few distinct entries, one per orbit of pairs of variables
(two kinds, and the number of models that the two variables share), and each is the mean of that orbit's entries; so it
is known well from few queries, and it is positive semi-definite, as a mean of such matrices. It holds the one-factor
model of equal loadings (the models fail together), and also that a model's own signals, and agreements in which it
takes part, say more about it than others do.

Reference: Ledoit and Wolf, "Honey, I shrunk the sample covariance matrix" (2004), for the single kind of variable.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Self

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.estimators.state import Stateful

__all__ = ["Variables", "exchangeable_mean"]


@dataclass(frozen=True, eq=False)
class Variables(Stateful, part="variables", kept=("kind", "members", "n_features", "content")):
    """Which variables there are: of the query, of each model's response, of each pair of responses, and targets.

    Attributes
    ----------
    kind : ndarray of int of shape (n_variables,)
        Variables that a renaming of the models may exchange have the same kind.
    members : ndarray of bool of shape (n_variables, n_models)
        The models that a variable is of: none, one or two.
    n_features : int
        The features come first, then one target per model.
    content : ndarray of bool of shape (n_variables,)
        Variables made of an embedding, or of a text's n-grams: they have a ridge of their own.

    Examples
    --------
    >>> from headrace.estimators.exchangeable import Variables
    >>> variables = Variables.of(n_models=2, of_query=1, of_model=1, of_pair=1)
    >>> variables.kind.tolist()
    [0, 1, 1, 2, 3, 3]
    >>> variables.known_after(np.array([True, False])).tolist()
    [0, 1]
    """

    kind: IndexArray
    members: BoolArray
    n_features: int
    content: BoolArray

    @classmethod
    def of(cls, *, n_models: int, of_query: int, of_model: int, of_pair: int, content: BoolArray | None = None) -> Self:
        """Lay out variables: the query's, then each model's, then each pair's, then the targets."""
        models: list[tuple[int, ...]] = [(j,) for j in range(n_models)]
        pairs = list(combinations(range(n_models), 2))
        blocks: list[tuple[tuple[int, ...], range]] = [((), range(of_query))]
        blocks += [(model, range(of_query, of_query + of_model)) for model in models]
        blocks += [(pair, range(of_query + of_model, of_query + of_model + of_pair)) for pair in pairs]
        blocks += [(model, range(of_query + of_model + of_pair, of_query + of_model + of_pair + 1)) for model in models]
        kind = np.array([kind for _, kinds in blocks for kind in kinds], dtype=np.intp)
        members = np.zeros((len(kind), n_models), dtype=np.bool_)
        for row, block in enumerate(block for block, kinds in blocks for _ in kinds):
            members[row, list(block)] = True
        of_content = np.zeros(len(kind), dtype=np.bool_)
        if content is not None:
            of_content[:of_query] = content
        return cls(kind, members, len(kind) - n_models, of_content)

    def take(self, index: IndexArray) -> Self:
        """Give some variables, features first."""
        n_features = int((index < self.n_features).sum())
        return type(self)(self.kind[index], self.members[index], n_features, self.content[index])

    @property
    def n_query(self) -> int:
        """Number of variables that are known before any run; they come first."""
        return int((~self.members.any(axis=1)).sum())

    def known_after(self, run: BoolArray) -> IndexArray:
        """Give the features that are known once the models of a mask have run."""
        return np.flatnonzero(~self.members[: self.n_features, ~run].any(axis=1))

    @cached_property
    def orbit(self) -> IndexArray:
        """Number of the orbit that each pair of variables is in, shape (n_variables, n_variables)."""
        members = self.members.astype(np.float64)
        shared = (members @ members.T).astype(np.intp)
        most = int(shared.max(initial=0)) + 1
        n_kinds = int(self.kind.max(initial=0)) + 1
        label = (self.kind[:, None] * n_kinds + self.kind) * most + shared
        # Labels are few and small: counting takes a tenth of the time of sorting.
        there = np.bincount(label.ravel()) > 0
        return np.asarray((np.cumsum(there) - 1)[label], dtype=np.intp)


def exchangeable_mean(covariance: FloatArray, orbit: IndexArray, weights: FloatArray | None = None) -> FloatArray:
    """Average a covariance over all renamings of the models.

    Parameters
    ----------
    covariance : ndarray of shape (n_variables, n_variables)
    orbit : ndarray of int of shape (n_variables, n_variables)
    weights : ndarray of shape (n_variables, n_variables), optional
        Weights of the entries, such as numbers of queries; an orbit without any weight is zero.

    Examples
    --------
    >>> from headrace.estimators.exchangeable import Variables, exchangeable_mean
    >>> targets = Variables.of(n_models=3, of_query=0, of_model=0, of_pair=0)
    >>> exchangeable_mean(np.array([[1.0, 0.1, 0.2], [0.1, 1.0, 0.6], [0.2, 0.6, 1.0]]), targets.orbit).round(2)
    array([[1. , 0.3, 0.3],
           [0.3, 1. , 0.3],
           [0.3, 0.3, 1. ]])
    """
    weights = np.ones_like(covariance) if weights is None else weights
    total = np.bincount(orbit.ravel(), (weights * covariance).ravel())
    weight = np.bincount(orbit.ravel(), weights.ravel())
    return np.asarray((total / np.where(weight > 0.0, weight, 1.0))[orbit])
