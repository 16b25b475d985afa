"""Messages about bad cells name the row: by query and model, by number, and by the line of the file if it has lines."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import pickle
import re
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from headrace.outcomes import Outcomes
from headrace.outcomes.readers import files
from headrace.outcomes.readers.delimited import delimited_columns, delimited_line
from headrace.outcomes.readers.long import query_hash

TEXT = "Tell me what I should do about the letter from my doctor."

WIDE = f"""query_id,text,task,small|quality,small|cost
q-1,"one
line more, and ""a mark""
",sums,1,0.5
q-2,{TEXT},law,0,0.25

q-3,five,law,{{quality}},{{cost}}
q-4,six,law,1,1
"""

LONG = [
    {"query_id": "q-1", "text": TEXT, "task": "law", "model": "small", "quality": 1, "cost": 2},
    {"query_id": "q-1", "text": TEXT, "task": "law", "model": "large", "quality": 0, "cost": 3},
    {"query_id": "q-2", "text": "two\nlines", "task": "law", "model": "small", "quality": 1, "cost": 2},
    {"query_id": "q-2", "text": "two\nlines", "task": "law", "model": "large", "quality": 1, "cost": 2},
]


def refusal(read: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises((ValueError, TypeError)) as caught:
        read(*arguments, **options)
    return str(caught.value)


def told(path: Path, content: str | bytes, **options: Any) -> str:
    """Write a file, and give the message of the error when it is read."""
    pytest.importorskip("pyarrow")
    pytest.importorskip("narwhals")
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return refusal(Outcomes.from_file, path, **options)


def changed(row: int, name: str, value: Any, *without: str) -> list[dict[str, Any]]:
    records = [{key: cell for key, cell in record.items() if key not in without} for record in LONG]
    records[row][name] = value
    return records


def as_csv(records: list[dict[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def as_lines(records: list[dict[str, Any]], before: str = "") -> str:
    return "".join(f"{before}{json.dumps(record)}\n" for record in records)


# CSV


@pytest.mark.parametrize(
    ("quality", "cost", "message"),
    [
        ("abc", "1", "column 'small|quality': expected a number, got 'abc'"),
        ("1", "$3", "column 'small|cost': expected a number, got '$3'"),
        ("inf", "1", "column 'small|quality': expected a finite number, or NaN, got inf"),
        ("1", "-2", "column 'small|cost': expected a finite number >= 0, or NaN, got -2.0"),
    ],
)
def test_a_cell_of_a_wide_csv_file(tmp_path: Path, quality: str, cost: str, message: str) -> None:
    content = WIDE.format(quality=quality, cost=cost)
    place = " for query 'q-3', model 'small' (line 7 of log.csv)"
    assert content.split("\n")[6].startswith("q-3")
    said, _, remedy = told(tmp_path / "log.csv", content).partition("; ")
    assert said == message + place
    assert remedy.startswith("leave out currency") == (cost == "$3")


def test_line_ends_encodings_and_compression_change_no_line(tmp_path: Path) -> None:
    content = WIDE.format(quality="abc", cost=1)
    for name, written in [
        ("crlf.csv", content.replace("\n", "\r\n").encode()),
        ("cr.csv", content.replace("\n", "\r").encode()),
        ("mark.csv", content.encode("utf-8-sig")),
        ("utf16.csv", content.encode("utf-16")),
        ("log.csv.gz", gzip.compress(content.encode())),
    ]:
        assert told(tmp_path / name, written).endswith(f"query 'q-3', model 'small' (line 7 of {name})"), name
    tabs = as_csv(changed(3, "cost", "x")).replace(",", "\t")
    assert told(tmp_path / "log.tsv", tabs).endswith("query 'q-2', model 'large' (line 6 of log.tsv)")


def test_a_wide_file_without_ids_names_model_and_line(tmp_path: Path) -> None:
    content = f"text,task,a|quality,a|cost\n{TEXT},law,1,1\nb,law,?,1\n"
    assert told(tmp_path / "log.csv", content).endswith("got '?' for model 'a' (line 3 of log.csv)")


def test_a_query_without_an_id(tmp_path: Path) -> None:
    content = "query_id,a|quality,a|cost\nq,1,1\n,1,1\n"
    assert told(tmp_path / "log.csv", content).endswith("column 'query_id' has no id (line 3 of log.csv)")
    content = 'query_id,group,a|quality,a|cost\n"q\n1",g,1,1\nq2,,1,1\n'
    assert told(tmp_path / "log.csv", content).endswith("has no id for query 'q2' (line 4 of log.csv)")


def test_a_row_of_too_few_or_too_many_cells(tmp_path: Path) -> None:
    content = WIDE.format(quality=1, cost=1)
    for row, count in (("q-9,a,law,1\n", 4), (f'"q-9","{TEXT}\n",law,1,1,1\n', 6)):
        message = told(tmp_path / "log.csv", content + row)
        assert message.endswith(
            f"log.csv: can't be read as CSV: expected 5 cells, got {count} for query 'q-9' (line 9)"
        )
        assert "doctor" not in message
    unclosed = 'text,a|quality,a|cost\nx,1,1\n"y,1,1\nz,1,1\n'
    assert told(tmp_path / "log.csv", unclosed).endswith("expected 3 cells, got 1 (line 3)")


CELLS = st.text(alphabet='a",;\r\n\t\u2028é ', max_size=8)


@settings(deadline=None)
@given(cells=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12), data=st.data())
def test_a_line_is_that_at_which_the_record_begins(cells: list[tuple[str, str]], data: st.DataObject) -> None:
    pytest.importorskip("pyarrow")
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    quoting = data.draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
    if quoting == csv.QUOTE_MINIMAL:  # it leaves a carriage return without marks
        cells = [(one.replace("\r", ""), other.replace("\r", "")) for one, other in cells]
    content, lines = "id,text,other" + end, []
    for row, parts in enumerate(cells):
        content += end * data.draw(st.integers(0, 2))
        lines.append(1 + len(re.findall("\r\n|\r|\n", content)))
        record = io.StringIO()
        csv.writer(record, lineterminator=end, quoting=quoting).writerow([row, *parts])  # type: ignore[arg-type]
        content += record.getvalue()
    path = Path("log.csv")
    columns, _ = delimited_columns(path, content.encode(), [])
    assert columns["id"].tolist() == [str(row) for row in range(len(cells))]
    assert [delimited_line(path, content.encode(), row) for row in range(len(lines))] == lines
    assert delimited_line(path, content.encode(), len(lines)) is None


# Long layouts


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("quality", "good", "column 'quality': expected a number, got 'good'"),
        ("quality", "inf", "quality: expected a finite number, or NaN, got inf"),
        ("cost", -1, "cost: expected a finite number >= 0, or NaN, got -1.0"),
        ("text", "other", "expected one value of 'text' per query, got a second one"),
    ],
)
def test_a_cell_of_a_long_file(tmp_path: Path, name: str, value: Any, message: str) -> None:
    records = changed(3, name, value)
    place = f"{message} for query 'q-2', model 'large' (line "
    assert told(tmp_path / "log.csv", as_csv(records)).endswith(f"{place}6 of log.csv)")
    assert told(tmp_path / "log.jsonl", as_lines(records, before="\n \n")).endswith(f"{place}12 of log.jsonl)")
    assert told(tmp_path / "log.json", json.dumps(records)).endswith(
        f"{message} for query 'q-2', model 'large' (row 4 of log.json, counted from 1)"
    )


def test_a_query_known_by_its_text_is_named_by_its_hash(tmp_path: Path) -> None:
    for without, task in (("query_id",), "law"), (("query_id", "task"), None):
        message = told(tmp_path / "log.jsonl", as_lines(changed(1, "quality", "good", *without)))
        place = f"for query '{query_hash(TEXT, task)}', model 'large' (line 2 of log.jsonl)"
        assert message == f"column 'quality': expected a number, got 'good' {place}"


def test_a_run_without_model_or_query(tmp_path: Path) -> None:
    message = told(tmp_path / "log.csv", as_csv(changed(1, "model", "")))
    assert message.endswith("column 'model' is empty for query 'q-1' (line 3 of log.csv)")
    message = told(tmp_path / "log.csv", as_csv(changed(1, "query_id", "")))
    assert message.endswith("column 'query_id' is empty for model 'large' (line 3 of log.csv)")


def test_rows_that_are_left_out_count(tmp_path: Path) -> None:
    records = [{**record, "status": "failed" if row == 1 else "ok"} for row, record in enumerate(LONG)]
    records[2]["quality"] = "good"
    place = "for query 'q-2', model 'small' (line 4 of log.csv)"
    assert told(tmp_path / "log.csv", as_csv(records)).endswith(place)
    records[2]["quality"] = "-inf"
    assert told(tmp_path / "log.csv", as_csv(records)).endswith(place)


def test_a_repeated_run_is_named_by_its_own_line(tmp_path: Path) -> None:
    records = [*LONG, {**LONG[1], "cost": -1}]
    message = told(tmp_path / "log.jsonl", as_lines(records))
    assert message.endswith("got -1.0 for query 'q-1', model 'large' (line 5 of log.jsonl)")


def test_a_label_is_named_by_its_request(tmp_path: Path) -> None:
    pytest.importorskip("narwhals")
    log = tmp_path / "spend.jsonl"
    runs = [{"request_id": str(n), "query_id": "q", "model": f"m{n}", "spend": 1} for n in range(2)]
    log.write_text(as_lines(runs))
    labels = tmp_path / "labels.csv"
    labels.write_text("request_id,quality\n\n0,1\n1,good\n")
    message = refusal(Outcomes.from_file, log, labels=labels)
    assert message.endswith("got 'good' for request '1' (line 4 of labels.csv)")


# JSON


def test_a_cell_of_wide_json_lines(tmp_path: Path) -> None:
    rows = [{"query_id": n, "text": TEXT, "a|quality": "?" if n == 8 else 1, "a|cost": 1} for n in (7, 8)]
    message = told(tmp_path / "log.jsonl", as_lines(rows, before="\n"))
    assert message.endswith("got '?' for query '8', model 'a' (line 4 of log.jsonl)")


def test_a_line_that_is_no_object(tmp_path: Path) -> None:
    message = told(tmp_path / "log.jsonl", '\n{"a": 1}\n\n3\n')
    assert message.endswith("expected an object, got int (line 4 of log.jsonl)")


def event(kind: str, id: str, model: str, **parts: Any) -> dict[str, Any]:
    return {"headrace": 1, "event": kind, "id": id, "model": model, **parts}


def test_a_run_in_a_log_of_a_recorder(tmp_path: Path) -> None:
    run = {"query": {"text": TEXT}, "response": {"answer": "x"}, "cost": 1, "quality": 1}
    events = [event("run", id, "a", **run) for id in ("p", "q", "q")]
    place = "for query 'q', model 'a'"
    bad = [*events[:2], {**events[2], "cost": -1}]
    path = tmp_path / "log.jsonl"
    assert told(path, "\n" + as_lines(bad)).endswith(f"got -1.0 {place} (line 4 of log.jsonl)")
    labelled = [*events, event("label", "q", "a", quality="good")]
    assert told(path, as_lines(labelled)).endswith(f"got 'good' {place} (row 3 of log.jsonl, counted from 1)")
    other = [*events, event("run", "q", "b", **{**run, "query": {"text": "other"}})]
    message = told(path, as_lines(other, before="\n"))
    assert message.endswith("got a second one for query 'q', model 'b' (line 8)")
    alone = [*events, event("label", "q", "b", quality=1)]
    assert told(path, as_lines(alone)).endswith("got a label alone for query 'q', model 'b' (line 4)")


# Sources without lines


def test_parquet_and_frames_have_rows_only(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("narwhals")
    wide = {"query_id": ["p", "q"], "text": [TEXT, "x"], "a|quality": [1, 1], "a|cost": ["1", "free"]}
    long = {name: [str(record[name]) for record in changed(2, "cost", "free")] for name in LONG[0]}
    for columns, place in (
        (wide, "got 'free' for query 'q', model 'a' (row {})"),
        (long, "got 'free' for query 'q-2', model 'small' (row {})"),
    ):
        path = tmp_path / "log.parquet"
        parquet.write_table(arrow.table(columns), path)
        row = 1 if columns is wide else 2
        in_file = f"{row + 1} of log.parquet, counted from 1"
        assert refusal(Outcomes.from_file, path).endswith(place.format(in_file))
        assert refusal(Outcomes.from_frame, arrow.table(columns)).endswith(place.format(row))
        if columns is wide:
            assert refusal(Outcomes.from_frame, {**wide, "a|cost": [1, -1]}).endswith("query 'q', model 'a' (row 1)")


def test_a_table_made_of_arrays() -> None:
    table: dict[str, Any] = {"models": ["a", "b"], "quality": [[1, 1], [1, float("inf")]], "cost": [1, 1]}
    message = "quality: expected a finite number, or NaN, got inf for query"
    assert refusal(Outcomes, **table) == f"{message} '1', model 'b' (row 1)"
    assert refusal(Outcomes, **table, ids=["x", "y"]) == f"{message} 'y', model 'b' (row 1)"
    assert refusal(Outcomes, **{**table, "quality": [[1, 1]] * 2}, ids=["x", "y"], groups=["g", 0.5]) == (
        "groups: expected str or int, got 0.5 for query 'y' (row 1)"
    )


def test_a_vector_of_another_length(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    vectors = [[1.0, 2.0], [1.0, 2.0], None, [1.0], [0.5, 1.0], [1.0, 2.0, 3.0]]
    wide = {"embedding": vectors, "a|quality": [1] * 6, "a|cost": [1] * 6}
    message = "'embedding': expected vectors of one length, got 2 in 3 rows, and 1"
    records = [dict(zip(wide, cells, strict=True)) for cells in zip(*wide.values(), strict=True)]
    told_of = told(tmp_path / "log.jsonl", as_lines(records, before="\n"))
    assert told_of.endswith(f"log.jsonl: {message} (line 8 of log.jsonl; also line 12)")
    parquet.write_table(arrow.table(wide), tmp_path / "log.parquet")
    told_of = refusal(Outcomes.from_file, tmp_path / "log.parquet")
    assert told_of.endswith(f"{message} (row 4 of log.parquet, counted from 1; also row 6)")
    assert refusal(Outcomes.from_frame, wide) == f"frame: {message} (row 3; also row 5)"


def test_a_request_with_two_labels(tmp_path: Path) -> None:
    log = tmp_path / "spend.jsonl"
    log.write_text(as_lines([{"request_id": "0", "query_id": "q", "model": "m", "spend": 1}]))
    labels = tmp_path / "labels.jsonl"
    labels.write_text(as_lines([{"request_id": "0", "quality": 1}] * 2))
    message = refusal(Outcomes.from_file, log, labels=labels)
    assert message.endswith(
        "has a request twice, expected one quality for each for request '0' (line 2 of labels.jsonl)"
    )


def test_rows_of_a_decision_log_are_no_lines(tmp_path: Path) -> None:
    step = {"model": "small", "kind": "ok", "cost": -0.1}
    events = [
        {"headrace": "decision-log-1", "event": "decision", "id": "q-1", "model": "small", "steps": [step]},
        {"headrace": "decision-log-1", "event": "feedback", "id": "q-1", "quality": 1.0, "model": None},
    ]
    place = "got -0.1 for query 'q-1', model 'small' (row 1 of log.jsonl, counted from 1)"
    content = "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in events)
    assert told(tmp_path / "log.jsonl", content).endswith(place)


# Several rows, and tables that are made of tables


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        ([1], "query 'q-1', model 'a' (line 3 of {})"),
        ([1, 4], "query 'q-1', model 'a' (line 3 of {}; also line 6)"),
        ([1, 4, 5], "query 'q-1', model 'a' (line 3 of {}; also lines 6 and 7)"),
        ([1, 4, 5, 7], "query 'q-1', model 'a' (line 3 of {}; also lines 6, 7 and 1 more)"),
        (list(range(1, 9)), "query 'q-1', model 'a' (line 3 of {}; also lines 4, 5 and 5 more)"),
    ],
)
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
@pytest.mark.parametrize("cell", ["x", "-1"])
def test_the_first_rows_are_named_and_the_others_counted(
    tmp_path: Path, bad: list[int], place: str, name: str, cell: str
) -> None:
    costs = [cell if row in bad else "1" for row in range(9)]
    content = "query_id,a|quality,a|cost,b|quality,b|cost\n" + "".join(
        f"q-{row},1,{cost},1,{cost if cell == '-1' else 1}\n" for row, cost in enumerate(costs)
    )
    written = gzip.compress(content.encode()) if name.endswith(".gz") else content
    assert told(tmp_path / name, written).endswith(f"for {place.format(name)}")


def test_all_cells_of_a_kind_are_counted(tmp_path: Path) -> None:
    for name in ("model", "query_id"):
        records = [{**record, name: ""} if row else record for row, record in enumerate(LONG)]
        message = told(tmp_path / "log.csv", as_csv(records))
        assert message.endswith("(line 3 of log.csv; also lines 4 and 6)")
    other = [{**record, "text": f"{row}"} for row, record in enumerate(LONG)]
    assert told(tmp_path / "log.jsonl", as_lines(other)).endswith("model 'large' (line 2 of log.jsonl; also line 4)")
    assert told(tmp_path / "log.json", '[{"a": 1}, 2, 3]').endswith("(row 2 of log.json, counted from 1; also row 3)")
    arrays: dict[str, Any] = {"models": ["a"], "quality": [[1]] * 5, "ids": ["p", "q", "r", "s", "t"]}
    message = refusal(Outcomes, **arrays, cost=[[1], [-1], [-1], [-1], [-1]])
    assert message.endswith("got -1.0 for query 'q', model 'a' (row 1; also rows 2, 3 and 1 more)")
    assert refusal(Outcomes, **{**arrays, "ids": [1, None, 2, 3.5, 4]}, cost=[1]).endswith("(row 1; also row 3)")


def read(path: Path, content: str) -> Outcomes:
    pytest.importorskip("pyarrow")
    path.write_text(content)
    return Outcomes.from_file(path)


def test_a_table_remembers_its_lines(tmp_path: Path) -> None:
    table = read(tmp_path / "log.csv", WIDE.format(quality=0, cost=1))
    assert table.place([2]) == " for query 'q-3' (line 7 of log.csv)"
    assert table.take([3, 2]).place([1]) == " for query 'q-3' (line 7 of log.csv)"
    assert table.take([3, 2, 0]).take([1, 2]).without("task").place([0, 1]) == (
        " for query 'q-3' (line 7 of log.csv; also line 2)"
    )
    first, second = table.split(0.5)
    assert {first.place([0]), first.place([1]), second.place([0]), second.place([1])} == {
        f" for query 'q-{number}' (line {line} of log.csv)" for number, line in ((1, 2), (2, 5), (3, 7), (4, 8))
    }
    assert pickle.loads(pickle.dumps(table)).place([2]) == table.place([2])
    assert dataclasses.replace(table, groups=[1, 1, 2, 2]).place([2]) == table.place([2])
    assert Outcomes(models=["a"], quality=[[1]], cost=[1], origin=table.origin).place([0]) == " for query '0' (row 0)"
    other = read(tmp_path / "more.csv", WIDE.format(quality=1, cost=1))
    both = table.take([2]).concat(other).concat(table).concat(other.take([3]))
    assert both.place([0]) == " for query 'q-3' (line 7 of log.csv)"
    assert both.place([3]) == " for query 'q-3#2' (line 7 of more.csv)"
    assert both.take([8, 3, 9]).place([0, 1, 2]) == (
        " for query 'q-4#2' (line 8 of log.csv; also line 7 of more.csv and line 8 of more.csv)"
    )


def test_a_long_table_remembers_the_line_of_each_run(tmp_path: Path) -> None:
    table = read(tmp_path / "log.csv", as_csv([*LONG[1:], LONG[0]]))
    assert table.models == ("large", "small")
    assert [table.place([0], model) for model in ("small", "large", None)] == [
        " for query 'q-1', model 'small' (line 7 of log.csv)",
        " for query 'q-1', model 'large' (line 2 of log.csv)",
        " for query 'q-1' (line 2 of log.csv)",
    ]
    assert table.select(["small"]).take([1, 0]).place([1], "small").endswith("(line 7 of log.csv)")


def test_lines_of_a_file_that_was_changed_are_not_told(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    table = read(path, WIDE.format(quality=0, cost=1))
    path.write_text("\n\n" + WIDE.format(quality=0, cost=1))
    assert table.place([2]) == " for query 'q-3' (row 3 of log.csv, counted from 1)"
    path.unlink()
    assert table.place([2]) == " for query 'q-3' (row 3 of log.csv, counted from 1)"


def test_remarks_name_lines(tmp_path: Path) -> None:
    content = "query_id,a|quality,a|cost,b|quality,b|cost\n" + "".join(
        f"q-{row},{-1 if row in (2, 5) else 1},{0 if row == 3 else 1},1,2\n" for row in range(8)
    )
    remarks = " ".join(read(tmp_path / "log.csv", content).describe().remarks)
    assert "1 of 8 runs of 'a' cost 0 for query 'q-3', model 'a' (line 5 of log.csv): hits" in remarks
    assert "2 cells are -1 for query 'q-2' (line 4 of log.csv; also line 7), and" in remarks


def test_a_table_is_saved_without_its_lines(tmp_path: Path) -> None:
    table = read(tmp_path / "log.csv", WIDE.format(quality=0, cost=1))
    table.take([2, 3]).save(tmp_path / "saved.csv")
    assert "log.csv" not in (tmp_path / "saved.csv").read_text()
    assert Outcomes.from_file(tmp_path / "saved.csv").place([1]) == " for query 'q-4' (line 3 of saved.csv)"


# What a message shows, and what it costs


def test_no_long_text_is_shown(tmp_path: Path) -> None:
    records = changed(1, "quality", TEXT)
    records[1]["query_id"] = TEXT
    message = told(tmp_path / "log.jsonl", as_lines(records))
    shown = "'Tell me what I sh...'"
    assert message == (
        f"column 'quality': expected a number, got {shown} for query {shown}, model 'large' (line 2 of log.jsonl)"
    )
    assert refusal(Outcomes, models=["a"], quality=[[1]], cost=[1], ids=[[TEXT]]).endswith("(row 0)")
    assert "doctor" not in refusal(Outcomes, models=["a"], quality=[[1]], cost=[1], ids=[[TEXT]])


def test_no_line_is_looked_for_when_nothing_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("narwhals")
    searches = []
    monkeypatch.setattr(files, "file_line", lambda *arguments: searches.append(arguments))
    path = tmp_path / "log.csv"
    path.write_text(as_csv(LONG))
    assert Outcomes.from_file(path).ids == ("q-1", "q-2")
    assert not searches
    path.write_text(as_csv(changed(1, "cost", "x")))
    assert refusal(Outcomes.from_file, path).endswith(
        "for query 'q-1', model 'large' (row 2 of log.csv, counted from 1)"
    )
    assert searches == [(path, 1, None)]
