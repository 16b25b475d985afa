"""Outcomes and Responses: construction, views, splits, files, frames, and every error."""

from __future__ import annotations

import copy
import csv
import dataclasses
import doctest
import pickle
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import headrace.estimators.responses
import headrace.outcomes.outcomes
import headrace.outcomes.readers.delimited
import headrace.outcomes.readers.written
from headrace.estimators.responses import Responses
from headrace.outcomes import Outcomes

NAN = float("nan")

WIDE: dict[str, list[Any]] = {
    "query_id": ["q1", "q2", "q3"],
    "text": ["2 + 2?", 'Say "hi",\nplease', "Why?"],
    "task": ["math", "chat", "chat"],
    "length": [6, 16, 4],
    "s/mall|quality": [0.0, 1.0, 0.5],
    "s/mall|cost": [0.1, 0.2, 0.3],
    "s/mall|answer": ["4", None, "dunno"],
    "s/mall|tokens": [1, 2, 3],
    "large|quality": [1.0, 1.0, NAN],
    "large|cost": [1.0, 2.0, 3.0],
    "large|tokens": [10, 20, 30],
    "large|answer": ["four", "hi", "because"],
}

ROUTERBENCH: dict[str, list[Any]] = {
    "sample_id": ["arc.1", "arc.2"],
    "prompt": ["Which?", "What?"],
    "eval_name": ["arc", "arc"],
    "m1": [1.0, 0.0],
    "m2": [0.25, 0.5],
    "m1|model_response": ["['A']", "['B']"],
    "m2|model_response": ["['C']", None],
    "m1|total_cost": [0.001, 0.002],
    "m2|total_cost": [0.01, 0.02],
    "oracle_model_to_route_to": ["m1", "m2"],
}


def small(**changes: object) -> Outcomes:
    fields: dict[str, Any] = {
        "models": ["a", "b", "c"],
        "quality": [[0, 1, 1], [0.5, NAN, 0], [1, 1, 1], [0, 0, 1]],
        "cost": [[1, 2, 3], [1, 2, NAN], [1, 2, 3], [1, 2, 3]],
        "ids": ["p", "q", "r", "s"],
        "queries": {"text": ["x", "y", "z", None], "size": [1, 2, 3, 4], "vector": np.eye(4, 2)},
        "responses": {"tokens": np.arange(12).reshape(4, 3), "answer": [["A", "B", None]] * 4},
    }
    return Outcomes(**{**fields, **changes})


def plain(n: int, **changes: object) -> Outcomes:
    return Outcomes(models=["a"], quality=np.zeros((n, 1)), cost=[1.0], **changes)  # type: ignore[arg-type]


def assert_same(left: Outcomes, right: Outcomes) -> None:
    assert (left.models, left.ids) == (right.models, right.ids)
    np.testing.assert_array_equal(left.quality, right.quality)
    np.testing.assert_array_equal(left.cost, right.cost)
    assert (left.groups is None) == (right.groups is None)
    if left.groups is not None and right.groups is not None:
        assert left.groups.tolist() == right.groups.tolist()
    for ours, theirs in ((left.queries, right.queries), (left.responses, right.responses)):
        assert list(ours) == list(theirs)
        for name in ours:
            assert ours[name].dtype == theirs[name].dtype, name
            np.testing.assert_array_equal(ours[name], theirs[name])


def write_csv(path: Path, columns: dict[str, list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> Path:
    needs_data_extra()
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pytest.importorskip("pyarrow").table(columns), path)
    return path


def needs_data_extra() -> None:
    pytest.importorskip("narwhals")
    pytest.importorskip("pyarrow")


# Responses


def test_responses_hide_cells_of_models_not_run() -> None:
    run = np.array([[True, False], [False, False]])
    vectors = np.arange(12.0).reshape(2, 2, 3)
    answers = np.array([["A", "B"], ["C", None]], dtype=object)
    responses = Responses(run, {"tokens": np.array([[1, 2], [3, 4]]), "vector": vectors, "answer": answers})
    assert len(responses) == 2
    assert responses.names == ("tokens", "vector", "answer")
    first = responses[0]
    assert first[1] is None
    assert first[0] is not None
    assert (first[0]["tokens"], first[0]["answer"]) == (1, "A")
    assert type(first[0]["tokens"]) is int
    assert first[0]["vector"].tolist() == [0.0, 1.0, 2.0]
    assert list(responses)[1] == responses[-1] == [None, None]
    np.testing.assert_array_equal(responses.column("tokens"), [[1.0, NAN], [NAN, NAN]])
    assert responses.column("tokens").dtype == np.float64
    assert responses.column("answer").tolist() == [["A", None], [None, None]]
    vector = responses.column("vector")
    assert vector[0, 0].tolist() == [0.0, 1.0, 2.0]
    assert np.isnan(vector[~run]).all()
    assert repr(responses) == "Responses(2 queries x 2 models, 1 cells run, columns: tokens, vector, answer)"
    assert repr(Responses(run, {})).endswith("columns: none)")


def test_responses_column_is_a_copy_and_construction_is_not() -> None:
    tokens = np.array([[1.0, 2.0]])
    responses = Responses(np.array([[True, True]]), {"tokens": tokens})
    responses.column("tokens")[:] = 7
    assert responses.column("tokens").tolist() == [[1.0, 2.0]]
    assert np.shares_memory(responses._columns["tokens"], tokens)
    with pytest.raises(ValueError, match="read-only"):
        responses.run[0, 0] = False
    with pytest.raises(dataclasses.FrozenInstanceError):
        responses.run = np.array([[False, False]])  # type: ignore[misc]
    tokens[0, 0] = 5.0


def test_responses_take_and_with_run() -> None:
    run = np.array([[True, False], [False, True], [True, True]])
    responses = Responses(run, {"tokens": np.arange(6).reshape(3, 2)})
    taken = responses.take([2, -3])
    np.testing.assert_array_equal(taken.column("tokens"), [[4, 5], [0, NAN]])
    assert len(responses.take(np.array([False, True, False]))) == 1
    assert len(responses.take([])) == 0
    assert responses.with_run(~run)[0] == [None, {"tokens": 1}]
    assert responses.with_run([False, False])[2] == [None, None]
    assert responses.with_run(~run).names == responses.names


@pytest.mark.parametrize(
    ("run", "columns", "error", "message"),
    [
        ([[1, 0]], {}, TypeError, "run: expected a bool array, got dtype int"),
        ([True, False], {}, ValueError, r"run: expected shape \(n_queries, n_models\), got \(2,\)"),
        (
            [[True]],
            {"x": [1.0]},
            ValueError,
            r"column 'x': expected shape \(1, 1\), or one axis more, got \(1,\)",
        ),
        ([[True]], {"x": np.zeros((1, 1, 1, 1))}, ValueError, r"one axis more, got \(1, 1, 1, 1\)"),
        (
            [[True]],
            {"x": [[1j]]},
            TypeError,
            "column 'x': expected numbers, text or objects, got dtype complex",
        ),
        ([[True]], {"x": [[1], [1, 2]]}, ValueError, "column 'x': not an array"),
        ([[True]], {"": [[1]]}, TypeError, "columns: expected non-empty str as names, got ''"),
        ([[True]], {3: [[1]]}, TypeError, "columns: expected non-empty str as names, got 3"),
        ([[True]], [1], TypeError, "columns: expected a mapping of name to array, got list"),
    ],
)
def test_responses_refuse(run: object, columns: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Responses(run, columns)  # type: ignore[arg-type]


def test_responses_refuse_what_is_unknown() -> None:
    responses = Responses([[True, True]], {"tokens": [[1, 2]]})
    with pytest.raises(ValueError, match="no response column 'token'; known: 'tokens'"):
        responses.column("token")
    with pytest.raises(IndexError):
        responses[1]
    with pytest.raises(ValueError, match=r"run: expected shape .* = \(1, 2\) or \(n_models,\) = \(2,\), got \(1,\)"):
        responses.with_run([True])
    with pytest.raises(TypeError, match="run: expected a bool array"):
        responses.with_run([1, 0])


ROWS_ERRORS = [
    ([0.0], TypeError, "rows: expected int or bool, got dtype float64"),
    ([4], ValueError, "rows: 4 is out of range for 4 rows"),
    ([-5], ValueError, "rows: -5 is out of range for 4 rows"),
    ([True], ValueError, "rows: expected a mask of length 4, got 1"),
    ([[0]], ValueError, r"rows: expected one axis, got shape \(1, 1\)"),
    (0, ValueError, r"rows: expected one axis, got shape \(\)"),
]


@pytest.mark.parametrize(("rows", "error", "message"), ROWS_ERRORS)
def test_take_refuses_rows(rows: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        small().take(rows)  # type: ignore[arg-type]
    with pytest.raises(error, match=message):
        Responses(np.zeros((4, 2), dtype=bool), {}).take(rows)  # type: ignore[arg-type]


# Outcomes: construction


def test_outcomes_hold_what_was_given() -> None:
    table = small()
    assert (table.n_queries, table.n_models, len(table), table.n_missing) == (4, 3, 4, 2)
    assert table.models == ("a", "b", "c")
    assert table.ids == ("p", "q", "r", "s")
    assert table.n_duplicate_ids == 0
    assert table.groups is None
    assert table.quality.dtype == table.cost.dtype == np.float64
    np.testing.assert_allclose(table.mean_quality, [0.375, 2 / 3, 0.75])
    np.testing.assert_allclose(table.mean_cost, [1, 2, 3])
    assert table.queries["text"].tolist() == ["x", "y", "z", None]
    assert table.queries["text"].dtype == object
    assert table.queries["vector"].shape == (4, 2)
    assert table.responses["tokens"][1].tolist() == [3, 4, 5]


def test_outcomes_defaults_and_broadcast_cost() -> None:
    table = Outcomes(models=("a", "b"), quality=[[True, False], [True, True]], cost=[0, 2])
    assert table.ids == ("0", "1")
    assert table.cost.tolist() == [[0.0, 2.0], [0.0, 2.0]]
    assert table.quality.tolist() == [[1.0, 0.0], [1.0, 1.0]]
    assert dict(table.queries) == dict(table.responses) == {}
    assert plain(3, ids=np.array([7, 8, 9])).ids == ("7", "8", "9")


def test_outcomes_are_read_only_copies() -> None:
    quality, text = np.array([[1.0]]), np.array(["x"], dtype=object)
    labels = np.array([3])
    table = Outcomes(
        models=["a"],
        quality=quality,
        cost=quality,
        queries={"text": text},
        responses={"n": quality},
        groups=labels,
    )
    quality[:], text[:], labels[:] = 0.0, "changed", 4
    arrays = [table.quality, table.cost, table.queries["text"], table.responses["n"], table.groups]
    assert [array.tolist() for array in arrays if array is not None] == [
        [[1.0]],
        [[1.0]],
        ["x"],
        [[1.0]],
        ["3"],
    ]
    for derived in (table, table.take([0]), table.select(["a"]), copy.deepcopy(table)):
        for array in (derived.quality, derived.cost, derived.queries["text"], derived.responses["n"]):
            with pytest.raises(ValueError, match="read-only"):
                array[:] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.models = ("b",)  # type: ignore[misc]
    with pytest.raises(TypeError, match="does not support item assignment"):
        table.queries["more"] = text  # type: ignore[index]


def test_outcomes_compare_by_identity_and_pickle() -> None:
    table = small(groups=["g", "g", "h", "h"], ids=["p", "p", "p", "q"])
    assert table != small()
    assert len({table, table}) == 1
    for other in (pickle.loads(pickle.dumps(table)), copy.deepcopy(table)):
        assert_same(table, other)
        assert other.n_duplicate_ids == 2


def test_outcomes_replace_a_field() -> None:
    changes: dict[str, Any] = {"groups": ["g", "g", "h", "h"], "cost": [4, 5, 6]}
    table = dataclasses.replace(small(), **changes)
    assert table.groups is not None
    assert table.groups.tolist() == ["g", "g", "h", "h"]
    assert table.cost[0].tolist() == [4.0, 5.0, 6.0]
    assert table.ids == small().ids


@pytest.mark.parametrize(
    ("ids", "distinct", "n_duplicates"),
    [
        (["q7", "q7", "q7"], ("q7", "q7#2", "q7#3"), 2),
        (["q7", "q7", "q7#2"], ("q7", "q7#3", "q7#2"), 1),
        (["q7#2", "q7", "q7", "q7#2"], ("q7#2", "q7", "q7#3", "q7#2#2"), 2),
        ([1, "1", 2], ("1", "1#2", "2"), 1),
    ],
)
def test_duplicate_ids_are_kept_apart(ids: list[str | int], distinct: tuple[str, ...], n_duplicates: int) -> None:
    table = plain(len(ids), ids=ids)
    assert table.ids == distinct
    assert table.n_duplicate_ids == n_duplicates


@given(st.lists(st.sampled_from(["a", "a#2", "a#3", "a#2#2", "b"]), min_size=1, max_size=20))
def test_ids_are_distinct_and_first_ones_unchanged(ids: list[str]) -> None:
    table = plain(len(ids), ids=ids)
    assert len(set(table.ids)) == len(ids)
    firsts = [ids.index(label) for label in dict.fromkeys(ids)]
    assert all(table.ids[row] == ids[row] for row in firsts)
    assert table.n_duplicate_ids == len(ids) - len(firsts)
    assert sum(given != kept for given, kept in zip(ids, table.ids, strict=True)) == table.n_duplicate_ids


def test_means_of_a_model_without_data_are_nan() -> None:
    table = Outcomes(models=["a", "b"], quality=[[NAN, 1]], cost=[NAN, 2])
    np.testing.assert_array_equal(table.mean_quality, [NAN, 1])
    np.testing.assert_array_equal(table.mean_cost, [NAN, 2])


def test_repr() -> None:
    assert (
        repr(small()) == "Outcomes(4 queries x 3 models, cost 1.0e+00..3.0e+00, quality 0.375..0.750, 2 missing cells)"
    )
    assert repr(plain(2)) == "Outcomes(2 queries x 1 models, cost 1.0e+00..1.0e+00, quality 0.000..0.000)"
    empty = Outcomes(models=["a"], quality=[[NAN]], cost=[NAN])
    assert repr(empty) == "Outcomes(1 queries x 1 models, cost unknown, quality unknown, 1 missing cell)"


INF = float("inf")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"models": "abc"}, TypeError, "models: expected a sequence of str, got 'abc'"),
        ({"models": ["a", 1, "c"]}, TypeError, r"models: expected a sequence of str, got \['a', 1, 'c'\]"),
        ({"models": []}, ValueError, "models: expected at least one model, got none"),
        ({"models": 3}, TypeError, "models: expected a sequence of str, got 3"),
        ({"models": ["a", "", "c"]}, ValueError, "models: expected unique, non-empty names"),
        ({"models": ["a", "b", "a"]}, ValueError, "models: expected unique, non-empty names"),
        (
            {"quality": np.zeros((4, 2))},
            ValueError,
            r"^quality: expected shape \(n_queries, n_models\) = \(4, 3\), got \(4, 2\)$",
        ),
        ({"quality": [0, 1, 1]}, ValueError, r"quality: expected shape .* = \(n_queries, 3\), got \(3,\)"),
        ({"quality": 1.0}, ValueError, r"quality: expected shape .* = \(n_queries, 3\), got \(\)"),
        ({"quality": np.zeros((0, 3))}, ValueError, "quality: the table has no rows"),
        ({"quality": [["1", "0", "1"]]}, TypeError, "quality: expected numbers .* got dtype object"),
        ({"quality": [[None, 0, 1]]}, TypeError, "quality: expected numbers .* got dtype object"),
        ({"quality": [[1j, 0, 1]]}, TypeError, "quality: expected numbers .* got dtype complex128"),
        ({"quality": [[0], [0, 1]]}, ValueError, "quality: not an array"),
        (
            {"quality": [[0, 0, 0], [0, INF, 0], [0, 0, 0], [0, 0, 0]]},
            ValueError,
            r"quality: expected a finite number, or NaN, got inf for query 'q', model 'b' \(row 1\)",
        ),
        (
            {"cost": [1, 2]},
            ValueError,
            r"cost: expected shape .* = \(4, 3\) or \(n_models,\) = \(3,\), got \(2,\)",
        ),
        ({"cost": np.ones((3, 3))}, ValueError, r"cost: expected shape .* got \(3, 3\)"),
        ({"cost": ["1", "2", "3"]}, TypeError, "cost: expected numbers"),
        (
            {"cost": [1, 2, -0.5]},
            ValueError,
            r"cost: .* number >= 0, .* got -0\.5 for query 'p', model 'c' \(row 0; also rows 1, 2 and 1 more\)",
        ),
        ({"cost": [1, INF, 0.5]}, ValueError, "cost: .*, got inf for query 'p', model 'b'"),
        ({"ids": ["p", "q"]}, ValueError, "ids: expected length n_queries = 4, got 2"),
        ({"ids": ["p", "q", None, "s"]}, TypeError, r"ids: expected str or int, got None \(row 2\)"),
        ({"ids": [1, 2, 3, True]}, TypeError, r"ids: expected str or int, got True \(row 3\)"),
        ({"ids": [1.0, 2, 3, 4]}, TypeError, r"ids: expected str or int, got 1\.0 \(row 0\)"),
        ({"ids": "pqrs"}, TypeError, "ids: expected a sequence of str or int, got str"),
        ({"ids": 4}, TypeError, "ids: expected a sequence of str or int, got int"),
        ({"groups": ["g"]}, ValueError, "groups: expected length n_queries = 4, got 1"),
        ({"groups": [0.5, 1, 2, 3]}, TypeError, r"groups: expected str or int, got 0\.5 for query 'p' \(row 0\)"),
        (
            {"queries": {"text": ["x"]}},
            ValueError,
            r"queries: column 'text': expected shape \(4,\), or one axis more",
        ),
        ({"queries": {"v": np.zeros((4, 2, 2))}}, ValueError, r"queries: column 'v': .* got \(4, 2, 2\)"),
        ({"queries": ["text"]}, TypeError, "queries: expected a mapping of name to array, got list"),
        ({"queries": {"t": np.zeros(4, "M8[s]")}}, TypeError, "queries: column 't': .* got dtype datetime64"),
        (
            {"responses": {"n": np.zeros((4, 2))}},
            ValueError,
            r"responses: column 'n': expected shape \(4, 3\)",
        ),
        (
            {"responses": {"": np.zeros((4, 3))}},
            TypeError,
            "responses: expected non-empty str as names, got ''",
        ),
    ],
)
def test_outcomes_refuse(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        small(**changes)


# Outcomes: parts of the table


def test_select() -> None:
    table = small(ids=["p", "p", "r", "s"])
    part = table.select(["c", "a"])
    assert part.models == ("c", "a")
    np.testing.assert_array_equal(part.quality, table.quality[:, [2, 0]])
    np.testing.assert_array_equal(part.cost, table.cost[:, [2, 0]])
    np.testing.assert_array_equal(part.responses["tokens"], table.responses["tokens"][:, [2, 0]])
    assert part.ids == table.ids
    assert part.queries["size"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("models", "error", "message"),
    [
        (["gpt4"], ValueError, r"models: unknown 'gpt4' \(did you mean 'gpt-4'\?\); known: 'gpt-4', 'llama'"),
        (["zzz", "qqq"], ValueError, "models: unknown 'zzz', 'qqq'; known: 'gpt-4', 'llama'"),
        (["llama", "llama"], ValueError, "models: expected unique"),
        ([], ValueError, "models: expected at least one model"),
        ("llama", TypeError, "models: expected a sequence of str, got 'llama'"),
        ([0], TypeError, "models: expected a sequence of str"),
    ],
)
def test_select_refuses(models: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Outcomes(models=["gpt-4", "llama"], quality=[[0, 1]], cost=[1, 2]).select(models)


def test_take() -> None:
    table = small(groups=["g", "g", "h", "h"])
    part = table.take([3, 0, 0, -1])
    assert part.ids == ("s", "p", "p#2", "s#2")
    assert part.n_duplicate_ids == 2
    assert part.groups is not None
    assert part.groups.tolist() == ["h", "g", "g", "h"]
    np.testing.assert_array_equal(part.quality, table.quality[[3, 0, 0, 3]])
    assert part.queries["text"].tolist() == [None, "x", "x", None]
    assert part.responses["tokens"][:, 0].tolist() == [9, 0, 0, 9]
    assert table.take(np.array([True, False, False, True])).ids == ("p", "s")
    assert table.take(np.array([1], dtype=np.uint8)).ids == ("q",)
    for nothing in (np.zeros(0), np.zeros(4, dtype=bool)):
        with pytest.raises(ValueError, match="rows: takes no row, expected at least one"):
            table.take(nothing)


def test_complete() -> None:
    assert small().complete().ids == ("p", "r", "s")
    assert small().complete().n_missing == 0
    assert small(quality=np.ones((4, 3)), cost=[1, 2, 3]).complete().ids == small().ids
    hollow = Outcomes(models=["a", "b", "c"], quality=[[0, NAN, NAN], [0, NAN, 1]], cost=[1, 2, 3])
    with pytest.raises(ValueError, match=r"missing most: 'b' \(2 of 2\), 'c' \(1 of 2\), 'a' \(0 of 2\)"):
        hollow.complete()


def test_responses_for() -> None:
    table = small()
    everywhere = table.responses_for([True, False, True])
    assert everywhere[1] == [{"tokens": 3, "answer": "A"}, None, {"tokens": 5, "answer": None}]
    mask = np.zeros((4, 3), dtype=bool)
    mask[2, 1] = True
    assert table.responses_for(mask)[2] == [None, {"tokens": 7, "answer": "B"}, None]
    assert table.responses_for(mask)[1] == [None, None, None]
    with pytest.raises(ValueError, match=r"run: expected shape .* = \(4, 3\) or \(n_models,\) = \(3,\), got \(4,\)"):
        table.responses_for([True] * 4)
    with pytest.raises(TypeError, match="run: expected a bool array, got dtype int"):
        table.responses_for([0, 1, 0])


# Outcomes: splits and folds


def test_split_sizes_order_and_determinism() -> None:
    table = plain(100)
    first, second = table.split(0.3)
    assert (len(first), len(second)) == (30, 70)
    for part in (first, second):
        assert [int(label) for label in part.ids] == sorted(int(label) for label in part.ids)
    assert first.ids != tuple(str(row) for row in range(30))
    assert table.split(0.3)[0].ids == table.split(0.3, rng=0)[0].ids == first.ids
    assert table.split(0.3, rng=np.random.default_rng(0))[0].ids == first.ids
    assert table.split(0.3, rng=1)[0].ids != first.ids
    assert table.split(0.3, rng=np.int64(1))[0].ids == table.split(0.3, rng=1)[0].ids  # type: ignore[arg-type]
    shared = np.random.default_rng(5)
    assert table.split(0.3, rng=shared)[0].ids != table.split(0.3, rng=shared)[0].ids


def test_split_keeps_groups_together() -> None:
    groups = np.repeat(np.arange(20), 5)
    table = plain(100, groups=groups)
    first, second = table.split(0.5, rng=3)
    assert len(first) == 50
    assert first.groups is not None
    assert second.groups is not None
    assert not set(first.groups) & set(second.groups)
    lopsided = plain(10, groups=["big"] * 9 + ["small"])
    assert {len(part) for part in lopsided.split(0.5)} == {1, 9}


@pytest.mark.parametrize(
    ("fraction", "error", "message"),
    [
        (0.0, ValueError, "fraction: expected a number between 0 and 1, got 0.0"),
        (1, ValueError, "fraction: expected a number between 0 and 1, got 1"),
        (-0.5, ValueError, "fraction: expected a number between 0 and 1"),
        (NAN, ValueError, "fraction: expected a number between 0 and 1, got nan"),
        (0.1, ValueError, "fraction: 0.1 of 4 queries leaves one part empty"),
        (0.9, ValueError, "fraction: 0.9 of 4 queries leaves one part empty"),
        ("0.5", TypeError, "fraction: expected a number, got str"),
        (True, TypeError, "fraction: expected a number, got bool"),
    ],
)
def test_split_refuses(fraction: float, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        plain(4).split(fraction)


def test_split_and_folds_refuse_one_group() -> None:
    table = plain(4, groups=["g"] * 4)
    with pytest.raises(ValueError, match=r"fraction: 0.5 of 4 queries in 1 groups leaves one part empty"):
        table.split(0.5)
    with pytest.raises(ValueError, match=r"n_folds: expected 2 to 1 \(the number of groups\), got 2"):
        table.folds(2)


@pytest.mark.parametrize(
    ("rng", "error", "message"),
    [
        ("0", TypeError, "rng: expected None, an int or a numpy Generator, got str"),
        (True, TypeError, "rng: expected None, an int or a numpy Generator, got bool"),
        (-1, ValueError, "rng: expected a seed >= 0, got -1"),
    ],
)
def test_rng_refused(rng: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        plain(4).split(0.5, rng=rng)  # type: ignore[arg-type]
    with pytest.raises(error, match=message):
        plain(4).folds(2, rng=rng)  # type: ignore[arg-type]


def test_folds_are_balanced_and_deterministic() -> None:
    table = plain(101)
    folds = table.folds(5)
    assert sorted(np.bincount(folds).tolist()) == [20, 20, 20, 20, 21]
    assert folds.tolist() == table.folds(np.int64(5), rng=0).tolist()  # type: ignore[arg-type]
    assert folds.tolist() != table.folds(5, rng=1).tolist()
    assert folds.tolist() == table.folds(5, rng=np.random.default_rng(0)).tolist()
    grouped = plain(12, groups=list("aaaaaabbbccd"))
    assert all(np.bincount(grouped.folds(2, rng=seed)).tolist() == [6, 6] for seed in range(10))


@pytest.mark.parametrize(
    ("n_folds", "error", "message"),
    [
        (1, ValueError, r"n_folds: expected 2 to 4 \(the number of queries\), got 1"),
        (5, ValueError, r"n_folds: expected 2 to 4 \(the number of queries\), got 5"),
        (2.0, TypeError, "n_folds: expected an int, got float"),
        (True, TypeError, "n_folds: expected an int, got bool"),
    ],
)
def test_folds_refuse(n_folds: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        plain(4).folds(n_folds)


@given(data=st.data(), n=st.integers(2, 40), seed=st.integers(0, 2**32), grouped=st.booleans())
def test_splits_and_folds_partition_the_rows(data: st.DataObject, n: int, seed: int, grouped: bool) -> None:
    groups = None
    if grouped:
        groups = data.draw(st.lists(st.integers(0, 6), min_size=n, max_size=n).filter(lambda g: len(set(g)) > 1))
    table = plain(n, groups=groups)
    units = list(range(n)) if groups is None else groups

    fraction = data.draw(st.floats(0.5 / n, 1 - 0.5 / n))
    first, second = table.split(fraction, rng=seed)
    assert sorted(first.ids + second.ids) == sorted(table.ids)
    assert min(len(first), len(second)) >= 1
    assert not {units[int(label)] for label in first.ids} & {units[int(label)] for label in second.ids}
    largest = max(Counter(units).values())
    assert abs(len(first) - fraction * n) <= (0.5 + 1e-9 if groups is None else largest)

    n_folds = data.draw(st.integers(2, len(set(units))))
    folds = table.folds(n_folds, rng=seed)
    assert folds.shape == (n,)
    sizes = np.bincount(folds, minlength=n_folds)
    assert len(sizes) == n_folds
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= largest
    assert len(set(zip(units, folds.tolist(), strict=True))) == len(set(units))


# Layouts


def test_wide_mapping() -> None:
    table = Outcomes.from_frame(WIDE)
    assert table.models == ("s/mall", "large")
    assert table.ids == ("q1", "q2", "q3")
    np.testing.assert_array_equal(table.quality, [[0, 1], [1, 1], [0.5, NAN]])
    np.testing.assert_array_equal(table.cost, [[0.1, 1], [0.2, 2], [0.3, 3]])
    assert list(table.queries) == ["text", "task", "length"]
    assert table.queries["text"][1] == 'Say "hi",\nplease'
    assert table.queries["length"].tolist() == [6, 16, 4]
    assert sorted(table.responses) == ["answer", "cost", "tokens"]
    assert table.responses["answer"].tolist() == [["4", "four"], [None, "hi"], ["dunno", "because"]]
    assert table.responses["tokens"].tolist() == [[1, 10], [2, 20], [3, 30]]
    np.testing.assert_array_equal(table.responses["cost"], table.cost)
    assert (table.groups, table.n_missing) == (None, 1)


def test_verified_quality_can_be_observed() -> None:
    table = Outcomes.from_frame(WIDE, verified=True)
    np.testing.assert_array_equal(table.responses["quality"], table.quality)
    assert table.responses_for([False, True]).column("quality")[0].tolist() == pytest.approx([NAN, 1], nan_ok=True)


def test_wide_needs_little() -> None:
    table = Outcomes.from_frame({"a|b|quality": [1, 0], "a|b|cost": [1, 2]})
    assert table.models == ("a|b",)
    assert table.ids == ("0", "1")
    assert dict(table.queries) == {}
    assert Outcomes.from_frame({"query_id": [5, 5], "a|quality": [1, 0], "a|cost": [1, 2]}).ids == (
        "5",
        "5#2",
    )


def test_columns_that_some_models_lack_are_missing_there() -> None:
    frame = {
        "a|quality": [1, 0],
        "b|quality": [1, 0],
        "a|cost": [1.0, 2.0],
        "b|answer": ["x", "y"],
        "a|tokens": [3, 4],
        "b|answer_only_none": [None, None],
        "a|vector": [[1.0, 2.0], None],
    }
    table = Outcomes.from_frame(frame)
    np.testing.assert_array_equal(table.cost, [[1, NAN], [2, NAN]])
    assert table.responses["answer"].tolist() == [[None, "x"], [None, "y"]]
    np.testing.assert_array_equal(table.responses["tokens"], [[3, NAN], [4, NAN]])
    assert table.responses["answer_only_none"].tolist() == [[None, None]] * 2
    assert table.responses["vector"].shape == (2, 2, 2)
    assert table.responses["vector"][0, 0].tolist() == [1.0, 2.0]
    assert np.isnan(table.responses["vector"][1]).all()


def test_columns_of_several_kinds() -> None:
    frame = {
        "a|quality": ["True", "0.5"],
        "a|cost": [Decimal("0.5"), None],
        "text": [1, 2],
        "task": [NAN, 3.0],
        "vector": [[1, 2], [3, 4]],
        "holes": [None, 2],
        "exact": [None, Decimal("0.5")],
        "flag": [True, False],
        "day": np.array(["2024-05-13", "NaT"], dtype="M8[D]"),
        "tags": [["x"], ["y", "z"]],
        "a|mixed": [1, 2],
        "b|mixed": ["x", None],
        "b|quality": [True, None],
        "b|cost": ["1e-3", "nan"],
    }
    table = Outcomes.from_frame(frame)
    np.testing.assert_array_equal(table.quality, [[1, 1], [0.5, NAN]])
    np.testing.assert_array_equal(table.cost, [[0.5, 0.001], [NAN, NAN]])
    assert table.queries["text"].tolist() == ["1", "2"]
    assert table.queries["task"].tolist() == [None, "3"]
    assert table.queries["vector"].shape == (2, 2)
    np.testing.assert_array_equal(table.queries["holes"], [NAN, 2.0])
    np.testing.assert_array_equal(table.queries["exact"], [NAN, 0.5])
    assert table.queries["flag"].dtype == bool
    assert table.queries["day"].tolist() == ["2024-05-13", None]
    assert table.queries["tags"].tolist() == ["['x']", "['y', 'z']"]
    assert table.responses["mixed"].tolist() == [["1", "x"], ["2", None]]


def test_routerbench_mapping() -> None:
    table = Outcomes.from_frame(ROUTERBENCH)
    assert table.models == ("m1", "m2")
    assert table.ids == ("arc.1", "arc.2")
    assert table.quality.tolist() == [[1.0, 0.25], [0.0, 0.5]]
    assert table.cost.tolist() == [[0.001, 0.01], [0.002, 0.02]]
    assert {name: column.tolist() for name, column in table.queries.items()} == {
        "text": ["Which?", "What?"],
        "task": ["arc", "arc"],
    }
    assert sorted(table.responses) == ["answer", "cost"]
    assert table.responses["answer"].tolist() == [["['A']", "['C']"], ["['B']", None]]
    assert_same(table, Outcomes.from_frame(ROUTERBENCH, layout="routerbench"))


def test_cost_may_be_another_column() -> None:
    frame = {name: values for name, values in WIDE.items() if not name.endswith("|cost")}
    table = Outcomes.from_frame(frame, cost="tokens")
    assert table.cost.tolist() == [[1, 10], [2, 20], [3, 30]]
    assert table.responses["cost"].tolist() == table.responses["tokens"].tolist() == table.cost.tolist()
    both = Outcomes.from_frame(WIDE, cost="tokens")
    assert both.cost.tolist() == both.responses["cost"].tolist() == table.cost.tolist()
    assert_same(Outcomes.from_frame(WIDE, cost="cost"), Outcomes.from_frame(WIDE))


BARE: dict[Any, Any] = {"a|quality": [1, 0], "a|cost": [1, 2]}


@pytest.mark.parametrize(
    ("frame", "options", "error", "message"),
    [
        (
            {"x": [1]},
            {},
            ValueError,
            "no known layout: 'wide' needs '<model>.quality'; 'routerbench' .* 'nvidia' .* found: 'x'$",
        ),
        ({f"c{i}": [1] for i in range(20)}, {}, ValueError, r"'c11', \.\.\. \(20 in all\)"),
        ({}, {}, ValueError, "columns found: none"),
        (
            {"a|cost": [1]},
            {"layout": "wide"},
            ValueError,
            "no models found, expected .* found: 'a.cost'",
        ),
        ({"x": [1]}, {"layout": "routerbench"}, ValueError, "no models found"),
        (
            BARE,
            {"layout": "tall"},
            ValueError,
            "layout: expected None or one of .wide., .routerbench., .*, got 'tall'",
        ),
        ({"a|quality": []}, {}, ValueError, "^frame has no rows"),
        ({**BARE, "text": ["x"]}, {}, ValueError, "columns differ in length: .*'text': 1"),
        ({**BARE, "text": "xy"}, {}, ValueError, "'text': expected one value per row, got 'xy'"),
        ({**BARE, 3: [1, 2]}, {}, TypeError, "expected str as names of columns, got 3"),
        ({**BARE, "b|cost": [1, 2]}, {}, ValueError, "model 'b' has a column 'cost' but no quality column"),
        ({**BARE, "a|": [1, 2]}, {}, ValueError, "column 'a.' has nothing after the '.'"),
        ({**BARE, "|quality": [1, 2]}, {}, ValueError, "models: expected unique, non-empty names"),
        ({**BARE, "query_id": ["x", None]}, {}, ValueError, r"column 'query_id' has no id \(row 1\)"),
        ({**BARE, "query_id": [NAN, 1.0]}, {}, ValueError, r"column 'query_id' has no id \(row 0\)"),
        (
            {**BARE, "a|v": [[1, 2], [1]]},
            {},
            ValueError,
            r"'a.v': expected vectors of one length, got 1 in 1 rows, and 2 \(row 0\)",
        ),
        (
            {**BARE, "b|quality": [1, 1], "a|v": [1, 2], "b|v": [[1], [2]]},
            {},
            ValueError,
            r"columns '<model>.v': expected one shape, got \[\(2,\), \(2, 1\)\]",
        ),
        (
            {"a|quality": ["1", "yes"], "a|cost": [1, 2]},
            {},
            ValueError,
            r"'a.quality': expected a number, got 'yes' for model 'a' \(row 1\)",
        ),
        (
            {"a|quality": [" 1", "1"], "a|cost": [1, 2]},
            {},
            ValueError,
            r"expected a number, got ' 1' for model 'a' \(row 0\)",
        ),
        (
            {"a|quality": ["1", "1_0"], "a|cost": [1, 2]},
            {},
            ValueError,
            r"expected a number, got '1_0' for model 'a' \(row 1\)",
        ),
        (
            {"a|quality": ["1", "?"], "a|cost": [1, 2]},
            {},
            ValueError,
            r"expected a number, got '\?' for model 'a' \(row 1\)",
        ),
        (
            {"a|quality": [[1], [0]], "a|cost": [1, 2]},
            {},
            ValueError,
            r"expected one number per row, got shape \(2, 1\)",
        ),
        (
            {"a|quality": ["inf", "1"], "a|cost": [1, 2]},
            {},
            ValueError,
            "column 'a.quality': .*, got inf for model 'a'",
        ),
        (
            {**BARE, "a|cost": [1, -2], "query_id": ["x", "y"]},
            {},
            ValueError,
            r"column 'a.cost': .*, got -2\.0 for query 'y', model 'a'",
        ),
        ({"a|quality": [1]}, {}, ValueError, "cost: frame has no cost column; name .* found: none"),
        (
            {"a|quality": [1], "a|tokens": [2], "a|answer": ["x"]},
            {},
            ValueError,
            "cost: frame has no cost column; .* numeric per-model columns found: 'tokens'$",
        ),
        (
            BARE,
            {"cost": "tokens"},
            ValueError,
            "cost: frame has no per-model column 'tokens'; .* found: 'cost'",
        ),
        (BARE, {"cost": "quality"}, ValueError, "cost: frame has no per-model column 'quality'"),
        (
            BARE,
            {"cost": 1},
            TypeError,
            "cost: expected None, the name of a per-model column, or several different ones, got 1",
        ),
        (
            {**BARE, "a|answer": ["x", "y"]},
            {"cost": "answer"},
            ValueError,
            "'a.answer': expected a number, got",
        ),
        (
            {**ROUTERBENCH, "m1": ["1.0", "good"]},
            {},
            ValueError,
            "column 'm1': expected a number, got 'good' for .*model 'm1'",
        ),
        (
            {**ROUTERBENCH, "m1|answer": ["A", "B"]},
            {},
            ValueError,
            "columns 'm1.model_response' and 'm1.answer' mean the same",
        ),
        (
            {"a|total_cost": [1], "b": [1], "b|total_cost": [1]},
            {},
            ValueError,
            "model 'a' has a column 'cost' but no quality column",
        ),
    ],
)
def test_frames_refused(
    frame: dict[str, list[Any]], options: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Outcomes.from_frame(frame, **options)  # type: ignore[arg-type]


# Dataframes


@pytest.mark.parametrize("library", ["pyarrow", "pandas", "polars"])
def test_dataframes_are_read_alike(library: str) -> None:
    pytest.importorskip("narwhals")
    module = pytest.importorskip(library)
    make = module.table if library == "pyarrow" else module.DataFrame
    frame = {
        **WIDE,
        "holes": [1, None, 3],
        "flag": [True, None, False],
        "large|vector": [[1.0, 2.0], None, [3.0, 4.0]],
    }
    table = Outcomes.from_frame(make(frame))
    assert_same(table, Outcomes.from_frame(frame))
    assert_same(Outcomes.from_frame(make(ROUTERBENCH)), Outcomes.from_frame(ROUTERBENCH))
    with pytest.raises(ValueError, match=r"^frame has no rows"):
        Outcomes.from_frame(make({"a|quality": [], "a|cost": []}))


def test_pandas_categories_are_text_and_its_missing_values_are_missing() -> None:
    pytest.importorskip("narwhals")
    pandas = pytest.importorskip("pandas")
    columns = {
        "level": pandas.Categorical([2, 1]),
        "note": pandas.array(["x", None], dtype="string"),
        "count": pandas.array([1, None], dtype="Int64"),
        "flag": pandas.array([True, None], dtype="boolean"),
        "any": pandas.Series([pandas.NA, "x"], dtype=object),
    }
    queries = Outcomes.from_frame(pandas.DataFrame({**BARE, **columns})).queries
    assert queries["level"].tolist() == ["2", "1"]
    assert queries["note"].tolist() == ["x", None]
    assert queries["any"].tolist() == [None, "x"]
    np.testing.assert_array_equal(queries["count"], [1.0, NAN])
    np.testing.assert_array_equal(queries["flag"], [1.0, NAN])


def test_repeated_columns_of_a_frame_are_refused() -> None:
    pytest.importorskip("narwhals")
    pyarrow = pytest.importorskip("pyarrow")
    twice = pyarrow.Table.from_arrays([pyarrow.array([1])] * 2, names=["a|quality", "a|quality"])
    with pytest.raises(ValueError, match=r"(?s)frame: .*a\|quality"):
        Outcomes.from_frame(twice)


def test_what_is_no_frame_is_refused() -> None:
    pytest.importorskip("narwhals")
    with pytest.raises(TypeError, match=r"frame: expected an eager dataframe .* got list"):
        Outcomes.from_frame([1, 2])
    polars = pytest.importorskip("polars")
    with pytest.raises(TypeError, match=r"collect a lazy one first.* got LazyFrame"):
        Outcomes.from_frame(polars.LazyFrame(BARE))


# Files


@pytest.mark.parametrize("frame", [WIDE, ROUTERBENCH], ids=["wide", "routerbench"])
def test_parquet_round_trip(tmp_path: Path, frame: dict[str, list[Any]]) -> None:
    path = write_parquet(tmp_path / "table.parquet", frame)
    assert_same(Outcomes.from_file(path), Outcomes.from_frame(frame))
    assert_same(Outcomes.from_file(str(path), verified=True), Outcomes.from_frame(frame, verified=True))


@pytest.mark.parametrize("frame", [WIDE, ROUTERBENCH], ids=["wide", "routerbench"])
def test_csv_round_trip(tmp_path: Path, frame: dict[str, list[Any]]) -> None:
    needs_data_extra()
    path = write_csv(tmp_path / "table.CSV", frame)
    expected = Outcomes.from_frame(frame)
    read = Outcomes.from_file(path)
    np.testing.assert_array_equal(read.quality, expected.quality)
    np.testing.assert_array_equal(read.cost, expected.cost)
    assert (read.models, read.ids) == (expected.models, expected.ids)
    assert {n: c.tolist() for n, c in read.queries.items()} == {n: c.tolist() for n, c in expected.queries.items()}
    assert {n: c.tolist() for n, c in read.responses.items()} == {n: c.tolist() for n, c in expected.responses.items()}


def test_csv_columns_are_numbers_only_if_all_cells_are(tmp_path: Path) -> None:
    needs_data_extra()
    frame = {
        "query_id": ["007", "008"],
        "task": ["1", "2"],
        "size": ["3", ""],
        "code": ["1", "x"],
        "none": ["", ""],
        "a|quality": ["True", "1.0"],
        "b|quality": ["FALSE", ""],
        "a|cost": ["1", "2"],
        "b|cost": ["1", "2.5"],
        "a|answer": ["1", "2"],
        "b|answer": ["one", ""],
        "a|tokens": ["1", "2"],
        "b|tokens": ["", ""],
        "b|passed": ["true", "False"],
    }
    table = Outcomes.from_file(write_csv(tmp_path / "table.csv", frame))
    assert table.ids == ("007", "008")
    assert table.queries["task"].tolist() == ["1", "2"]
    np.testing.assert_array_equal(table.queries["size"], [3.0, NAN])
    assert table.queries["code"].tolist() == ["1", "x"]
    assert table.queries["none"].tolist() == [None, None]
    np.testing.assert_array_equal(table.quality, [[1, 0], [1, NAN]])
    assert table.responses["answer"].tolist() == [["1", "one"], ["2", None]]
    np.testing.assert_array_equal(table.responses["tokens"], [[1, NAN], [2, NAN]])
    np.testing.assert_array_equal(table.responses["passed"], [[NAN, 1], [NAN, 0]])


def test_csv_with_a_byte_order_mark_and_a_long_prompt(tmp_path: Path) -> None:
    needs_data_extra()
    long = "Why?\n" * 1_000_000
    path = tmp_path / "table.csv"
    path.write_text(f'\ufeffquery_id,text,a|quality,a|cost\n01,"{long}",1,2\n', encoding="utf-8")
    table = Outcomes.from_file(path)
    assert table.ids == ("01",)
    assert table.queries["text"][0] == long


def test_csv_in_several_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_data_extra()
    monkeypatch.setattr(headrace.outcomes.readers.delimited, "MAX_BLOCK", 200)
    n = 50
    text = ['one "line"\nand, another\n'] * n
    frame: dict[str, Any] = {"text": text, "a|quality": [1] * n, "a|cost": [0.5] * n}
    table = Outcomes.from_file(write_csv(tmp_path / "table.csv", frame))
    assert table.queries["text"].tolist() == text


def test_csv_types_do_not_depend_on_the_first_rows(tmp_path: Path) -> None:
    needs_data_extra()
    n = 50_000
    frame = {"query_id": [*range(n), "last"], "a|quality": [1] * n + [0.5], "a|cost": [2] * n + [0.25]}
    table = Outcomes.from_file(write_csv(tmp_path / "table.csv", frame))
    assert (table.ids[-1], table.quality[-1, 0], table.cost[-1, 0]) == ("last", 0.5, 0.25)


def test_save_refuses_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    with pytest.raises(ValueError, match=r"path: expected a name that ends in \.parquet, .*, got 'table\.txt'"):
        small().save(tmp_path / "table.txt")
    small().save(path)
    before = path.read_bytes()
    objects = np.empty((4, 3), dtype=object)
    objects[:] = {"a": 1}
    with pytest.raises(TypeError, match="responses: column 'calls': expected text or None in order to save, got dict"):
        small(responses={"calls": objects}).save(path)
    with pytest.raises(FileNotFoundError):
        small().save(tmp_path / "nowhere" / "table.jsonl")
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [path]


def test_save_that_fails_half_way_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.jsonl"
    small().save(path)
    before = path.read_bytes()

    def fail(path: Path, columns: object) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(headrace.outcomes.readers.written, "_write_lines", fail)
    with pytest.raises(OSError, match="disk full"):
        small().save(path)
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["t.pkl", "t.pickle", "t.PKL", "t.pkl.gz"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"a pickle is refused: it is unsafe to load.*save it as Parquet"):
        Outcomes.from_file(tmp_path / name)


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.jsonl", "t.txt"])
def test_missing_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"no such file: .*{name}"):
        Outcomes.from_file(tmp_path / name)


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("x")
    with pytest.raises(ValueError, match=r"ends in \.parquet, \.csv, \.tsv, \.json or \.jsonl .*, got '\.txt'"):
        Outcomes.from_file(path)


@pytest.mark.parametrize("kept", [0, 3, 0.5, 0.95])
def test_truncated_parquet(tmp_path: Path, kept: float) -> None:
    path = write_parquet(tmp_path / "table.parquet", WIDE)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else int(kept)])
    with pytest.raises(ValueError, match=r"table\.parquet: can't be read as Parquet"):
        Outcomes.from_file(path)


@pytest.mark.parametrize("damaged", [b"a-long-m\xff\xfeker", b"shorter"])
def test_parquet_with_damaged_text(tmp_path: Path, damaged: bytes) -> None:
    path = write_parquet(tmp_path / "table.parquet", {**BARE, "text": ["a-long-marker", "y"]})
    whole = path.read_bytes()
    assert b"a-long-marker" in whole
    path.write_bytes(whole.replace(b"a-long-marker", damaged, 1))
    with pytest.raises(ValueError, match=r"table\.parquet: can't be read as Parquet"):
        Outcomes.from_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"table\.csv has no rows"),
        (b"query_id,a|quality,a|cost\n", r"table\.csv has no rows"),
        (b"\xef\xbb\xbf", r"table\.csv: can't be read as CSV"),
        (b"\n\n", r"table\.csv: can't be read as CSV"),
        (
            b"query_id,a|quality,a|cost\nq1,1,1\nq2,1",
            r"table\.csv: can't be read as CSV: expected 3 cells, got 2 for query 'q2' \(line 3\)",
        ),
        (b'query_id,a|quality,a|cost\nq1,1,1\n"q2,1,1\n', r"table\.csv: can't be read as CSV"),
        (b"query_\xffid,a|quality,a|cost\nq1,1,1\n", r"table\.csv: can't be read as CSV"),
        (b"query_id,a|quality,a|cost\nq\xff,1,1\n", r"table\.csv: can't be read as CSV"),
        (b"a|quality,a|cost,a|cost\n1,1,1\n", r"(?s)table\.csv: .*a\|cost"),
        (
            b"query_id,a|quality,a|cost\n,1,1\n",
            r"table\.csv: column 'query_id' has no id \(line 2 of table\.csv\)",
        ),
        (b"a,b\n1,2\n", r"table\.csv: no known layout: .*columns found: 'a', 'b'"),
        (b"a|quality,a|cost\n0.5,cheap\n", "column 'a.cost': expected a number, got 'cheap' for model 'a'"),
    ],
)
def test_csv_refused(tmp_path: Path, content: bytes, message: str) -> None:
    needs_data_extra()
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        Outcomes.from_file(path)


def test_parquet_without_rows(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "table.parquet", {name: [] for name in WIDE})
    with pytest.raises(ValueError, match=r"table\.parquet has no rows"):
        Outcomes.from_file(path)


# Imports


def test_import_needs_numpy_alone() -> None:
    extras = {"pyarrow", "narwhals", "pandas", "polars"}
    code = f"import sys, headrace.outcomes.outcomes; print(sorted({extras} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["table.parquet", "table.csv"])
def test_missing_pyarrow_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / name
    path.write_text("a|quality,a|cost\n1,2\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"needs pyarrow: pip install 'headrace\[data\]'"):
        Outcomes.from_file(path)


def test_missing_narwhals_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(ImportError, match=r"reading a dataframe needs narwhals: pip install 'headrace\[data\]'"):
        Outcomes.from_frame(object())
    assert len(Outcomes.from_frame(WIDE)) == 3


def test_docstrings_run() -> None:
    results = [doctest.testmod(module) for module in (headrace.outcomes.outcomes, headrace.estimators.responses)]
    assert [result.failed for result in results] == [0, 0]
    assert all(result.attempted > 5 for result in results)
