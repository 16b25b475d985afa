"""Result files of evaluation tools that nest their records: promptfoo and inspect.

Layouts as of promptfoo's output files (results.results) and of inspect_ai's logs in JSON (samples).
"""

from __future__ import annotations

from typing import Any

from headrace.arguments import listed
from headrace.outcomes.readers.cells import json_number

__all__ = ["nested_records"]

#: Letters that inspect's scorers give, and what they count.
GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}

#: failureReason of a promptfoo result whose call failed, rather than its tests.
CALL_FAILED = 2


def nested_records(document: dict[str, Any], source: str, notes: list[str]) -> list[Any]:
    """Find the records in a JSON object.

    Parameters
    ----------
    document : dict
    source : str
        For messages.
    notes : list of str
        Where to say what was left out.

    Raises
    ------
    ValueError
        If the object holds no records that are known; it says what it holds.

    Examples
    --------
    >>> from headrace.outcomes.readers.eval_logs import nested_records
    >>> nested_records({"data": [{"a": 1}]}, "log.json", [])
    [{'a': 1}]
    """
    if isinstance(document.get("data"), list):
        return list(document["data"])
    results = document.get("results")
    found = results.get("results") if isinstance(results, dict) else results
    if isinstance(found, list) and all(isinstance(result, dict) and "provider" in result for result in found):
        return _promptfoo(found, notes)
    if isinstance(document.get("samples"), list) and isinstance(document.get("eval"), dict):
        return _inspect(document, notes)
    raise ValueError(
        f"{source}: expected an array of objects, or one object per line, got an object with the keys "
        f"{listed(document)}; put the records, one per query and model, in an array"
    )


def _promptfoo(results: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    """Flatten promptfoo's results; one whose call failed is left out."""
    records = []
    for result in results:
        response, provider = _object(result.get("response")), result["provider"]
        if result.get("failureReason") == CALL_FAILED or (result.get("error") and "output" not in response):
            continue
        usage = _object(response.get("tokenUsage"))
        latency = result.get("latencyMs")
        records.append(
            {
                "text": _object(result.get("prompt")).get("raw"),
                "model": provider.get("label") or provider.get("id") if isinstance(provider, dict) else provider,
                "quality": result.get("score"),
                "cost": result.get("cost"),
                "answer": response.get("output"),
                "input_tokens": usage.get("prompt"),
                "output_tokens": usage.get("completion"),
                "seconds": json_number(latency) / 1000.0,
            }
        )
    _note_failed(len(results) - len(records), len(results), notes)
    return records


def _inspect(document: dict[str, Any], notes: list[str]) -> list[dict[str, Any]]:
    """Flatten the samples of an inspect log, which has one model; repeats (epochs) stay repeats."""
    model = document["eval"].get("model")
    samples = [sample for sample in document["samples"] if isinstance(sample, dict)]
    records = []
    for sample in samples:
        if sample.get("error"):
            continue
        output = _object(sample.get("output"))
        usage = _object(output.get("usage"))
        choices = output.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        records.append(
            {
                "query_id": sample.get("id"),
                "text": _said(sample.get("input")),
                "task": document["eval"].get("task"),
                "model": model,
                "quality": _grade(sample.get("scores")),
                "cost": usage.get("total_cost"),
                "tokens": usage.get("total_tokens"),
                "input_tokens": usage.get("input_tokens"),
                "output_tokens": usage.get("output_tokens"),
                "answer": _said(_object(_object(first).get("message")).get("content")),
                "seconds": sample.get("working_time") or sample.get("total_time"),
            }
        )
    _note_failed(len(samples) - len(records), len(samples), notes)
    notes.append("an inspect log holds one model: convert each log, and join the tables on 'query_id'")
    return [{name: cell for name, cell in record.items() if name != "cost" or cell is not None} for record in records]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _said(content: Any) -> str | None:
    """Give the text of a message, or of a list of messages or parts."""
    if isinstance(content, list):
        parts = [_said(_object(part).get("content", _object(part).get("text"))) for part in content]
        return "\n".join(part for part in parts if part) or None
    return content if isinstance(content, str) else None


def _grade(scores: Any) -> float | None:
    """Give the first score of a sample as a number; None where a scorer gave another value."""
    value = next((_object(score).get("value") for score in _object(scores).values()), None)
    if isinstance(value, str):
        return GRADES.get(value)
    return value if isinstance(value, bool | int | float) else None


def _note_failed(n_failed: int, n_runs: int, notes: list[str]) -> None:
    if n_failed:
        notes.append(f"{n_failed} of {n_runs} runs were left out: their calls failed")
