"""Readers of long layouts and spend logs, what is written, and the description of a table."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.atomic_file import draft_of
from headrace.outcomes import Outcomes
from headrace.outcomes.readers.long import query_hash

NAN = float("nan")

LLMROUTER: list[dict[str, Any]] = [
    {
        "task_name": task,
        "query": query,
        "ground_truth": "secret",
        "metric": "em",
        "choices": None,
        "model_name": model,
        "response": f"{model} on {query}",
        "token_num": tokens,
        "input_tokens": 5,
        "output_tokens": tokens - 5,
        "response_time": 0.5,
        "api_key_used": "sk-secret",
        "performance": performance,
        "embedding_id": 3,
    }
    for task, query, model, tokens, performance in [
        ("sums", "2 + 2?", "small", 12, 1.0),
        ("sums", "2 + 2?", "large", 40, 0.5),
        ("geography", "Capital of Peru?", "large", 50, 1.0),
        ("geography", "Capital of Peru?", "small", 15, 0.0),
    ]
]

ROUTERARENA: list[dict[str, Any]] = [
    {
        "global index": index,
        "prompt": f"Prompt of {index}",
        "prediction": model,
        "generated_result": None
        if accuracy is None
        else {
            "generated_answer": f"\\boxed{{{model}}}",
            "success": True,
            "token_usage": {"input_tokens": 97, "output_tokens": 43, "total_tokens": 140},
        },
        "cost": None if accuracy is None else cost,
        "accuracy": accuracy,
        "for_optimality": optimal,
    }
    for index, model, cost, accuracy, optimal in [
        ("ArcMMLU_1", "cheap", 2e-5, 0.0, False),
        ("ArcMMLU_2", "cheap", 3e-5, 1.0, False),
        ("ArcMMLU_1", "dear", 2e-3, 1.0, True),
        ("ArcMMLU_2", "dear", 3e-3, None, True),
    ]
]


def spend_log(**changes: Any) -> list[dict[str, Any]]:
    rows = []
    for number, (question, group, spend) in enumerate(
        [("2 + 2?", "small", 0.001), ("2 + 2?", "large", 0.02), ("Why?", "small", 0.002), ("Why?", "large", 0.03)]
    ):
        row = {
            "request_id": f"chatcmpl-{number}",
            "call_type": "acompletion",
            "api_key": "88dc28",
            "model": f"provider/{group}-2026",
            "model_group": group,
            "spend": spend,
            "prompt_tokens": 10,
            "completion_tokens": 5 + number,
            "startTime": "2026-04-21T10:00:00+00:00",
            "endTime": "2026-04-21T10:00:01.500000+00:00",
            "messages": [{"role": "user", "content": question}],
            "response": {"choices": [{"message": {"role": "assistant", "content": f"answer {number}"}}]},
            "metadata": {"user_api_key_alias": "team"},
            "request_tags": [],
        }
        rows.append({**row, **changes})
    return rows


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write records as JSON, JSON lines or CSV, what nests as JSON text there."""
    if path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            for row in rows:
                nested = {name: json.dumps(cell) for name, cell in row.items() if isinstance(cell, dict | list)}
                writer.writerow({**row, **nested})
    return path


def needs_arrow(path: Path) -> None:
    if path.suffix in (".csv", ".parquet"):
        pytest.importorskip("pyarrow")
        pytest.importorskip("narwhals")


# Long layouts


@pytest.mark.parametrize("name", ["log.jsonl", "log.json", "log.csv"])
def test_llmrouter(tmp_path: Path, name: str) -> None:
    needs_arrow(tmp_path / name)
    table = Outcomes.from_file(written(tmp_path / name, LLMROUTER))
    assert table.models == ("small", "large")
    assert table.ids == (query_hash("2 + 2?", "sums"), query_hash("Capital of Peru?", "geography"))
    assert table.quality.tolist() == [[1.0, 0.5], [0.0, 1.0]]
    assert table.cost.tolist() == [[12, 40], [15, 50]]
    assert table.cost_name == "token_num"
    assert {name: cells.tolist() for name, cells in table.queries.items()} == {
        "text": ["2 + 2?", "Capital of Peru?"],
        "task": ["sums", "geography"],
    }
    assert table.responses["answer"][1, 0] == "small on Capital of Peru?"
    assert table.responses["seconds"].tolist() == [[0.5, 0.5]] * 2
    assert table.groups is None
    # The reference answer and the key must not reach a router.
    assert not {"ground_truth", "api_key_used", "embedding_id"} & {*table.queries, *table.responses}


def test_a_run_column_may_be_the_cost_by_either_name(tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", LLMROUTER)
    for name in ("response_time", "seconds"):
        table = Outcomes.from_file(path, cost=name)
        assert (table.cost_name, table.cost.tolist()) == ("seconds", [[0.5, 0.5]] * 2)
    both = Outcomes.from_file(path, cost=["token_num", "response_time"])
    assert list(both.costs) == ["token_num", "seconds"]


def test_nvidia(tmp_path: Path) -> None:
    needs_arrow(path := tmp_path / "log.csv")
    path.write_text(
        "question,model,isCorrect,output_tokens\n"
        '"Capital, of France?",nano,1,45\n"Capital, of France?",opus,1,52\nProve it,nano,0,312\nProve it,opus,0,445\n'
    )
    table = Outcomes.from_file(path)
    assert table.models == ("nano", "opus")
    assert table.quality.tolist() == [[1, 1], [0, 0]]
    assert table.cost.tolist() == [[45, 52], [312, 445]]
    assert table.queries["text"].tolist() == ["Capital, of France?", "Prove it"]


def test_nvidia_without_tokens_asks_for_a_cost(tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", [{"question": "q", "model": "m", "isCorrect": 1, "price": 2.0}])
    with pytest.raises(ValueError, match="no cost column; name the column that serves as cost"):
        Outcomes.from_file(path)
    assert Outcomes.from_file(path, cost="price").cost.tolist() == [[2.0]]


def test_routerarena(tmp_path: Path) -> None:
    table = Outcomes.from_file(written(tmp_path / "predictions.json", ROUTERARENA))
    assert table.ids == ("ArcMMLU_1", "ArcMMLU_2")
    assert table.models == ("cheap", "dear")
    np.testing.assert_array_equal(table.quality, [[0, 1], [1, NAN]])
    np.testing.assert_array_equal(table.cost, [[2e-5, 2e-3], [3e-5, NAN]])
    assert table.responses["answer"].tolist() == [["\\boxed{cheap}", "\\boxed{dear}"], ["\\boxed{cheap}", None]]
    np.testing.assert_array_equal(table.responses["output_tokens"], [[43, 43], [43, NAN]])


def test_long() -> None:
    frame = {
        "query_id": ["q1", "q2", "q1"],
        "text": ["one", "two", "one"],
        "model": ["a", "a", "b"],
        "quality": [1, 0, 1],
        "cost": [1, 2, 3],
        "gold": ["x", "y", "x"],
    }
    table = Outcomes.from_frame(frame)
    np.testing.assert_array_equal(table.quality, [[1, 1], [0, NAN]])
    assert table.queries["text"].tolist() == ["one", "two"]
    assert "gold" not in {*table.queries, *table.responses}
    assert table.n_missing == 1


def test_repeated_runs_are_rows_of_one_group() -> None:
    frame = {
        "text": ["x", "x", "x", "y", "x", "y"],
        "model": ["a", "a", "b", "a", "b", "b"],
        "quality": [1, 0, 1, 1, 0, 0],
        "cost": [1, 2, 3, 4, 5, 6],
    }
    table = Outcomes.from_frame(frame)
    x, y = query_hash("x"), query_hash("y")
    assert table.ids == (x, f"{x}#2", y)
    assert table.n_duplicate_ids == 1
    assert table.quality.tolist() == [[1, 1], [0, 0], [1, 0]]
    assert table.cost.tolist() == [[1, 3], [2, 5], [4, 6]]
    assert table.groups is not None
    assert table.groups.tolist() == [x, x, y]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ["a", None]}, "column 'model' is empty.*row 1"),
        ({"text": ["x", ""]}, "column 'text' is empty.*row 1"),
        ({"quality": ["1", "good"]}, "column 'quality': expected a number, got 'good' for .*row 1"),
        ({"cost": [1, -2]}, "cost: .*, got -2.0 for query .*, model 'b'"),
        ({"query_id": ["q", "q"]}, "one value of 'text' per query, got a second one for query 'q'"),
    ],
)
def test_long_refused(changes: dict[str, list[Any]], message: str) -> None:
    frame = {"text": ["x", "y"], "model": ["a", "b"], "quality": [1, 0], "cost": [1, 2]}
    with pytest.raises(ValueError, match=message):
        Outcomes.from_frame({**frame, **changes})


def test_a_long_table_needs_a_query_and_a_layout_its_columns() -> None:
    with pytest.raises(ValueError, match="no column says which query a row is about, expected 'query_id' or 'text'"):
        Outcomes.from_frame({"model": ["a"], "quality": [1], "cost": [1]})
    with pytest.raises(ValueError, match="layout 'nvidia' needs the columns 'question', 'isCorrect'; columns found"):
        Outcomes.from_frame({"model": ["a"], "quality": [1]}, layout="nvidia")


# Spend logs


@pytest.mark.parametrize("name", ["spend.json", "spend.csv"])
def test_spend_logs_with_labels(tmp_path: Path, name: str) -> None:
    needs_arrow(tmp_path / name)
    log = written(tmp_path / name, spend_log())
    labels = written(
        tmp_path / "labels.jsonl",
        [{"request_id": f"chatcmpl-{number}", "quality": number % 2} for number in (3, 2, 1)],
    )
    table = Outcomes.from_file(log, labels=labels)
    assert table.models == ("small", "large")
    np.testing.assert_array_equal(table.quality, [[NAN, 1], [0, 1]])
    assert table.cost.tolist() == [[0.001, 0.02], [0.002, 0.03]]
    assert table.queries["text"].tolist() == ["2 + 2?", "Why?"]
    assert table.responses["answer"].tolist() == [["answer 0", "answer 1"], ["answer 2", "answer 3"]]
    assert table.responses["seconds"].tolist() == [[1.5, 1.5]] * 2
    assert not {"api_key", "metadata"} & {*table.queries, *table.responses}


def test_spend_logs_in_pages_with_quality_and_requests(tmp_path: Path) -> None:
    rows = spend_log(quality=1, messages={}, model_group="", request_duration_ms=250)
    for row, question in zip(rows, ["x", "x", "y", "y"], strict=True):
        parts = [{"type": "text", "text": question}, {"type": "image_url", "image_url": "..."}]
        row["proxy_server_request"] = {"messages": [{"role": "user", "content": parts}]}
    path = tmp_path / "spend.json"
    path.write_text(json.dumps({"data": rows, "total": 4}), encoding="utf-8")
    table = Outcomes.from_file(path)
    assert table.models == ("provider/small-2026", "provider/large-2026")
    assert table.queries["text"].tolist() == ["x", "y"]
    assert table.responses["seconds"].tolist() == [[0.25, 0.25]] * 2


@pytest.mark.parametrize(
    ("changes", "labels", "message"),
    [
        ({}, None, "a spend log has no quality; add a column 'quality', or name a file"),
        ({"quality": 1, "messages": {}}, None, "turn on store_prompts_in_spend_logs"),
        ({}, [{"request_id": "other", "quality": 1}], "labels: .* has a quality for none of the requests"),
        ({}, [{"request_id": "a", "quality": 1}] * 2, "labels: .* has a request twice"),
        ({}, [{"request_id": "a", "score": 1}], "labels: .* needs the columns 'quality'"),
        ({}, [{"request_id": "a", "quality": "good"}], "got 'good' for request 'a' .line 1 of labels"),
    ],
)
def test_spend_logs_refused(
    tmp_path: Path, changes: dict[str, Any], labels: list[dict[str, Any]] | None, message: str
) -> None:
    log = written(tmp_path / "spend.json", spend_log(**changes))
    path = None if labels is None else written(tmp_path / "labels.jsonl", labels)
    with pytest.raises(ValueError, match=message):
        Outcomes.from_file(log, labels=path)


def test_labels_are_for_spend_logs_only(tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", LLMROUTER)
    with pytest.raises(ValueError, match="labels: expected None for the layout 'llmrouter'"):
        Outcomes.from_file(path, labels=path)


# JSON


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.json", '[{"a|quality": 1', r"t\.json: can't be read as JSON"),
        ("t.json", "", r"t\.json has no rows"),
        ("t.json", "[]", r"t\.json has no rows"),
        ("t.json", '{"a": 1}', "expected an array of objects, or one object per line, got an object with the keys 'a'"),
        ("t.json", "[1]", r"expected an object, got int \(row 1 of t.json, counted"),
        ("t.json", "[" * 100_000, r"t\.json: can't be read as JSON"),
        ("t.jsonl", '{"a": 1}\n\n{"a": ', r"t\.jsonl: can't be read as JSON: line 3: "),
    ],
)
def test_json_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        Outcomes.from_file(tmp_path / name)


def test_json_lines_are_ended_by_line_feeds_alone(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b", "a|quality": 1, "a|cost": 2, "vector": [1, 2.5]}]
    table = Outcomes.from_file(written(tmp_path / "t.jsonl", rows))
    assert table.queries["text"].tolist() == ["a\u2028b"]
    assert table.queries["vector"].tolist() == [[1.0, 2.5]]


@pytest.mark.parametrize("name", ["t.parquet", "t.json", "t.txt", "t.joblib"])
def test_a_pickle_is_refused_under_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"a|quality": [1]}))
    with pytest.raises(ValueError, match=r"a pickle is refused: it is unsafe to load.*save it as Parquet"):
        Outcomes.from_file(tmp_path / name)


# Written tables


def example(**changes: Any) -> Outcomes:
    arguments: dict[str, Any] = {
        "models": ["a", "b|c"],
        "quality": [[0, 1], [NAN, 0.5]],
        "cost": {"usd": [[0.1, 0.2], [0.3, 0.4]], "seconds": [1.0, 2.0]},
        "ids": ["007", "q\n2"],
        "groups": ["g", "h"],
        "queries": {"text": ["2 + 2?", 'Say "hi",\nplease'], "length": [6, 16]},
        "responses": {"answer": [["x", None], ["y", "z"]], "tokens": [[1, 2], [3, NAN]]},
    }
    return Outcomes(**{**arguments, **changes})


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_written_tables_are_read_back(tmp_path: Path, suffix: str) -> None:
    needs_arrow(path := tmp_path / f"table.{suffix}")
    table = example()
    table.save(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name]
    back = Outcomes.from_file(path, cost=["usd", "seconds"])
    assert (back.models, back.ids, list(back.costs)) == (table.models, table.ids, list(table.costs))
    assert back.groups is not None
    assert back.groups.tolist() == ["g", "h"]
    np.testing.assert_array_equal(back.quality, table.quality)
    for name, values in table.costs.items():
        np.testing.assert_array_equal(back.costs[name], values)
    for name, values in table.queries.items():
        assert back.queries[name].tolist() == values.tolist()
    assert back.responses["answer"].tolist() == table.responses["answer"].tolist()
    np.testing.assert_array_equal(back.responses["tokens"], table.responses["tokens"])


def test_a_written_table_needs_no_options(tmp_path: Path) -> None:
    needs_arrow(path := tmp_path / "table.parquet")
    example().save(path)
    back = Outcomes.from_file(path)
    assert list(back.costs) == ["usd", "seconds"]
    np.testing.assert_array_equal(back.cost, example().cost)


def test_vectors_are_kept_by_parquet_and_refused_by_csv(tmp_path: Path) -> None:
    needs_arrow(path := tmp_path / "table.parquet")
    table = example(queries={"vector": [[1.0, 2.0], [3.0, NAN]]})
    table.save(path)
    np.testing.assert_array_equal(Outcomes.from_file(path).queries["vector"], table.queries["vector"])
    with pytest.raises(ValueError, match="path: CSV holds no vectors, as in column 'vector'"):
        table.save(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"queries": {"a|b": [1, 2]}}, ValueError, r"queries: the wide layout can't hold a column 'a\|b'"),
        ({"queries": {"query_id": [1, 2]}}, ValueError, "queries: the wide layout can't hold a column 'query_id'"),
        ({"responses": {"a|b": [[1, 2]] * 2}}, ValueError, "responses: the wide layout can't hold"),
        (
            {"responses": {"quality": [[1, 2]] * 2}},
            ValueError,
            "responses: column 'quality' differs from that of the same name",
        ),
        ({"queries": {"x": np.array([{}, {}])}}, TypeError, "queries: column 'x': expected text or None"),
    ],
)
def test_what_the_wide_layout_cannot_hold_is_refused(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    needs_arrow(path := tmp_path / "table.parquet")
    with pytest.raises(error, match=message):
        example(**changes).save(path)
    assert not list(tmp_path.iterdir())


def test_a_draft_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), draft_of(path) as draft:
        print(draft.write_text("half") / 0)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# Description


def described(**changes: Any) -> Any:
    arguments: dict[str, Any] = {"models": ["a", "b"], "quality": [[0, 1]] * 100, "cost": [0.001, 0.02]}
    return Outcomes(**{**arguments, **changes}).describe()


def test_an_inconspicuous_table_gets_no_remarks() -> None:
    description = described()
    assert description.remarks == ()
    assert (description.n_queries, description.n_complete, description.n_duplicate_ids) == (100, 100, 0)
    assert description.models[1] == {"model": "b", "quality": 1.0, "cost": pytest.approx(0.02), "missing": 0}
    assert description.cost_unit == "perhaps dollars: the median is 0.0105"
    assert json.loads(json.dumps(description.to_dict()))["cost"] == "cost"
    assert "100 queries x 2 models; 100 queries complete" in str(description)


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"cost": [350.0, 0.002]}, "cost: the median of 'a' is 175000 times that of 'b'; are they in one unit?"),
        ({"quality": [[1, 1]] * 100}, "quality: every cell is 1; the cheapest model is as good as any"),
        ({"quality": [[NAN, 1]] * 100}, "no quality or no cost at all for 'a'"),
        ({"quality": [[NAN, 1]] * 40 + [[0, 1]] * 60}, "only 60 of 100 queries have every model's quality and cost"),
        ({"quality": [[0, 1]] * 30}, "30 complete queries are few to fit on"),
        ({"quality": [[1, 5]] * 100}, "quality: goes from 1 to 5"),
        ({"quality": [[100, 1]] * 100}, "quality: 'a' goes up to 100, 'b' to 1; are they on one scale?"),
        ({"ids": ["q"] * 100}, "ids: each row counts as a query of its own; rows of one query need a column 'group'"),
        ({"models": ["a"], "quality": [[0], [1]] * 50, "cost": [1]}, "there is one model only"),
    ],
)
def test_what_looks_odd_is_remarked(changes: dict[str, Any], remark: str) -> None:
    assert any(remark in said for said in described(**changes).remarks)


@pytest.mark.parametrize(
    ("cost", "unit"),
    [
        ({"total_tokens": [1.0, 2.0]}, "tokens by its name"),
        ({"spend": [1.0, 2.0]}, "dollars by its name"),
        ({"cost": [310.0, 12.0]}, "tokens or another count, hardly dollars: the median is 161"),
        ({"cost": [310.5, 12.0]}, "a fine unit, hardly dollars"),
        ({"cost": [0.0, 0.0]}, "all zero"),
    ],
)
def test_the_unit_of_a_cost_is_guessed(cost: dict[str, list[float]], unit: str) -> None:
    assert described(cost=cost).cost_unit.startswith(unit)


def test_the_unit_is_known_by_a_response_column_with_the_same_numbers() -> None:
    tokens = np.tile([[12.0, 40.0]], (100, 1))
    assert described(cost=tokens, responses={"output_tokens": tokens}).cost_unit == "tokens by its name"
    assert described(cost=tokens, responses={"output_tokens": tokens + 1}).cost_unit.startswith("tokens or another")


def test_repeated_ids_are_counted() -> None:
    assert "100 queries complete, 99 repeated ids" in str(described(ids=["q"] * 100))
    assert described(ids=["q"] * 100, groups=["g"] * 100).remarks == ()
