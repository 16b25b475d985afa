"""Decisions for whole tables: batch in, the same batch with the next model out; and files of any size, in chunks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arrays import BoolArray, Column, FloatArray
from headrace.arrow import arrow_table, column_of
from headrace.belief_table import weighed
from headrace.draft import draft_of
from headrace.policy import Policy
from headrace.responses import Responses
from headrace.router import Router

__all__ = ["Decider", "decide_file"]

#: Rows that are in memory at a time.
BATCH_ROWS = 65_536

#: Column of the ids, and the one that decisions are written to.
ID, NEXT = "query_id", "next"


class Decider:
    """A function of batches: gives each with a column "next" more, the name of the model to run; null = stop.

    It is a few numbers with a policy, and holds the estimators with a router, so it can be sent to other processes.

    Parameters
    ----------
    policy : Policy or Router
        With a policy, a batch holds beliefs: ``quality`` and ``cost`` (of several costs, a column by the name of each),
        and as there may be ``variance``, ``covariance``, ``loading`` and ``run``: lists of one number per model, in the
        order of the policy, or columns ``<model>|quality`` and so on. With a router that has a budget, it holds the
        columns of queries, and ``<model>|<column>`` of responses; a model has run where one of these isn't null.
        A column ``query_id`` holds the ids; without it, queries of a router get a hash of their columns.
    threads : int, default 1
        Threads for each batch.

    Raises
    ------
    TypeError, ValueError
        Something else than a policy or a router; a router without a budget.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from headrace.decider import Decider
    >>> from headrace.policy import Policy
    >>> decide = Decider(Policy(("small", "large"), "routing", {}, (100.0, 100.0)))
    >>> beliefs = {"query_id": ["q-1", "q-2"], "quality": [[0.7, 0.9], [0.2, 0.9]], "cost": [[0.001, 0.005]] * 2}
    >>> decide(pa.table(beliefs)).column("next").to_pylist()
    ['small', 'large']
    """

    def __init__(self, policy: Policy | Router, *, threads: int = 1) -> None:
        if not isinstance(policy, Policy | Router):
            raise TypeError(f"policy: expected a Policy or a Router, got {type(policy).__name__}")
        if isinstance(policy, Router) and not hasattr(policy, "policy_"):
            raise ValueError("policy: expected a router with a budget; fit it with budget=..., or use with_budget(...)")
        self.policy = policy
        self.threads = threads

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models."""
        return self.policy.models if isinstance(self.policy, Policy) else self.policy.models_

    def __call__(self, batch: Any) -> Any:
        """Decide a batch.

        Parameters
        ----------
        batch : pyarrow.Table or RecordBatch, data frame, or mapping of str to array-like

        Returns
        -------
        pyarrow.Table, or dict of str to ndarray for a mapping

        Raises
        ------
        ValueError
            Columns are missing, or don't fit the models.
        """
        if isinstance(batch, Mapping):
            columns = {name: np.asarray(values) for name, values in batch.items()}
            chosen = self._chosen(tuple(columns), columns.__getitem__)
            return columns | {NEXT: np.array([*self.models, None], dtype=object)[chosen]}
        table = arrow_table(batch)
        chosen = self._chosen(tuple(table.column_names), lambda name: column_of(table, name))
        import pyarrow as pa

        names = pa.array(self.models).take(pa.array(chosen, mask=chosen < 0))
        held = table.drop_columns([NEXT]) if NEXT in table.column_names else table
        return held.append_column(NEXT, names)

    def _chosen(self, names: Sequence[str], column: Callable[[str], Column]) -> npt.NDArray[np.int32]:
        decide = self._by_policy if isinstance(self.policy, Policy) else self._by_router
        return decide(names, column)

    def _by_policy(self, names: Sequence[str], column: Callable[[str], Column]) -> npt.NDArray[np.int32]:
        assert isinstance(self.policy, Policy)
        policy = self.policy

        def beliefs(name: str) -> FloatArray | None:
            return self._of_models(name, names, column)

        quality = beliefs("quality")
        cost_names = ("cost",) if len(policy.costs) == 1 and policy.costs[0] not in _stems(names) else policy.costs
        costs = [beliefs(name) for name in cost_names]
        for name, values in (("quality", quality), *zip(cost_names, costs, strict=True)):
            if values is None:
                wanted = f"{name!r}, lists of {len(self.models)} numbers, or {self.models[0] + '|' + name!r} and so on"
                raise ValueError(f"batch: expected a column {wanted}; it has {', '.join(names)}")
        assert quality is not None
        n, k = len(quality), len(self.models)
        ids = _ids(names, column)
        if ids is None:
            if policy.share < 1.0 and policy.parameters[0] != policy.parameters[1]:
                raise ValueError(f"batch: expected a column {ID!r}: the policy mixes two rules by it")
            ids = [""] * n
        covariance = column("covariance") if "covariance" in names else None
        run = beliefs("run")
        return policy.select_batch(
            quality,
            weighed(np.stack(costs), policy.rates) if len(costs) > 1 else costs[0],  # type: ignore[arg-type]  # none is None
            ids=ids,
            variance=beliefs("variance"),
            covariance=None if covariance is None else covariance.reshape(n, k, k),
            loading=beliefs("loading"),
            run=None if run is None else run.astype(np.bool_),
            threads=self.threads,
        )

    def _by_router(self, names: Sequence[str], column: Callable[[str], Column]) -> npt.NDArray[np.int32]:
        assert isinstance(self.policy, Router)
        queries = {name: column(name) for name in names if "|" not in name and name not in (ID, NEXT)}
        responses = self._responses(names, column)
        ids = _ids(names, column)
        return self.policy.select_batch(queries, ids=ids, responses=responses, threads=self.threads)

    def _responses(self, names: Sequence[str], column: Callable[[str], Column]) -> Responses | None:
        """Give the responses of the models, of which there are columns of some; None where there are none."""
        assert isinstance(self.policy, Router)
        columns, seen = {}, []
        for stem, (dtype, shape) in self.policy.response_columns_.items():
            kind, null = ("O", None) if dtype.kind == "O" else ("d", np.nan)
            cells = {j: f"{model}|{stem}" for j, model in enumerate(self.models) if f"{model}|{stem}" in names}
            if not cells:
                continue
            values = {j: column(name) for j, name in cells.items()}
            n = len(next(iter(values.values())))
            together = np.full((n, len(self.models), *shape), null, dtype=kind)
            for j, of_model in values.items():
                if of_model.shape[1:] == shape:
                    together[:, j] = of_model
                elif not all(value is None or value != value for value in of_model.tolist()):
                    wanted = f"shape {(n, *shape)}, as in the fit"
                    raise ValueError(f"column {cells[j]!r}: expected {wanted}, got {of_model.shape}")
            columns[stem] = together
            seen.append(~_is_missing(together))
        return Responses(np.any(seen, axis=0), columns) if columns else None

    def _of_models(self, name: str, names: Sequence[str], column: Callable[[str], Column]) -> FloatArray | None:
        """Give a number per model: a column of lists, or a column for each model; None where there is neither."""
        k = len(self.models)
        if name in names:
            values = column(name)
            if values.ndim != 2 or values.shape[1] != k:
                raise ValueError(f"column {name!r}: expected lists of {k} numbers, got shape {values.shape}")
            return values
        each = [f"{model}|{name}" for model in self.models]
        return np.column_stack([column(of_model) for of_model in each]) if set(each) <= set(names) else None


def decide_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    decider: Decider,
    *,
    keep: Sequence[str] = (ID,),
    batch_rows: int = BATCH_ROWS,
    progress: Callable[[float], None] | None = None,
) -> int:
    """Decide all rows of a Parquet file, a batch at a time; the result appears whole or not at all.

    Parameters
    ----------
    source, target : str or path-like
        Parquet files. The target holds the columns of `keep` that the source has, and "next".
    decider : Decider
    keep : sequence of str
    batch_rows : int
        Rows that are in memory at a time.
    progress : callable, optional
        Called with the share of the rows done.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    ImportError
        pyarrow is missing.
    FileNotFoundError, ValueError
        No such file, or not a Parquet file; see `Decider`.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow: pip install 'headrace[data]'") from error
    try:
        # With `pre_buffer`, all that has been read stays in memory.
        file = pq.ParquetFile(source, pre_buffer=False)
    except pa.ArrowInvalid as error:
        raise ValueError(f"source: {Path(source).name} is not a whole Parquet file ({error})") from error
    with file, draft_of(target) as draft:
        n_rows, done = file.metadata.num_rows, 0
        kept = [field for field in file.schema_arrow if field.name in keep and field.name != NEXT]
        schema = pa.schema([*kept, pa.field(NEXT, pa.string())])
        with pq.ParquetWriter(draft, schema) as writer:
            for batch in file.iter_batches(batch_size=batch_rows):
                writer.write_table(decider(batch).select(schema.names).cast(schema))
                done += batch.num_rows
                if progress is not None:
                    progress(done / n_rows)
    return done


def _stems(names: Sequence[str]) -> set[str]:
    """Names of columns, without the model that they are of."""
    return {name.rpartition("|")[2] for name in names}


def _ids(names: Sequence[str], column: Callable[[str], Column]) -> list[str] | None:
    return [str(label) for label in column(ID).tolist()] if ID in names else None


def _is_missing(values: Column) -> BoolArray:
    if values.dtype == object:
        return np.array([[cell is None for cell in row] for row in values], dtype=np.bool_)
    return np.asarray(np.isnan(values) if values.ndim == 2 else np.isnan(values).all(axis=-1))
