"""Records that nest JSON, flattened: RouterArena's predictions and litellm's spend logs.

Layouts as of RouteWorks/RouterArena (router_inference/predictions) and of table LiteLLM_SpendLogs in BerriAI/litellm's
schema.prisma.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from headrace.arguments import Column, FloatArray, listed
from headrace.json_values import json_of
from headrace.outcomes.readers.cells import as_text, boxed, json_number, parsed
from headrace.outcomes.rows import Rows

__all__ = ["answered_runs", "routerarena_columns", "spend_log_columns"]


def answered_runs(columns: Mapping[str, Column], rows: Rows, notes: list[str]) -> tuple[dict[str, Column], Rows]:
    """Keep the runs that a model answered and charged, where a log says which: columns "status" and "cache_hit".

    A failed attempt isn't an answer, and would be paired with other models' answers as a repeat; a hit of a cache costs
    something else than a run.

    Raises
    ------
    ValueError
        If no such run is left.
    """
    n_rows = len(next(iter(columns.values())))
    kept = np.ones(n_rows, dtype=bool)
    for name, words, what in (
        ("status", ("failure", "failed", "error"), "runs failed"),
        ("cache_hit", ("true",), "runs were answered by a cache, at another cost than a run's"),
    ):
        if name in columns:
            said = [str(cell).lower() in words for cell in as_text(columns[name]).tolist()]
            gone = np.array(said) & kept
            if gone.any():
                notes.append(f"{gone.sum()} of {n_rows} {what}: left out")
            kept &= ~gone
    if not kept.any():
        raise ValueError(f"{rows}: no run was answered by a model, and charged")
    index = np.flatnonzero(kept)
    return {name: cells[kept] for name, cells in columns.items()}, rows.made_of(index)


def routerarena_columns(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Take answer and tokens out of the results that a prediction nests."""
    flat = dict(columns)
    if "generated_result" not in flat:
        return flat
    results = [_decoded(cell) for cell in as_text(flat.pop("generated_result")).tolist()]
    used = [_part(result, "token_usage") for result in results]
    flat["answer"] = boxed([_text(_part(result, "generated_answer")) for result in results])
    for name in ("input_tokens", "output_tokens"):
        flat[name] = np.array([json_number(_part(usage, name)) for usage in used])
    return flat


def spend_log_columns(columns: Mapping[str, Column], rows: Rows, notes: list[str]) -> dict[str, Column]:
    """Bring litellm's spend logs to a flat long layout: text, answer and seconds out of what they nest.

    The model is the group that was asked for, where every group is one model: else a group is that of a router, and the
    model is the one that answered. The query is the messages sent, unless a column "query_id" says which
    requests asked the same.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_requests,)
    rows : Rows
        Those of `columns`, for messages.
    notes : list of str
        Where to say what was left out.

    Raises
    ------
    ValueError
        The log holds no messages and no "query_id"; or no quality.
    """
    if "quality" not in columns:
        raise ValueError(
            f"{rows}: a spend log has no quality; add a column 'quality', or name a file of 'request_id' and "
            "'quality' with labels"
        )
    flat = dict(columns)
    empty = boxed([None] * len(flat["request_id"]))
    flat["model"] = _answering(flat, empty, notes)
    messages = [_decoded(cell) for cell in as_text(flat.get("messages", empty)).tolist()]
    requests = [_decoded(cell) for cell in as_text(flat.get("proxy_server_request", empty)).tolist()]
    texts = [_conversation(sent or _part(asked, "messages")) for sent, asked in zip(messages, requests, strict=True)]
    flat["text"] = boxed(texts)
    if "query_id" not in flat and not any(texts):
        raise ValueError(
            f"{rows}: the log holds no messages: turn on store_prompts_in_spend_logs in litellm, or add a column "
            "'query_id' that says which requests asked the same"
        )
    if "response" in flat:
        flat["answer"] = boxed([_reply(_decoded(cell)) for cell in as_text(flat["response"]).tolist()])
    flat["seconds"] = _seconds(flat, rows.named(request=flat["request_id"], model=flat["model"]))
    return flat


def _answering(columns: Mapping[str, Column], empty: Column, notes: list[str]) -> Column:
    """Name the model of each request: its group, unless a group has several models."""
    models, groups = (as_text(columns.get(name, empty)) for name in ("model", "model_group"))
    members: dict[str, set[str]] = {}
    for group, model in zip(groups.tolist(), models.tolist(), strict=True):
        if group and model:
            members.setdefault(group, set()).add(model)
    several = [group for group, names in members.items() if len(names) > 1]
    if several:
        notes.append(
            f"the groups {listed(several)} have several models, each of which counts for itself; to take a group as "
            "one model: rename={'model': 'model_group'}"
        )
    routed = np.array([group in several for group in groups.tolist()])
    return np.where(groups.astype(bool) & ~routed, groups, models)


def _decoded(cell: str | None) -> Any:
    """Decode JSON text; text that isn't JSON stands for itself."""
    try:
        return None if cell is None else json_of(cell)
    except ValueError:
        return cell


def _part(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True)


def _conversation(messages: Any) -> str | None:
    """Give what was said, one message after the other, without the parts that aren't text."""
    if not isinstance(messages, list):
        return messages if isinstance(messages, str) and messages else None
    said = []
    for message in messages:
        content = _part(message, "content")
        parts = content if isinstance(content, list) else [{"text": content}]
        said += [text for part in parts if isinstance(text := _part(part, "text"), str)]
    return "\n".join(said) or None


def _reply(response: Any) -> str | None:
    choices = _part(response, "choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return _text(_part(_part(first, "message"), "content"))


def _seconds(columns: Mapping[str, Column], rows: Rows) -> FloatArray:
    """Give how long each request took."""
    if "request_duration_ms" in columns:
        return parsed("request_duration_ms", columns["request_duration_ms"], place=rows.place) / 1000.0
    n_rows = len(columns["request_id"])
    empty = boxed([None] * n_rows)
    start, end = (map(_instant, as_text(columns.get(name, empty)).tolist()) for name in ("startTime", "endTime"))
    return np.array([b - a for a, b in zip(start, end, strict=True)])


def _instant(cell: str | None) -> float:
    try:
        return float("nan") if cell is None else datetime.fromisoformat(cell).timestamp()
    except (ValueError, OverflowError):
        return float("nan")
