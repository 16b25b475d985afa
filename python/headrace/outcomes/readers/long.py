"""Long layouts: one row per query and model, turned into wide columns.

A row's query is known by its id column, or else by a hash of its task and text. Where a model has run several times
on one query, the repeats become rows of their own, the second run of one model beside the second run of the others:
nothing is averaged and no run is lost. All rows of one query are a group, so no split or fold comes between them.

Only the columns that a layout names are kept, and those whose names are known for what a run brings, e.g. tokens and
latency: a log also holds reference answers and keys, which no router may see.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headrace.arguments import Column, IndexArray, listed
from headrace.outcomes.readers.cells import as_text, boxed, is_numeric, numbers_if_all, parsed
from headrace.outcomes.rows import Rows

__all__ = ["LONG_LAYOUTS", "LongLayout", "widened", "with_query_ids"]


@dataclass(frozen=True, kw_only=True)
class LongLayout:
    """Names of the columns of a long layout.

    Parameters
    ----------
    model, quality : str
        Which model ran, and how good its answer was.
    text, id, task : str, optional
        Text, id and kind of the query; at least a text or an id.
    cost : str
        The cost unless another column is named.
    runs : tuple of (str, str)
        Further columns that are known after a run: name here, name in our tables.
    signs : tuple of str
        Columns by which the layout is recognised.
    """

    model: str
    quality: str
    text: str | None
    id: str | None
    task: str | None
    cost: str
    runs: tuple[tuple[str, str], ...]
    signs: tuple[str, ...]

    def named(self, columns: Mapping[str, Column]) -> bool:
        """Whether some columns are those of this layout."""
        return all(sign in columns for sign in self.signs)


#: The layouts, the more particular first.
LONG_LAYOUTS = {
    "routerarena": LongLayout(
        model="prediction",
        quality="accuracy",
        text="prompt",
        id="global index",
        task=None,
        cost="cost",
        runs=(("answer", "answer"), ("input_tokens", "input_tokens"), ("output_tokens", "output_tokens")),
        signs=("global index", "prediction", "accuracy"),
    ),
    "llmrouter": LongLayout(
        model="model_name",
        quality="performance",
        text="query",
        id=None,
        task="task_name",
        cost="token_num",
        runs=(
            ("response", "answer"),
            ("input_tokens", "input_tokens"),
            ("output_tokens", "output_tokens"),
            ("response_time", "seconds"),
        ),
        signs=("query", "model_name", "performance"),
    ),
    "nvidia": LongLayout(
        model="model",
        quality="isCorrect",
        text="question",
        id=None,
        task=None,
        cost="output_tokens",
        runs=(),
        signs=("question", "model", "isCorrect"),
    ),
    "litellm": LongLayout(
        model="model",
        quality="quality",
        text="text",
        id="query_id",
        task="task",
        cost="spend",
        runs=(
            ("answer", "answer"),
            ("prompt_tokens", "prompt_tokens"),
            ("completion_tokens", "completion_tokens"),
            ("seconds", "seconds"),
        ),
        signs=("request_id", "model", "spend"),
    ),
    "long": LongLayout(
        model="model",
        quality="quality",
        text="text",
        id="query_id",
        task="task",
        cost="cost",
        runs=(("answer", "answer"), ("tokens", "tokens"), ("seconds", "seconds")),
        signs=("model", "quality"),
    ),
}


#: Further columns that are known after a run, whatever the layout: kept under their own names.
RUN_COLUMNS = frozenset(
    {
        *("answer", "finish_reason", "logprob", "logprobs", "confidence", "refused"),
        *("tokens", "total_tokens", "input_tokens", "output_tokens", "prompt_tokens", "completion_tokens"),
        *(
            "tokens_in",
            "tokens_out",
            "reasoning_tokens",
            "cached_tokens",
            "latency",
            "latency_s",
            "latency_ms",
            "seconds",
            "duration",
            "ttft",
        ),
        *("cost", "cost_usd", "usd", "total_cost"),
    }
)

#: A column that may hold the ids of queries, or of runs, or of anything.
OTHER_ID = "id"

#: Layouts that people write themselves: of these it is told which columns were left out.
TOLD = ("long", "nvidia")


def widened(
    columns: Mapping[str, Column],
    layout: LongLayout,
    rows: Rows,
    *,
    costs: Sequence[str],
    loose: frozenset[str] = frozenset(),
    notes: list[str] | None = None,
) -> tuple[dict[str, Column], Rows]:
    """Give the columns of our wide layout: one row per query and repeat, and columns per model.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_runs,)
    layout : LongLayout
    rows : Rows
        Those of `columns`, for messages.
    costs : sequence of str
        Columns that serve as cost, by their names in our tables: kept, and numbers.
    loose : frozenset of str
        Columns whose text may stand for numbers.
    notes : list of str, optional
        Where to say what was left out, and what counts as missing.

    Returns
    -------
    dict of str to ndarray of shape (n_rows,)
    Rows
        Those of the new columns.

    Raises
    ------
    ValueError
        A row without model or query; an id with two texts; a cell that isn't a number.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.outcomes.readers.long import LONG_LAYOUTS, widened
    >>> from headrace.outcomes.rows import Rows
    >>> log = {"query_id": ["q", "q"], "model": ["a", "b"], "quality": [1, 0], "cost": [2, 3]}
    >>> columns = {name: np.array(cells, dtype=object if name in ("query_id", "model") else None)
    ...            for name, cells in log.items()}
    >>> wide, _ = widened(columns, LONG_LAYOUTS["long"], Rows(source="log"), costs=["cost"])
    >>> {name: cells.tolist() for name, cells in wide.items()}
    {'query_id': ['q'], 'a|quality': [1.0], 'b|quality': [0.0], 'a|cost': [2.0], 'b|cost': [3.0]}
    """
    notes = [] if notes is None else notes
    rows = rows.named(model=columns[layout.model])
    if layout.id is not None and layout.id in columns:
        rows = rows.named(query=columns[layout.id])
    models = _present(columns, layout.model, rows)
    queries = {
        name: as_text(columns[given])
        for name, given in (("text", layout.text), ("task", layout.task))
        if given is not None and given in columns
    }
    keys = _keys(columns, layout, queries, rows)
    rows = rows.named(query=keys, model=models)
    places, row_keys = _places(keys, models)
    wide: dict[str, Column] = {"query_id": boxed(row_keys)}
    if "group" in columns:
        groups = boxed(_present(columns, "group", rows))
        wide["group"] = _of_queries("group", groups, keys, row_keys, rows)
    elif len(set(row_keys)) < len(row_keys) and "text" not in queries:
        wide["group"] = boxed(row_keys)
    for name, cells in queries.items():
        wide[name] = _of_queries(name, cells, keys, row_keys, rows)
    kept = _kept(columns, layout, costs)
    if layout in [LONG_LAYOUTS[name] for name in TOLD]:
        used = {layout.model, layout.text, layout.id, layout.task, "group", "status", "cache_hit", *kept}
        left_out = [name for name in columns if name not in used]
        if OTHER_ID in left_out:
            known_by = layout.id if layout.id in columns else layout.text
            notes.append(f"left out: {OTHER_ID!r}, as queries are known by their {known_by!r}")
            left_out.remove(OTHER_ID)
        if left_out:
            notes.append(
                f"left out, since a router may not see reference answers: {listed(left_out)}; a column that is known "
                "after a run can be kept in the wide layout"
            )
    ran = {model: np.array([other == model for other in models]) for model in dict.fromkeys(models)}
    for given, name in kept.items():
        if given not in columns:
            continue
        cells = columns[given]
        if name in ("quality", layout.cost, *costs):
            cells = parsed(given, cells, notes, truth=name == "quality", place=rows.place)
        elif given in loose:
            cells = numbers_if_all(cells)
        for model, runs in ran.items():
            wide[f"{model}|{name}"] = _spread(cells[runs], places[runs], len(row_keys))
    return wide, rows.of_runs(places, models)


def with_query_ids(columns: Mapping[str, Column], layout: LongLayout, notes: list[str]) -> Mapping[str, Column]:
    """Take a column "id" as the queries' ids, where there are no others and it says which runs asked the same.

    It does if each id has one text, and several runs have one id or there is one model only. A run's own id differs
    from row to row, and ids of anything else come with several texts.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.outcomes.readers.long import LONG_LAYOUTS, with_query_ids
    >>> log = {"id": np.array([7, 7, 8]), "model": np.array(["a", "b", "a"], dtype=object)}
    >>> [list(with_query_ids({**log, "id": ids}, LONG_LAYOUTS["long"], [])) for ids in (log["id"], np.arange(3))]
    [['query_id', 'model'], ['id', 'model']]
    """
    if layout.id is None or layout.id in columns or OTHER_ID not in columns:
        return columns
    ids = as_text(columns[OTHER_ID]).tolist()
    texts = as_text(columns[layout.text]).tolist() if layout.text is not None and layout.text in columns else ids
    several_runs = len(set(ids)) < len(ids) or len(set(as_text(columns[layout.model]).tolist())) == 1
    if not all(ids) or not several_runs or len(set(zip(ids, texts, strict=True))) > len(set(ids)):
        return columns
    notes.append(f"the column {OTHER_ID!r} was taken as the queries' ids")
    return {layout.id: boxed(ids), **{name: cells for name, cells in columns.items() if name != OTHER_ID}}


def _kept(columns: Mapping[str, Column], layout: LongLayout, costs: Sequence[str]) -> dict[str, str]:
    """Say which columns hold runs: name there -> name in our tables."""
    kept = {layout.quality: "quality", layout.cost: layout.cost, **dict(layout.runs)}
    for name in (*costs, *(name for name in columns if name in RUN_COLUMNS)):
        if name not in kept and name not in kept.values():
            kept[name] = name
    return kept


def _present(columns: Mapping[str, Column], name: str, rows: Rows) -> list[str]:
    """Give a column of names, none of which may be missing."""
    cells = as_text(columns[name]).tolist()
    if empty := [row for row, cell in enumerate(cells) if not cell]:
        raise ValueError(f"{rows}: column {name!r} is empty{rows.place(empty)}")
    return [str(cell) for cell in cells]


def _keys(columns: Mapping[str, Column], layout: LongLayout, queries: Mapping[str, Column], rows: Rows) -> list[str]:
    """Give the id of each row's query."""
    if layout.id is not None and layout.id in columns:
        return _present(columns, layout.id, rows)
    if "text" not in queries:
        wanted = " or ".join(repr(name) for name in (layout.id, layout.text) if name is not None)
        texts = [name for name in ("prompt", "question", "query", "input") if name in columns]
        hint = f"; if {texts[0]!r} does: --rename text={texts[0]}, or rename={{'text': {texts[0]!r}}}" if texts else ""
        raise ValueError(f"{rows}: no column says which query a row is about, expected {wanted}{hint}")
    assert layout.text is not None  # it has given the text
    texts = _present(columns, layout.text, rows)
    tasks = queries["task"].tolist() if "task" in queries else [None] * len(texts)
    return [query_hash(text, task) for text, task in zip(texts, tasks, strict=True)]


def query_hash(text: str, task: str | None = None) -> str:
    """Give a query without an id one: a hash of its task and text, the same everywhere.

    Examples
    --------
    >>> from headrace.outcomes.readers.long import query_hash
    >>> query_hash("2 + 2?"), query_hash("2 + 2?") == query_hash("2 + 2?", "sums")
    ('10cc23d895cb86b6', False)
    """
    return hashlib.blake2b(json.dumps([task, text]).encode(), digest_size=8).hexdigest()


def _places(keys: Sequence[str], models: Sequence[str]) -> tuple[IndexArray, list[str]]:
    """Give the wide row of each run, and the query of each wide row."""
    row_of: dict[tuple[str, int], int] = {}
    n_runs: dict[tuple[str, str], int] = {}
    places = np.empty(len(keys), dtype=np.intp)
    for row, cell in enumerate(zip(keys, models, strict=True)):
        repeat = n_runs.get(cell, 0)
        n_runs[cell] = repeat + 1
        places[row] = row_of.setdefault((cell[0], repeat), len(row_of))
    return places, [key for key, _ in row_of]


def _of_queries(name: str, cells: Column, keys: Sequence[str], row_keys: Sequence[str], rows: Rows) -> Column:
    """Give each wide row what its query has; a query has one text and one task."""
    known: dict[str, str | None] = {}
    others = []
    for row, (key, cell) in enumerate(zip(keys, cells.tolist(), strict=True)):
        if known.get(key) is None:
            known[key] = cell
        elif cell is not None and cell != known[key]:
            others.append(row)
    if others:
        raise ValueError(f"{rows}: expected one value of {name!r} per query, got a second one{rows.place(others)}")
    return boxed([known[key] for key in row_keys])


def _spread(cells: Column, places: IndexArray, n_rows: int) -> Column:
    """Put one model's cells into the wide rows; missing where it didn't run."""
    numeric = is_numeric(cells)
    spread = np.full((n_rows, *cells.shape[1:]), np.nan if numeric else None)
    spread[places] = cells
    return spread
