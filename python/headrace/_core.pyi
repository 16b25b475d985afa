from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias, final, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

__all__ = [
    "Cascade",
    "CascadeRouting",
    "Decision",
    "IndexRule",
    "Linear",
    "Routing",
    "Rule",
    "ThresholdCascade",
    "__version__",
    "expected_max",
    "expected_max_batch",
    "project_texts",
    "regressions",
    "ridge",
    "text_sizes",
]

__version__: str

_Numbers: TypeAlias = Iterable[float] | npt.NDArray[Any]
_Models: TypeAlias = Iterable[int] | Iterable[bool] | npt.NDArray[Any]

@final
class Decision:
    def __new__(
        cls,
        next: int | None,
        plan: Sequence[int],
        value: float,
        tradeoff: float,
        *,
        status: Literal["optimal", "bounded"] = "optimal",
        gap: float = 0.0,
        n_nodes: int = 1,
    ) -> Decision: ...
    @property
    def next(self) -> int | None: ...
    @property
    def plan(self) -> tuple[int, ...]: ...
    @property
    def value(self) -> float: ...
    @property
    def tradeoff(self) -> float: ...
    @property
    def status(self) -> Literal["optimal", "bounded"]: ...
    @property
    def gap(self) -> float: ...
    @property
    def n_nodes(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]: ...

@disjoint_base
class Rule:
    def select(
        self,
        quality: _Numbers,
        cost: _Numbers,
        *,
        variance: _Numbers | None = None,
        covariance: npt.ArrayLike | None = None,
        loading: _Numbers | None = None,
        run: _Models | None = None,
        allowed: _Models | None = None,
        max_cost: float | None = None,
    ) -> Decision: ...
    def select_batch(
        self,
        quality: npt.ArrayLike,
        cost: npt.ArrayLike,
        *,
        variance: npt.ArrayLike | None = None,
        covariance: npt.ArrayLike | None = None,
        loading: npt.ArrayLike | None = None,
        run: npt.ArrayLike | None = None,
        allowed: npt.ArrayLike | None = None,
        max_cost: npt.ArrayLike | None = None,
        threads: int | None = None,
    ) -> npt.NDArray[np.int32]: ...
    def profile_batch(
        self,
        quality: npt.ArrayLike,
        cost: npt.ArrayLike,
        *,
        lower: npt.ArrayLike,
        upper: npt.ArrayLike,
        variance: npt.ArrayLike | None = None,
        covariance: npt.ArrayLike | None = None,
        loading: npt.ArrayLike | None = None,
        run: npt.ArrayLike | None = None,
        allowed: npt.ArrayLike | None = None,
        max_cost: npt.ArrayLike | None = None,
        threads: int | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int32]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]: ...

@final
class Routing(Rule):
    def __new__(cls, cost_weight: float) -> Routing: ...
    @property
    def cost_weight(self) -> float: ...

@final
class ThresholdCascade(Rule):
    def __new__(
        cls, thresholds: float | Iterable[float], *, order: Sequence[int] | None = None
    ) -> ThresholdCascade: ...
    @property
    def thresholds(self) -> tuple[float, ...]: ...
    @property
    def order(self) -> tuple[int, ...] | None: ...

@final
class Cascade(Rule):
    def __new__(
        cls,
        cost_weight: float,
        *,
        order: Sequence[int] | None = None,
        max_depth: int = 128,
        uncertainty_scale: float = 1.0,
    ) -> Cascade: ...
    @property
    def cost_weight(self) -> float: ...
    @property
    def order(self) -> tuple[int, ...] | None: ...
    @property
    def max_depth(self) -> int: ...
    @property
    def uncertainty_scale(self) -> float: ...

@final
class CascadeRouting(Rule):
    def __new__(
        cls,
        cost_weight: float,
        *,
        max_depth: int = 5,
        uncertainty_scale: float = 1.0,
        node_limit: int = 100_000,
    ) -> CascadeRouting: ...
    @property
    def cost_weight(self) -> float: ...
    @property
    def max_depth(self) -> int: ...
    @property
    def uncertainty_scale(self) -> float: ...
    @property
    def node_limit(self) -> int: ...

@final
class IndexRule(Rule):
    def __new__(cls, cost_weight: float, *, uncertainty_scale: float = 1.0) -> IndexRule: ...
    @property
    def cost_weight(self) -> float: ...
    @property
    def uncertainty_scale(self) -> float: ...

@overload
def expected_max(
    quality: _Numbers,
    *,
    variance: _Numbers | None = None,
    covariance: npt.ArrayLike | None = None,
    loading: _Numbers | None = None,
    uncertainty_scale: float = 1.0,
    with_error: Literal[False] = False,
) -> float: ...
@overload
def expected_max(
    quality: _Numbers,
    *,
    variance: _Numbers | None = None,
    covariance: npt.ArrayLike | None = None,
    loading: _Numbers | None = None,
    uncertainty_scale: float = 1.0,
    with_error: Literal[True],
) -> tuple[float, float]: ...
def expected_max_batch(
    quality: npt.ArrayLike,
    plans: npt.ArrayLike,
    *,
    row: npt.ArrayLike,
    variance: npt.ArrayLike | None = None,
    covariance: npt.ArrayLike | None = None,
    loading: npt.ArrayLike | None = None,
    uncertainty_scale: float = 1.0,
    threads: int | None = None,
) -> npt.NDArray[np.float64]: ...
def regressions(
    covariance: npt.ArrayLike, members: npt.ArrayLike, runs: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]: ...
def ridge(
    gram: npt.ArrayLike, pull: npt.ArrayLike, squares: npt.ArrayLike, n: int, penalties: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]: ...

@final
class Linear:
    def __new__(
        cls,
        average: npt.ArrayLike,
        weights: npt.ArrayLike,
        missing: npt.ArrayLike,
        intercept: npt.ArrayLike,
        low: npt.ArrayLike,
        high: npt.ArrayLike,
        n_rows: int,
    ) -> Linear: ...
    def estimates(self, features: _Numbers) -> npt.NDArray[np.float64]: ...

def project_texts(texts: list[bytes], rarity: npt.ArrayLike, directions: npt.ArrayLike) -> npt.NDArray[np.float64]: ...
def text_sizes(cells: list[Any]) -> npt.NDArray[np.int64]: ...
