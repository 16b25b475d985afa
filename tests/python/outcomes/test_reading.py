"""Logs as other tools write them, and our own tables saved and read: what comes out is what went in, or is told."""

from __future__ import annotations

import gzip
import json
import os
import re
import stat
import subprocess
import sys
import time
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from headrace.arguments import checked_magnitudes
from headrace.atomic_file import draft_of
from headrace.outcomes import Outcomes
from headrace.outcomes.readers.cells import shared
from headrace.outcomes.readers.frame import frame_columns
from headrace.outcomes.rows import Rows

NAN = float("nan")
SUFFIXES = [".csv", ".parquet", ".jsonl"]


def written(path: Path, content: str | bytes | list[dict[str, Any]] | dict[str, Any]) -> Path:
    """Write text, bytes, or JSON (one object per line for .jsonl)."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    else:
        path.write_text(json.dumps(content), encoding="utf-8")
    return path


def needs_data_extra() -> None:
    pytest.importorskip("narwhals")
    pytest.importorskip("pyarrow")


def remarks(table: Outcomes) -> str:
    return "\n".join(table.describe().remarks)


def saved_and_read(table: Outcomes, path: Path) -> Outcomes:
    table.save(path)
    return Outcomes.from_file(path)


def assert_same(left: Outcomes, right: Outcomes) -> None:
    assert (left.models, left.ids, list(left.costs)) == (right.models, right.ids, list(right.costs))
    np.testing.assert_array_equal(left.quality, right.quality)
    for name in left.costs:
        np.testing.assert_array_equal(left.costs[name], right.costs[name])
    assert (None if left.groups is None else left.groups.tolist()) == (
        None if right.groups is None else right.groups.tolist()
    )
    for ours, theirs in ((left.queries, right.queries), (left.responses, right.responses)):
        assert list(ours) == list(theirs)
        for name in ours:
            if ours[name].dtype.kind == "O":
                assert ours[name].tolist() == theirs[name].tolist(), name
            else:
                np.testing.assert_array_equal(ours[name], theirs[name])


# Tables written and read again


def every_kind(**changes: Any) -> Outcomes:
    cost = [[0.1, 0.25], [NAN, 1e-300], [0.3, 2**60]]
    arguments: dict[str, Any] = {
        "models": ["a", "b|c"],
        "quality": [[0, 1], [NAN, 0.5], [-1, 100]],
        "cost": cost,
        "ids": ["00007", str(2**70), "1.5e3"],
        "groups": ["007", "1", "1"],
        "queries": {
            "text": ["12", 'Say "hi",\r\nplease', ""],
            "task": ["1", "2", None],
            "code": ["00007", "1", "2"],
            "level": ["1", "2", "3"],
            "late": [None, "4", "5"],
            "word": ["true", "NA", ""],
            "size": [1, 2, 3],
            "big": [2**60 + 1, 1, -(2**62)],
            "half": np.array([0.1, NAN, 3], dtype=np.float32),
            "flag": [True, False, True],
        },
        "responses": {
            "answer": [["00007", "7"], [None, "B"], ["1", "2"]],
            "digits": [["1", "2"], ["3", "4"], ["5", "6"]],
            "tokens": [[1, 2], [3, 4], [5, 6]],
            "passed": [[True, False]] * 3,
            "cost": cost,
        },
    }
    return Outcomes(**{**arguments, **changes})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_saved_table_is_read_back_the_same(tmp_path: Path, suffix: str) -> None:
    needs_data_extra()
    table = every_kind()
    assert_same(saved_and_read(table, tmp_path / f"t{suffix}"), table)
    read = saved_and_read(table, tmp_path / f"again{suffix}")
    assert_same(saved_and_read(read, tmp_path / f"twice{suffix}"), table)
    assert read.queries["big"].tolist() == table.queries["big"].tolist()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_names_of_costs_are_kept(tmp_path: Path, suffix: str) -> None:
    needs_data_extra()
    for costs in ({"usd": [1.0]}, {"cost": [1.0], "seconds": [2.0]}, {"usd": [1.0], "seconds": [2.0]}):
        table = Outcomes(models=["a"], quality=[[1], [0]], cost=costs)
        back = saved_and_read(table, tmp_path / f"t{suffix}")
        assert {name: values.tolist() for name, values in back.costs.items()} == {
            name: values.tolist() for name, values in table.costs.items()
        }
        only = list(costs)[-1]
        assert Outcomes.from_file(tmp_path / f"t{suffix}", cost=only).cost_name == only


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_vectors_with_holes_are_kept(tmp_path: Path, suffix: str) -> None:
    needs_data_extra()
    vectors = {"queries": {"v": [[1.0, NAN], [NAN, NAN]]}, "responses": {"w": [[[1.0, 2.0]], [[NAN, 3.5]]]}}
    table = Outcomes(models=["a"], quality=[[1], [0]], cost=[1.0], **vectors)  # type: ignore[arg-type]
    back = saved_and_read(table, tmp_path / f"t{suffix}")
    np.testing.assert_array_equal(back.queries["v"], table.queries["v"])
    np.testing.assert_array_equal(back.responses["w"], table.responses["w"])


def test_what_a_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    needs_data_extra()
    words = np.array([["x", "y"]], dtype=object)
    with pytest.raises(ValueError, match="vectors of numbers, not of text"):
        Outcomes(models=["a"], quality=[[1]], cost=[1], queries={"w": words}).save(tmp_path / "t.parquet")
    lone = Outcomes(models=["a"], quality=[[1]], cost=[1], queries={"text": ["\ud800"]})
    with pytest.raises(ValueError, match=r"'text' holds text that isn't valid Unicode; write \.jsonl"):
        lone.save(tmp_path / "t.csv")
    assert saved_and_read(lone, tmp_path / "t.jsonl").queries["text"].tolist() == ["\ud800"]
    with pytest.raises(ValueError, match=r"ends in \.parquet, \.csv, \.jsonl, got 't\.npz'"):
        lone.save(tmp_path / "t.npz")


CELLS = st.one_of(
    st.none(),
    st.text(max_size=6),
    st.sampled_from(["007", "1", "2.0", "-", "N/A", "true", '"', "a,b", "\n", "1e5", "+1"]),
).filter(lambda cell: cell is None or max(cell, default="a") < "\ud800" or min(cell) > "\udfff")


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(CELLS, min_size=1, max_size=6), numbers=st.lists(st.floats(allow_infinity=False), min_size=6))
def test_text_columns_stay_text(tmp_path: Path, suffix: str, cells: list[str | None], numbers: list[float]) -> None:
    needs_data_extra()
    n = len(cells)
    # A file without types can't tell of what type a column without any cell would be.
    queries = {"code": np.array(cells, dtype=object), "x": [1.0, *numbers[1:n]]}
    responses = {"answer": np.array(cells, dtype=object)[:, None], "cost": np.ones((n, 1))}
    table = Outcomes(models=["a"], quality=[[1.0]] * n, cost=[1.0], queries=queries, responses=responses)
    assert_same(saved_and_read(table, tmp_path / f"t{suffix}"), table)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_text_of_one_model_alone_stays_text(tmp_path: Path, suffix: str) -> None:
    needs_data_extra()
    notes = np.array([[None, None], ["1e308", None], [None, None]], dtype=object)
    table = Outcomes(models=["a", "b"], quality=[[0, 1]] * 3, cost=[1, 2], responses={"note": notes})
    assert saved_and_read(table, tmp_path / f"t{suffix}").responses["note"].tolist() == notes.tolist()


@pytest.mark.parametrize("head", ["text,a|quality,a|cost\nx,1,0.5\ny,0,", "", "text,a|quality,a|cost,"])
def test_a_mark_that_is_not_closed_takes_no_time(tmp_path: Path, head: str) -> None:
    needs_data_extra()
    # A search from each of a million places took hours: a timeout of the tests tells.
    path = written(tmp_path / "t.csv", f'{head}"{"[" * 1_000_000}\n')
    with pytest.raises(ValueError, match=r"t\.csv"):
        Outcomes.from_file(path)


def test_an_empty_first_line_changes_no_types(tmp_path: Path) -> None:
    needs_data_extra()
    path = written(tmp_path / "t.csv", "\n\ntext,a|quality,a|cost,a|answer\nx,1,0.5,007\ny,0,0.5,12\n")
    assert Outcomes.from_file(path).responses["answer"].tolist() == [["007"], ["12"]]


def test_whole_numbers_of_thousands_of_digits_stay_text(tmp_path: Path) -> None:
    needs_data_extra()
    digits = "1" * 5000
    path = written(tmp_path / "t.csv", f"text,a|quality,a|cost,a|note\nx,1,0.5,{digits}\ny,0,0.5,7\n")
    assert Outcomes.from_file(path).responses["note"].tolist() == [[digits], ["7"]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_of_any_length_are_read_again(tmp_path: Path, suffix: str) -> None:
    needs_data_extra()
    long = "a\u00e9" * 100_000
    table = Outcomes(models=[long], quality=[[0], [1]], cost=[1], responses={"answer": [["7"], ["8"]]})
    again = saved_and_read(table, tmp_path / f"t{suffix}")
    assert again.models == (long,)
    assert again.responses["answer"].tolist() == [["7"], ["8"]]


def test_quotation_marks_around_everything_say_nothing(tmp_path: Path) -> None:
    needs_data_extra()
    path = written(tmp_path / "t.csv", '"query_id","size","a|quality","a|cost"\n"q1","3","1","0.5"\n"q2","","0","2"\n')
    table = Outcomes.from_file(path)
    np.testing.assert_array_equal(table.queries["size"], [3, NAN])
    assert table.cost.tolist() == [[0.5], [2.0]]


# Ids


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_ids_are_exact_and_the_same_in_every_format(tmp_path: Path, layout: str) -> None:
    needs_data_extra()
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    ids = [1, 2**53 + 1, 2**62 + 1]
    quality, cost = ("a|quality", "a|cost") if layout == "wide" else ("quality", "cost")
    columns: dict[str, list[Any]] = {"query_id": ids, "group": ids[::-1], quality: [1, 0, 1], cost: [1, 2, 3]}
    if layout == "long":
        columns["model"] = ["a"] * 3
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    lines = [",".join(columns), *(",".join(str(cell) for cell in row.values()) for row in rows)]
    files = [
        written(tmp_path / "t.csv", "\n".join(lines)),
        written(tmp_path / "t.json", rows),
        written(tmp_path / "t.jsonl", rows),
    ]
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    tables = [Outcomes.from_file(path) for path in [*files, tmp_path / "t.parquet"]]
    tables.append(Outcomes.from_frame(columns))
    for table in tables:
        assert table.ids == tuple(map(str, ids))
        assert table.groups is not None
        assert table.groups.tolist() == [str(label) for label in ids[::-1]]


def test_ids_beyond_64_bits_and_of_floats(tmp_path: Path) -> None:
    rows = [{"query_id": number, "a|quality": 1, "a|cost": 1} for number in (2**70, 5)]
    assert Outcomes.from_file(written(tmp_path / "t.jsonl", rows)).ids == (str(2**70), "5")
    assert Outcomes.from_frame({"query_id": [2**63, 5], "a|quality": [1, 1], "a|cost": [1, 1]}).ids == (str(2**63), "5")
    frame = {"query_id": np.array([1.0, 2.0]), "a|quality": [1, 1], "a|cost": [1, 1]}
    assert Outcomes.from_frame(frame).ids == ("1", "2")
    needs_data_extra()
    path = written(tmp_path / "t.csv", "query_id,a|quality,a|cost\n1.0,1,1\n2.0,1,1\n")
    assert Outcomes.from_file(path).ids == ("1", "2")


def test_a_query_without_an_id_has_the_same_hash_in_every_format(tmp_path: Path) -> None:
    needs_data_extra()
    rows = [{"text": "12", "task": 1, "model": "a", "quality": 1, "cost": 2}]
    path = written(tmp_path / "t.csv", "text,task,model,quality,cost\n12,1,a,1,2\n")
    assert Outcomes.from_file(path).ids == Outcomes.from_file(written(tmp_path / "t.jsonl", rows)).ids


def test_answers_are_text_whatever_they_look_like(tmp_path: Path) -> None:
    needs_data_extra()
    rows = [{"query_id": "q", "model": model, "quality": 1, "cost": 1, "answer": 42} for model in "ab"]
    lines = "query_id,model,quality,cost,answer\nq,a,1,1,42\nq,b,1,1,42\n"
    for table in (
        Outcomes.from_file(written(tmp_path / "t.jsonl", rows)),
        Outcomes.from_file(written(tmp_path / "t.csv", lines)),
        Outcomes.from_frame({"a|quality": [1], "a|cost": [1], "b|quality": [1], "a|answer": [42], "b|answer": [42]}),
    ):
        assert table.responses["answer"].tolist() == [["42", "42"]]


# Logs of other tools


def test_a_column_without_a_name_is_left_out(tmp_path: Path) -> None:
    needs_data_extra()
    index = written(tmp_path / "t.csv", ",query_id,a|quality,a|cost\n0,q,1,2\n1,r,0,2\n")
    resaved = written(tmp_path / "v.csv", "Unnamed: 0,query_id,a|quality,a|cost\n0,q,1,2\n1,r,0,2\n")
    trailing = written(tmp_path / "u.csv", "query_id,a|quality,a|cost,\nq,1,2,\nr,0,2,\n")
    for path in (index, trailing, resaved):
        table = Outcomes.from_file(path)
        assert (table.ids, list(table.queries)) == (("q", "r"), [])
        assert "a column without a name was left out" in remarks(table)


def spend_row(number: int, question: str, model: str, group: str, **changes: Any) -> dict[str, Any]:
    row = {
        "request_id": f"r{number}",
        "model": model,
        "model_group": group,
        "spend": 0.5,
        "messages": [{"role": "user", "content": question}],
        "response": {"choices": [{"message": {"content": f"answer {number}"}}]},
        "quality": 1,
        "status": "success",
        "cache_hit": "False",
    }
    return {**row, **changes}


def test_the_group_of_a_router_is_no_model(tmp_path: Path) -> None:
    rows = [spend_row(2 * q + j, f"q{q}", f"p/{m}", "auto") for q in range(2) for j, m in enumerate("ab")]
    table = Outcomes.from_file(written(tmp_path / "t.json", rows))
    assert table.models == ("p/a", "p/b")
    assert (len(table), table.n_missing) == (2, 0)
    assert "the groups 'auto' have several models" in remarks(table)
    fused = Outcomes.from_file(tmp_path / "t.json", rename={"model": "model_group"})
    assert fused.models == ("auto",)


def test_failed_attempts_and_hits_of_a_cache_are_left_out(tmp_path: Path) -> None:
    rows = [
        spend_row(0, "q", "a", "a", status="failure", spend=0.0, quality=0, response={}),
        spend_row(1, "q", "a", "a"),
        spend_row(2, "q", "b", "b"),
        spend_row(3, "q", "b", "b", cache_hit="True", spend=0.0),
    ]
    table = Outcomes.from_file(written(tmp_path / "t.json", rows))
    assert (table.cost.tolist(), table.quality.tolist()) == ([[0.5, 0.5]], [[1.0, 1.0]])
    assert table.responses["answer"].tolist() == [["answer 1", "answer 2"]]
    assert "1 of 4 runs failed: left out" in remarks(table)
    assert "1 of 4 runs were answered by a cache" in remarks(table)
    long = {"query_id": ["q"] * 3, "model": ["a", "a", "b"], "quality": [0, 1, 1], "cost": [0, 1, 2]}
    once = Outcomes.from_frame({**long, "status": ["failed", "ok", "ok"]})
    assert (once.quality.tolist(), once.cost.tolist()) == ([[1.0, 1.0]], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="no run was answered by a model, and charged"):
        Outcomes.from_file(written(tmp_path / "u.json", [{**row, "status": "failure"} for row in rows]))


def test_runs_that_cost_nothing_are_remarked() -> None:
    table = Outcomes(models=["a", "b"], quality=[[0, 1]] * 4, cost=[[1, 2], [1, 0], [1, 2], [1, NAN]])
    assert "cost: 1 of 3 runs of 'b' cost 0" in remarks(table)
    free = Outcomes(models=["a", "b"], quality=[[0, 1]] * 4, cost=[0, 2])
    assert "cost 0" not in remarks(free)


def test_dollars_are_the_cost_before_tokens() -> None:
    frame = {
        "question": ["q", "q"],
        "model": ["a", "b"],
        "isCorrect": [1, 0],
        "output_tokens": [10, 20],
        "cost": [9, 1],
    }
    table = Outcomes.from_frame(frame)
    assert table.cost.tolist() == [[9, 1]]
    assert table.responses["output_tokens"].tolist() == [[10, 20]]
    assert "the column 'cost' was taken, rather than the tokens in 'output_tokens'" in remarks(table)
    assert Outcomes.from_frame(frame, cost="output_tokens").cost.tolist() == [[10, 20]]
    llmrouter = {"query": ["q"], "model_name": ["a"], "performance": [1], "token_num": [7], "cost_usd": [0.5]}
    assert Outcomes.from_frame(llmrouter).cost.tolist() == [[0.5]]


def test_a_judge_without_a_verdict_is_remarked() -> None:
    judged = Outcomes(models=["a", "b"], quality=[[-1, 1], [0, 1], [1, -1]] * 40, cost=[1, 2])
    assert (
        "quality: 80 cells are -1 for query '0' (row 0; also rows 2, 3 and 77 more), and no other is below"
        in remarks(judged)
    )
    assert "divide it" not in remarks(judged)
    signed = Outcomes(models=["a", "b"], quality=[[-1, 1], [-0.5, 1]] * 60, cost=[1, 2])
    assert "cells are -1" not in remarks(signed)


def test_queries_of_one_text_form_one_group() -> None:
    frame = {"query_id": ["p", "q", "r"], "text": ["x", "y", "x"], "a|quality": [1, 0, 1], "a|cost": [1, 1, 1]}
    table = Outcomes.from_frame(frame)
    assert table.groups is not None
    assert table.groups.tolist() == ["p", "q", "p"]
    assert "1 queries have the text of another one" in remarks(table)
    runs = {"model": ["a"] * 3, "quality": [1, 0, 1], "cost": [1, 1, 1]}
    assert Outcomes.from_frame({"query_id": ["p", "q", "r"], "text": ["x", "y", "x"], **runs}).n_groups == 2
    assert Outcomes.from_frame({**frame, "text": ["same"] * 3}).groups is None
    for rng in range(20):
        first, second = table.split(0.5, rng=rng)
        assert not set(first.queries["text"]) & set(second.queries["text"])
    given_groups = Outcomes.from_frame({**frame, "group": [1, 2, 3]})
    assert given_groups.n_groups == 3
    assert "text: 2 queries or groups share their text" in remarks(given_groups)
    made = Outcomes(models=["a"], quality=[[1], [0]], cost=[1], queries={"text": ["x", "x"]})
    assert "text: 2 queries or groups share their text" in remarks(made)


def test_one_model_per_query_says_what_is_needed() -> None:
    n = 40
    frame = {"query_id": range(n), "model": ["a", "b"] * (n // 2), "quality": [1] * n, "cost": [1] * n}
    table = Outcomes.from_frame({name: list(cells) for name, cells in frame.items()})
    wanted = "each has one model only. A router compares models on the same queries: run every model on some hundred"
    assert wanted in remarks(table)
    with pytest.raises(ValueError, match=r"each query has one model; .*Run every model on some hundred queries"):
        table.complete()


PROMPTFOO = {
    "evalId": "e",
    "results": {
        "version": 3,
        "results": [
            {
                "provider": {"id": f"p:{model}", "label": ""},
                "prompt": {"raw": f"Translate {word}", "label": "Translate {{w}}"},
                "score": score,
                "cost": 0.1,
                "latencyMs": 500,
                "error": error,
                "failureReason": reason,
                "response": {} if reason == 2 else {"output": "bonjour", "tokenUsage": {"prompt": 8, "completion": 4}},
            }
            for word, model, score, error, reason in [
                ("one", "a", 1.0, None, 0),
                ("one", "b", 0.0, "Expected output to contain x", 1),
                ("two", "a", 0.5, None, 0),
                ("two", "b", 0.0, "timeout", 2),
            ]
        ],
    },
}


def test_promptfoo(tmp_path: Path) -> None:
    table = Outcomes.from_file(written(tmp_path / "results.json", PROMPTFOO))
    assert table.models == ("p:a", "p:b")
    assert table.queries["text"].tolist() == ["Translate one", "Translate two"]
    np.testing.assert_array_equal(table.quality, [[1, 0], [0.5, NAN]])
    np.testing.assert_array_equal(table.responses["seconds"], [[0.5, 0.5], [0.5, NAN]])
    np.testing.assert_array_equal(table.responses["output_tokens"], [[4, 4], [4, NAN]])
    assert "1 of 4 runs were left out: their calls failed" in remarks(table)


def test_inspect(tmp_path: Path) -> None:
    log = {
        "version": 2,
        "eval": {"task": "t", "model": "p/a"},
        "results": {"total_samples": 4},
        "samples": [
            {
                "id": number,
                "epoch": 1,
                "input": [{"role": "user", "content": f"q{number}"}],
                "output": {
                    "choices": [{"message": {"role": "assistant", "content": "A"}}],
                    "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
                },
                "scores": {"match": {"value": value}},
            }
            for number, value in enumerate(["C", "I", "P", 0.25])
        ],
    }
    log["samples"].append({"id": 9, "input": "q9", "error": {"message": "timeout"}})  # type: ignore[attr-defined]
    table = Outcomes.from_file(written(tmp_path / "log.json", log))
    assert (table.models, table.ids, table.cost_name) == (("p/a",), ("0", "1", "2", "3"), "tokens")
    assert table.quality.tolist() == [[1.0], [0.0], [0.5], [0.25]]
    assert table.queries["text"].tolist() == ["q0", "q1", "q2", "q3"]
    assert "an inspect log holds one model" in remarks(table)
    assert "1 of 5 runs were left out" in remarks(table)


def test_samples_of_lm_eval_say_what_they_lack(tmp_path: Path) -> None:
    rows = [{"doc_id": 0, "doc": {"question": "q"}, "resps": [["A"]], "exact_match": 1.0}]
    with pytest.raises(ValueError, match="samples of lm-eval have no column that names their model"):
        Outcomes.from_file(written(tmp_path / "samples.jsonl", rows))


def test_a_table_of_truth_needs_prices(tmp_path: Path) -> None:
    needs_data_extra()
    path = written(tmp_path / "t.csv", "prompt,small,large\nq0,True,True\nq1,False,True\n")
    with pytest.raises(ValueError, match=r"no cost column.*give prices=\{model: price\} \(--price model=0.002\)"):
        Outcomes.from_file(path)
    table = Outcomes.from_file(path, prices={"large": 0.02, "small": 0.001})
    assert (table.models, table.quality.tolist()) == (("small", "large"), [[1, 1], [0, 1]])
    assert table.cost.tolist() == [[0.001, 0.02]] * 2
    assert table.queries["text"].tolist() == ["q0", "q1"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prices": {"a": 1}}, ValueError, "prices: expected a price for every model, got none for 'b'"),
        ({"prices": {"a": 1, "b": 1, "c": 1}}, ValueError, "prices: unknown model in 'c'; known: 'a', 'b'"),
        ({"prices": {"a": 1, "b": "x"}}, TypeError, "prices: 'b': expected a number, got 'x'"),
        ({"prices": {"a": 1, "b": -1}}, ValueError, "cost: .*, got -1.0 for .*model 'b'"),
        ({"prices": {"a|tokens": 1, "b": 1}}, ValueError, r"prices: expected a column of numbers in 'a\|tokens'"),
        ({"prices": [1, 2]}, TypeError, "prices: expected a mapping, got list"),
        ({"prices": {"a": 1, "b": 2}, "cost": "x"}, ValueError, "cost, prices: expected one of them, got both"),
        ({"rename": {"text": "Frage"}}, ValueError, "rename: frame has no column 'Frage'; columns found"),
    ],
)
def test_prices_and_names_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Outcomes.from_frame({"a|quality": [1], "b|quality": [0]}, **options)


def test_prices_are_for_long_layouts_too() -> None:
    frame = {"text": ["x", "x"], "model": ["a", "b"], "quality": [1, 0], "tokens": [5, 6]}
    table = Outcomes.from_frame(frame, prices={"a": 1, "b": 2})
    assert (table.cost_name, table.cost.tolist()) == ("cost", [[1, 2]])
    assert table.responses["tokens"].tolist() == [[5, 6]]
    per_token = Outcomes.from_frame(frame, prices={"a|tokens": 0.5, "b": 2, "b|tokens": 0.25})
    assert per_token.cost.tolist() == [[2.5, 3.5]]


def test_columns_under_other_names_are_suggested_and_renamed() -> None:
    frame = {"text": ["x"], "Model": ["a"], " Quality": [1], "cost": [1]}
    with pytest.raises(ValueError, match=r"'Model': did you mean 'model'\? ' Quality': did you mean 'quality'\?"):
        Outcomes.from_frame(frame)
    assert Outcomes.from_frame(frame, rename={"model": "Model", "quality": " Quality"}).models == ("a",)
    with pytest.raises(ValueError, match=r"'a\|Quality': did you mean 'quality'\?"):
        Outcomes.from_frame({"text": ["x"], "a|Quality": [1], "a|cost": [1]})


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (["model", "thumb", "usd", "asked"], r"a row per run\? .*: --rename quality=COLUMN --rename cost=COLUMN "),
        (["model", "thumb", "cost", "text"], r"a row per run\? .*: --rename quality=COLUMN \(rename="),
        (["asked", "Small", "Small price"], r"a row per query\? .*: --rename '<model>\|quality=COLUMN' "),
    ],
)
def test_columns_of_no_layout_are_told_how_to_become_one(names: list[str], hint: str) -> None:
    with pytest.raises(ValueError, match=f"no known layout: .*; columns found: .*; {hint}"):
        Outcomes.from_frame({name: [1.0, 0.0] for name in names})


def test_what_the_hints_say_leads_to_a_table() -> None:
    sheet = {"Asked": ["x", "y"], "Small": [1, 0], "Price": [0.1, 0.2]}
    table = Outcomes.from_frame(sheet, rename={"text": "Asked", "small|quality": "Small", "small|cost": "Price"})
    assert (table.models, table.queries["text"].tolist()) == (("small",), ["x", "y"])
    calls = {"prompt": ["x"], "model": ["a"], "quality": [1], "cost": [1]}
    with pytest.raises(ValueError, match=r"if 'prompt' does: --rename text=prompt, or rename=\{'text': 'prompt'\}"):
        Outcomes.from_frame(calls)
    assert Outcomes.from_frame(calls, rename={"text": "prompt"}).queries["text"].tolist() == ["x"]


@pytest.mark.parametrize("cell", ["$0.002", "$1,234.50", "85%", "0.1 USD", "USD 3", "\u20ac2", "1,5"])
def test_amounts_with_a_unit_are_refused_with_the_remedy(cell: str) -> None:
    frame = {"text": ["x", "y"], "a|quality": [1, 0], "a|cost": ["0.1", cell]}
    with pytest.raises(ValueError, match=rf"expected a number, got '{re.escape(cell)}' .*; leave out currency"):
        Outcomes.from_frame(frame)


def test_two_words_for_the_quality_are_refused_with_the_remedy() -> None:
    frame = {"text": ["x", "y", "z"], "a|quality": ["up", "down", None], "a|cost": [1, 1, 1]}
    with pytest.raises(ValueError, match=r"got 'up' .*; of 'down', 'up', write 1 for the good one, and 0$"):
        Outcomes.from_frame(frame)
    for words in (["up", "down", "sideways"], ["up", "x" * 500, None]):
        with pytest.raises(ValueError, match=r"expected a number") as raised:
            Outcomes.from_frame({**frame, "a|quality": words})
        assert "write 1" not in str(raised.value)


def test_a_frame_is_no_path() -> None:
    with pytest.raises(TypeError, match=r"path: expected a path, got dict; a frame is read by Outcomes.from_frame"):
        Outcomes.from_file({"a|quality": [1], "a|cost": [1]})  # type: ignore[arg-type]


def test_columns_of_a_run_are_kept_and_others_told() -> None:
    frame = {
        **{"text": ["x", "x"], "model": ["a", "b"], "quality": [1, 0], "cost": [1, 2]},
        **{"latency": [0.5, 0.7], "tokens_out": [3, 4], "finish_reason": ["stop", "length"], "gold": ["7", "7"]},
    }
    table = Outcomes.from_frame(frame)
    assert table.responses["latency"].tolist() == [[0.5, 0.7]]
    assert table.responses["tokens_out"].tolist() == [[3, 4]]
    assert table.responses["finish_reason"].tolist() == [["stop", "length"]]
    assert "gold" not in {*table.queries, *table.responses}
    assert "left out, since a router may not see reference answers: 'gold'" in remarks(table)


def long_table(ids: list[Any], **columns: Any) -> Outcomes:
    return Outcomes.from_frame({"id": ids, "model": ["a", "b"] * 2, "quality": [1] * 4, "cost": [1] * 4, **columns})


def test_a_column_id_is_that_of_the_queries_if_runs_of_one_query_share_it() -> None:
    for more in ({}, {"text": ["x", "x", "y", "y"]}):
        table = long_table([7, 7, 8, 8], **more)
        assert table.ids == ("7", "8")
        assert "the column 'id' was taken as the queries' ids" in remarks(table)
        assert "left out" not in remarks(table)
    one_model = Outcomes.from_frame({"id": ["p", "q"], "model": ["a", "a"], "quality": [1, 0], "cost": [1, 1]})
    assert one_model.ids == ("p", "q")


@pytest.mark.parametrize(
    ("ids", "more", "reason"),
    [
        ([1, 2, 3, 4], {"text": ["x", "x", "y", "y"]}, "left out: 'id', as queries are known by their 'text'"),
        ([1, 2, 1, 2], {"text": ["x", "x", "y", "y"]}, "left out: 'id', as queries are known by their 'text'"),
        ([1, 1, 2, None], {"text": ["x", "x", "y", "y"]}, "left out: 'id', as queries are known by their 'text'"),
        ([1, 2, 3, 4], {"query_id": ["p", "p", "q", "q"]}, "left out: 'id', as queries are known by their 'query_id'"),
    ],
)
def test_a_column_id_of_something_else_is_left_out_for_that_reason(
    ids: list[Any], more: dict[str, Any], reason: str
) -> None:
    table = long_table(ids, **more)
    assert table.n_queries == 2
    assert reason in remarks(table)
    assert "reference answers" not in remarks(table)


def test_runs_that_only_have_ids_of_their_own_have_no_query() -> None:
    with pytest.raises(ValueError, match="no column says which query a row is about, expected 'query_id' or 'text'"):
        long_table([1, 2, 3, 4])


def test_groups_of_a_long_table_are_kept() -> None:
    frame = {"query_id": ["p", "p", "q"], "model": ["a", "b", "a"], "quality": [1] * 3, "cost": [1] * 3}
    table = Outcomes.from_frame({**frame, "group": [7, 7, 7]})
    assert table.groups is not None
    assert table.groups.tolist() == ["7", "7"]
    with pytest.raises(ValueError, match="one value of 'group' per query, got a second one for query 'p'"):
        Outcomes.from_frame({**frame, "group": [7, 8, 7]})


# The command


def invoked(*arguments: str) -> tuple[int, str]:
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from headrace.commands import app

    result = CliRunner(env={"COLUMNS": "300", "TERM": "dumb"}).invoke(app, list(arguments))
    return result.exit_code, result.output


LOG = [{"query_id": 1, "a|quality": 1, "a|cost": 2}, {"query_id": 2, "a|quality": 0, "a|cost": 2}]


@pytest.mark.parametrize("kind", ["same", "other spelling", "link", "hard link", "labels"])
def test_convert_never_overwrites_what_it_reads(tmp_path: Path, kind: str) -> None:
    log = written(tmp_path / "log.jsonl", LOG)
    out, more = log, []
    if kind == "other spelling":
        out = tmp_path / "." / "nowhere" / ".." / "log.jsonl"
        (tmp_path / "nowhere").mkdir()
    elif kind == "link":
        (out := tmp_path / "link.jsonl").symlink_to(log)
    elif kind == "hard link":
        (out := tmp_path / "link.jsonl").hardlink_to(log)
    elif kind == "labels":
        out = written(tmp_path / "labels.jsonl", LOG)
        more = ["--labels", str(out)]
    before = out.read_text()
    code, said = invoked("convert", str(log), str(out), "--force", *more)
    assert code == 1
    assert "is what is read; name another file" in said
    assert out.read_text() == before


def test_convert_replaces_a_file_only_when_told_to(tmp_path: Path) -> None:
    needs_data_extra()
    log, out = written(tmp_path / "log.jsonl", LOG), written(tmp_path / "out.csv", "precious")
    code, said = invoked("convert", str(log), str(out))
    assert (code, out.read_text()) == (1, "precious")
    assert "exists; name another file, or replace it with --force" in said
    assert invoked("convert", str(log), str(out), "--force")[0] == 0
    assert Outcomes.from_file(out).ids == ("1", "2")


@pytest.mark.parametrize(
    ("out", "wanted", "message"),
    [
        ("out.xlsx", 2, "expected a name that ends in .parquet, .csv, .jsonl"),
        ("policy.json", 2, "expected a name that ends in"),
        ("nowhere/out.csv", 1, "No such file or directory"),
        ("folder.csv", 1, "isn't a file"),
    ],
)
def test_convert_checks_its_output_before_it_reads(tmp_path: Path, out: str, wanted: int, message: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    code, said = invoked("convert", str(tmp_path / "no-log.csv"), str(tmp_path / out))
    assert code == wanted
    assert message in " ".join(said.split())


def test_prices_and_names_on_the_command_line(tmp_path: Path) -> None:
    needs_data_extra()
    log = written(tmp_path / "log.csv", "Frage,small,large\nq0,True,True\nq1,False,True\n")
    out = tmp_path / "out.jsonl"
    options = ["--rename", "prompt=Frage", "--price", "small=0.5", "--price", "large=2"]
    code, said = invoked("convert", str(log), str(out), *options)
    assert code == 0, said
    assert Outcomes.from_file(out).cost.tolist() == [[0.5, 2.0]] * 2
    for wrong in (
        ["--price", "small"],
        ["--price", "small=cheap"],
        ["--rename", "=x"],
        ["--price", "a=1", "--price", "a=2"],
    ):
        code, said = invoked("convert", str(log), str(tmp_path / "other.jsonl"), *wrong)
        assert (code, "Traceback" in said) == (1, False)
        assert "expected" in said


# Dialects of delimited text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "query_id;text;a|quality;a|cost\nq;eins, zwei;0,5;1,25\nr;drei;1;2\n"),
        ("t.csv", "query_id\ttext\ta|quality\ta|cost\nq\teins, zwei\t0.5\t1.25\nr\tdrei\t1\t2\n"),
        ("t.tsv", "query_id\ttext\ta|quality\ta|cost\nq\teins, zwei\t0.5\t1.25\nr\tdrei\t1\t2\n"),
        ("t.csv.gz", gzip.compress(b'query_id,text,a|quality,a|cost\nq,"eins, zwei",0.5,1.25\nr,drei,1,2\n', mtime=0)),
        ("t.csv", 'query_id,text,a|quality,a|cost\nq,"eins, zwei",0.5,1.25\nr,drei,1,2\n'.encode("utf-16")),
        ("t.csv", 'query_id,text,a|quality,a|cost\r\nq,"eins, zwei",0.5,1.25\r\nr,drei,1,2\r\n'),
    ],
    ids=["semicolons", "tabs", "tsv", "gz", "utf-16", "crlf"],
)
def test_dialects(tmp_path: Path, name: str, content: str | bytes) -> None:
    needs_data_extra()
    table = Outcomes.from_file(written(tmp_path / name, content))
    assert (table.ids, table.quality.tolist(), table.cost.tolist()) == (("q", "r"), [[0.5], [1.0]], [[1.25], [2.0]])
    assert table.queries["text"].tolist() == ["eins, zwei", "drei"]


def test_json_lines_may_be_compressed(tmp_path: Path) -> None:
    line = json.dumps({"a|quality": 1, "a|cost": 2}).encode()
    assert len(Outcomes.from_file(written(tmp_path / "t.jsonl.gz", gzip.compress(line)))) == 1
    with pytest.raises(ValueError, match=r"t\.json\.gz: can't be read as gzip"):
        Outcomes.from_file(written(tmp_path / "t.json.gz", gzip.compress(line)[:-9]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "text,a|quality,a|cost\nGr\xfc\xdfe,1,1\n".encode("cp1252"), "isn't UTF-8 .*encoding='cp1252'"),
        # Far from the beginning, and cut at the end.
        ("t.csv", b"text,a|quality,a|cost\n" + b"x,1,1\n" * 400_000 + b"\xfc,1,1\n", "isn't UTF-8 .*cp1252"),
        ("t.csv", "text,a|quality,a|cost\nx,1,\u00e9".encode()[:-1], "isn't UTF-8 .*cp1252"),
        ("t.csv", "text,a|quality,a|cost\n\xfcber\xfc,1,1\n".encode("cp1252"), r"t\.csv: can't be read as CSV"),
        ("t.xlsx", b"PK", r"read it with pandas\.read_excel, and pass the frame to Outcomes\.from_frame"),
        ("t.parquet.gz", b"x", "expected a file that ends in"),
    ],
)
def test_what_is_not_read_names_the_way_out(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    needs_data_extra()
    with pytest.raises(ValueError, match=message):
        Outcomes.from_file(written(tmp_path / name, content))


def test_words_for_nothing_are_missing_and_counted(tmp_path: Path) -> None:
    needs_data_extra()
    path = written(tmp_path / "t.csv", "query_id,a|quality,a|cost\nq,N/A,1\nr,-,null\ns,1,1\n")
    table = Outcomes.from_file(path)
    np.testing.assert_array_equal(table.quality, [[NAN], [NAN], [1]])
    assert "column 'a|quality': 2 cells such as 'N/A' count as missing" in remarks(table)
    assert "column 'a|cost': 1 cells such as 'null' count as missing" in remarks(table)


def test_truth_and_huge_numbers_are_no_costs(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"cost: expected numbers .* got dtype bool"):
        Outcomes(models=["a", "b"], quality=[[1, 1]], cost=[True, False])
    with pytest.raises(ValueError, match=r"column 'a\|cost': expected numbers, got true and false"):
        Outcomes.from_frame({"a|quality": [1], "a|cost": [True]})
    decimals = Outcomes(models=["a", "b"], quality=[[Decimal("0.5"), 1]], cost=[Decimal("0.25"), 2**70])
    assert (decimals.quality.tolist(), decimals.cost.tolist()) == ([[0.5, 1.0]], [[0.25, float(2**70)]])
    with pytest.raises(ValueError, match="cost: expected numbers up to 1e308"):
        Outcomes(models=["a"], quality=[[1]], cost=[10**400])
    rows = [{"a|quality": 1, "a|cost": 10**400}]
    with pytest.raises(ValueError, match=r"column 'a.cost': .*, got inf for .*model 'a'"):
        Outcomes.from_file(written(tmp_path / "t.jsonl", rows))


def test_single_precision_is_checked_without_a_warning() -> None:
    x = np.array([1.0, 3e38], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checked_magnitudes("x", x) is x


def test_many_columns_take_time_in_proportion(tmp_path: Path) -> None:
    needs_data_extra()

    def seconds(n: int) -> float:
        names = [name for j in range(n // 2) for name in (f"m{j}|quality", f"m{j}|cost")]
        path = written(tmp_path / "t.csv", ",".join(names) + "\n" + ",".join(["1"] * len(names)) + "\n")
        start = time.process_time()
        Outcomes.from_file(path)
        return time.process_time() - start

    seconds(100)
    assert seconds(60_000) < 60.0 * seconds(3_000)  # 20 in proportion, 400 if quadratic


# Drafts


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to(real)
    with draft_of(link) as draft:
        draft.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")
    path.chmod(0o600)
    with draft_of(path) as draft:
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600
        draft.write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    fresh = tmp_path / "fresh.txt"
    with draft_of(fresh) as draft:
        draft.write_text("new")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o666 & ~mask


def test_file_and_folder_are_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = []
    monkeypatch.setattr(os, "fsync", lambda number: kinds.append(stat.S_IFMT(os.fstat(number).st_mode)))
    with draft_of(tmp_path / "note.txt") as draft:
        draft.write_text("new")
    assert kinds == [stat.S_IFREG, stat.S_IFDIR]


def test_errors_of_a_draft_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/note\.txt'$"), draft_of(tmp_path / "nowhere" / "note.txt"):
        pass
    with pytest.raises(IsADirectoryError, match=str(tmp_path)), draft_of(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "kind", ["float", "double", "int8", "int64", "uint16", "uint64", "bool", "halffloat", "decimal"]
)
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_numbers_of_arrow_are_those_that_arrow_gives(kind: str, share: float) -> None:
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("narwhals")
    types = {"float": arrow.float32(), "double": arrow.float64(), "bool": arrow.bool_(), "halffloat": arrow.float16()}
    dtype = arrow.decimal128(5, 1) if kind == "decimal" else types.get(kind) or getattr(arrow, kind)()
    rng = np.random.default_rng(5)
    drawn = rng.integers(0, 2 if kind == "bool" else 100, 60)
    cells = [None if gone else float(cell) for cell, gone in zip(drawn, rng.random(60) < share, strict=True)]
    plain = {"bool": bool, "halffloat": np.float16, "decimal": Decimal}.get(kind, float if kind in types else int)
    whole = arrow.array([None if cell is None else plain(cell) for cell in cells], type=dtype)
    # Pieces that begin within a byte of the bits that tell what is missing, and one without rows.
    pieces = arrow.chunked_array([whole[3:14], whole[14:14], whole[14:45], whole[45:]])
    column = frame_columns(arrow.table({"x": pieces}), Rows(source="a table"))["x"]
    wanted = np.array([np.nan if cell is None else cell for cell in cells[3:]])
    np.testing.assert_array_equal(column, wanted)
    if share == 0.0 and kind != "decimal":
        assert column.dtype == whole.to_numpy(zero_copy_only=False).dtype


def test_a_table_without_rows_is_refused_by_its_source() -> None:
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("narwhals")
    with pytest.raises(ValueError, match="a table has no rows"):
        frame_columns(arrow.table({"x": arrow.array([], type=arrow.float64())}), Rows(source="a table"))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_reading_imports_no_pandas(tmp_path: Path, kind: str) -> None:
    for name in ("pandas", "narwhals", "pyarrow.parquet", "pyarrow.csv"):
        pytest.importorskip(name)
    arrow = pytest.importorskip("pyarrow")
    path = tmp_path / f"runs.{kind}"
    columns = {
        "a|quality": [0.5, None, 1.0],
        "b|quality": [1.0, 0.0, 1.0],
        "a|cost": [1, 2, 3],
        "b|cost": [0.1, 0.2, 0.3],
    }
    texts = {"text": ["x", None, "z"], "a|answer": ["A", "B", None], "b|answer": ["A", "B", "C"]}
    write = arrow.parquet.write_table if kind == "parquet" else arrow.csv.write_csv
    write(arrow.table(columns | texts), path)
    code = "import sys, headrace as hr; hr.Outcomes.from_file(sys.argv[1]); print('pandas' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_equal_cells_of_text_are_one_object() -> None:
    cells = shared(["yes sir", None, " ".join(["yes", "sir"])])
    assert cells.tolist() == ["yes sir", None, "yes sir"]
    assert cells[0] is cells[2]
