"""Decisions for files of any size, a batch at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headrace.atomic_file import draft_of, same_file
from headrace.extras import imported
from headrace.serving.frames import ID, NEXT

__all__ = ["BATCH_ROWS", "decide_file"]

#: Rows that are in memory at a time.
BATCH_ROWS = 65_536


def decide_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    decider: Callable[[Any], Any],
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
    decider : Decider or BeliefDecider
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
        No such file, or not a Parquet file; the target is the source; see `Decider`.
    """
    if same_file(source, target):
        raise ValueError(f"target: {Path(target).name} is the source; name another file")
    pa, pq = (imported(module, "a Parquet file") for module in ("pyarrow", "pyarrow.parquet"))
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
