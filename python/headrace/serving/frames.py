"""Batches as columns: mappings, data frames and Arrow tables, without a copy where the layout allows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import BoolArray, Column, FloatArray, answer_text
from headrace.estimators.responses import Responses
from headrace.extras import imported
from headrace.policy import Policy
from headrace.policy.policy import weighed

__all__ = ["ID", "NEXT", "BeliefDecider", "Frame", "arrow_table", "column_of"]

#: Column of the ids, and the one that decisions are written to.
ID, NEXT = "query_id", "next"


class Frame:
    """A batch of rows, of any kind: its columns are arrays.

    Parameters
    ----------
    batch : pyarrow.Table or RecordBatch, data frame, or mapping of str to array-like

    Examples
    --------
    >>> from headrace.serving.frames import Frame
    >>> frame = Frame({"query_id": ["q-1", "q-2"], "text": ["Why?", "How?"]})
    >>> frame.ids(), frame.names
    (['q-1', 'q-2'], ('query_id', 'text'))
    """

    def __init__(self, batch: Any) -> None:
        self._column: Callable[[str], Column]
        if isinstance(batch, Mapping):
            columns = {name: np.asarray(values) for name, values in batch.items()}
            self._table, self._columns = None, columns
            self.names: tuple[str, ...] = tuple(columns)
            self._column = columns.__getitem__
        else:
            table = arrow_table(batch)
            self._table, self._columns = table, {}
            self.names = tuple(table.column_names)
            self._column = lambda name: column_of(table, name)

    def column(self, name: str) -> Column:
        """Give a column as an array."""
        return self._column(name)

    def ids(self) -> list[str] | None:
        """Give the ids; None where there are none."""
        return [str(label) for label in self._column(ID).tolist()] if ID in self.names else None

    def queries(self, known: Collection[str]) -> dict[str, Column]:
        """Give those columns of queries that are known; a frame may have others."""
        return {name: self._column(name) for name in self.names if name in known}

    def of_models(self, name: str, models: Sequence[str]) -> FloatArray | None:
        """Give a number per model: a column of lists, or a column for each model; None where there is neither."""
        k = len(models)
        if name in self.names:
            values = self._column(name)
            if values.ndim != 2 or values.shape[1] != k:
                raise ValueError(f"column {name!r}: expected lists of {k} numbers, got shape {values.shape}")
            return values
        each = [f"{model}|{name}" for model in models]
        return np.column_stack([self._column(of) for of in each]) if set(each) <= set(self.names) else None

    def responses(
        self, models: Sequence[str], known: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
    ) -> Responses | None:
        """Give the responses of the models, of which there are columns of some; None where there are none.

        Parameters
        ----------
        models : sequence of str
        known : mapping of str to (dtype, tuple of int)
            Response columns of the fit: type, and shape of a cell.
        """
        columns, seen = {}, []
        for stem, (dtype, shape) in known.items():
            kind, null = ("O", None) if dtype.kind == "O" else ("d", np.nan)
            cells = {j: f"{model}|{stem}" for j, model in enumerate(models) if f"{model}|{stem}" in self.names}
            if not cells:
                continue
            values = {j: self._column(name) for j, name in cells.items()}
            n = len(next(iter(values.values())))
            together = np.full((n, len(models), *shape), null, dtype=kind)
            for j, of_model in values.items():
                if of_model.shape[1:] == shape:
                    as_text = stem == "answer" and kind == "O"
                    together[:, j] = [answer_text(cell) for cell in of_model.tolist()] if as_text else of_model
                elif not all(value is None or value != value for value in of_model.tolist()):
                    wanted = f"shape {(n, *shape)}, as in the fit"
                    raise ValueError(f"column {cells[j]!r}: expected {wanted}, got {of_model.shape}")
            columns[stem] = together
            seen.append(~_is_missing(together))
        return Responses(np.any(seen, axis=0), columns) if columns else None

    def with_next(self, models: Sequence[str], chosen: npt.NDArray[np.int32]) -> Any:
        """Give the batch with the names of the chosen models in a column "next"; null = stop.

        Returns
        -------
        pyarrow.Table, or dict of str to ndarray for a mapping
        """
        if self._table is None:
            return self._columns | {NEXT: np.array([*models, None], dtype=object)[chosen]}
        import pyarrow as pa

        names = pa.array(models, pa.string()).take(pa.array(chosen, mask=chosen < 0))
        held = self._table.drop_columns([NEXT]) if NEXT in self.names else self._table
        return held.append_column(NEXT, names)


class BeliefDecider:
    """Decides batches that hold beliefs, by a policy alone.

    Parameters
    ----------
    policy : Policy
    threads : int, default 1
        Threads for each batch.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.serving import BeliefDecider
    >>> decide = BeliefDecider(hr.Policy(("small", "large"), "routing", {}, (100.0, 100.0)))
    >>> beliefs = {"query_id": ["q-1", "q-2"], "quality": [[0.7, 0.9], [0.2, 0.9]], "cost": [[0.001, 0.005]] * 2}
    >>> decide(beliefs)["next"].tolist()
    ['small', 'large']
    """

    def __init__(self, policy: Policy, *, threads: int = 1) -> None:
        if not isinstance(policy, Policy):
            raise TypeError(f"policy: expected a Policy, got {type(policy).__name__}")
        self.policy = policy
        self.threads = threads

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models."""
        return self.policy.models

    def __call__(self, batch: Any) -> Any:
        """Give a batch with a column "next" more, the name of the model to run; null = stop.

        Parameters
        ----------
        batch : pyarrow.Table or RecordBatch, data frame, or mapping of str to array-like
            Columns ``quality`` and ``cost`` (of several costs, a column by the name of each), and as there may be
            ``variance``, ``covariance``, ``loading`` and ``run``: lists of one number per model, in the order of the
            policy, or columns ``<model>|quality`` and so on; and ``query_id``.

        Returns
        -------
        pyarrow.Table, or dict of str to ndarray for a mapping

        Raises
        ------
        ValueError
            Columns are missing, or don't fit the models.
        """
        policy, frame = self.policy, Frame(batch)
        quality = frame.of_models("quality", self.models)
        stems = {name.rpartition("|")[2] for name in frame.names}
        cost_names = ("cost",) if len(policy.costs) == 1 and policy.costs[0] not in stems else policy.costs
        costs = [frame.of_models(name, self.models) for name in cost_names]
        for name, values in (("quality", quality), *zip(cost_names, costs, strict=True)):
            if values is None:
                wanted = f"{name!r}, lists of {len(self.models)} numbers, or {self.models[0] + '|' + name!r} and so on"
                raise ValueError(f"batch: expected a column {wanted}; it has {', '.join(frame.names)}")
        assert quality is not None
        n, k = len(quality), len(self.models)
        ids = frame.ids()
        if ids is None:
            if policy.share < 1.0 and policy.parameters[0] != policy.parameters[1]:
                raise ValueError(f"batch: expected a column {ID!r}: the policy mixes two rules by it")
            ids = [""] * n
        covariance = frame.column("covariance") if "covariance" in frame.names else None
        chosen = policy.select_batch(
            quality,
            weighed(np.stack(costs), policy.rates) if len(costs) > 1 else costs[0],  # type: ignore[arg-type]  # none is None
            ids=ids,
            variance=frame.of_models("variance", self.models),
            covariance=None if covariance is None else covariance.reshape(n, k, k),
            loading=frame.of_models("loading", self.models),
            run=_as_run(frame.of_models("run", self.models)),
            threads=self.threads,
        )
        return frame.with_next(self.models, chosen)


def arrow_table(frame: Any) -> Any:
    """Take a table, or anything that gives one by the Arrow PyCapsule interface, as a ``pyarrow.Table``.

    Parameters
    ----------
    frame : pyarrow.Table, pyarrow.RecordBatch, or a data frame (polars, pandas, DuckDB, ...)

    Raises
    ------
    ImportError
        pyarrow is missing.
    TypeError
        Something else.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from headrace.serving.frames import arrow_table
    >>> arrow_table(pa.RecordBatch.from_pydict({"id": ["a", "b"]})).num_rows
    2
    """
    pa = imported("pyarrow", "an Arrow table")
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    if hasattr(frame, "__arrow_c_stream__"):
        return pa.table(frame)
    raise TypeError(f"frame: expected an Arrow table or a data frame, got {type(frame).__name__}")


def column_of(table: Any, name: str) -> Column:
    """Give a column of an Arrow table as an array.

    Numbers without a null, and lists of as many numbers in each row (a fixed-size list, or a list of equal lengths),
    are seen where they are, if the column is one chunk: no copy. A null becomes NaN, or None among objects.

    Parameters
    ----------
    table : pyarrow.Table
    name : str

    Returns
    -------
    ndarray of shape (n_rows,), or (n_rows, d) for lists

    Raises
    ------
    ValueError
        No such column; lists of different lengths.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from headrace.serving.frames import column_of
    >>> table = pa.table({"quality": pa.array([[0.5, 0.75], [0.25, 1.0]], pa.list_(pa.float64(), 2))})
    >>> column_of(table, "quality").tolist()
    [[0.5, 0.75], [0.25, 1.0]]
    """
    import pyarrow as pa

    if name not in table.column_names:
        raise ValueError(f"column {name!r}: not in the table; it has {', '.join(table.column_names)}")
    chunks = table.column(name)
    array = chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        # What is too large for one array stays in chunks.
        array = pa.concat_arrays(array.chunks)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or _is_fixed(array.type)):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    if array.null_count:
        rows = array.is_valid().to_numpy(zero_copy_only=False)
        known = _stacked(name, array.drop_null())
        filled = np.full((len(array), known.shape[1]), np.nan)
        filled[rows] = known
        return filled
    return _stacked(name, array)


def _stacked(name: str, lists: Any) -> Column:
    """Stack lists of one length, without a null among them."""
    n = len(lists)
    if _is_fixed(lists.type):
        width = lists.type.list_size
    else:
        lengths = np.diff(lists.offsets.to_numpy(zero_copy_only=False))
        width = int(lengths[0]) if n else 0
        if (lengths != width).any():
            other = int(lengths[lengths != width][0])
            raise ValueError(f"column {name!r}: expected lists of one length, got {width} and {other}")
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False)).reshape(n, width)


def _is_fixed(type_: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_fixed_size_list(type_))


def _as_run(values: FloatArray | None) -> BoolArray | None:
    """Read which models have run: true or not zero; a missing cell hasn't."""
    if values is None:
        return None
    return np.asarray((values != 0) & (values == values), dtype=np.bool_)


def _is_missing(values: Column) -> BoolArray:
    if values.dtype == object:
        return np.array([[cell is None for cell in row] for row in values], dtype=np.bool_).reshape(values.shape[:2])
    return np.asarray(np.isnan(values) if values.ndim == 2 else np.isnan(values).all(axis=-1))
