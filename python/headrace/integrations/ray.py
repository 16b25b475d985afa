"""Ray: decisions for data sets of any size, and sweeps of fits, on a cluster.

A policy is a few numbers and a decider some megabytes; either goes into Ray's object store once, and each worker takes
it from there. A decision depends on its row alone, so blocks may be done in any order, and again where a worker is
lost: the result is that of one machine, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from headrace.extras import imported
from headrace.policy import Policy
from headrace.serving import BeliefDecider, Decider
from headrace.serving.files import BATCH_ROWS

__all__ = ["decide_dataset", "ray_map"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def decide_dataset(dataset: Any, decider: Decider | Policy, *, batch_rows: int = BATCH_ROWS, **options: Any) -> Any:
    """Decide all rows of a Ray data set: it gets a column "next", the name of the model to run; null = stop.

    Parameters
    ----------
    dataset : ray.data.Dataset
        Its columns: see `Decider`; with a policy alone, `headrace.serving.BeliefDecider`.
    decider : Decider or Policy
    batch_rows : int
        Most rows of a batch.
    **options
        For ``Dataset.map_batches``, e.g. ``num_cpus`` or ``concurrency``.

    Returns
    -------
    ray.data.Dataset
        Lazy, as all of them.

    Raises
    ------
    ImportError
        Ray is missing.
    TypeError, ValueError
        Something else than a decider or a policy.

    Examples
    --------
    >>> import ray  # doctest: +SKIP
    >>> import headrace as hr
    >>> from headrace.integrations.ray import decide_dataset  # doctest: +SKIP
    >>> beliefs = ray.data.read_parquet("beliefs/")  # doctest: +SKIP
    >>> decide_dataset(beliefs, hr.Policy.load("policy.json")).write_parquet("decisions/")  # doctest: +SKIP
    """
    shared = _ray().put(decider if isinstance(decider, Decider) else BeliefDecider(decider))
    # Not in the function, which would be sent with each task.
    return dataset.map_batches(_decide, fn_args=(shared,), batch_format="pyarrow", batch_size=batch_rows, **options)


def ray_map(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do what ``map`` does, each item as a Ray task; for `headrace.evaluation.sweep`.

    Parameters
    ----------
    function : callable
        Goes into the object store once.
    items : iterable

    Returns
    -------
    list
        In the order of the items.

    Raises
    ------
    ImportError
        Ray is missing.
    """
    ray = _ray()
    shared = ray.put(function)
    task = ray.remote(_call)
    return list(ray.get([task.remote(shared, item) for item in items]))


def _decide(batch: Any, shared: Any) -> Any:
    decider: Callable[[Any], Any] = _ray().get(shared)
    return decider(batch)


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)


def _ray() -> Any:
    return imported("ray", "a cluster")
