"""What a table's columns bring, and which of them know the outcome."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.diagnosis import UsedColumns, used_columns
from headrace.diagnosis.used_columns import MOST_LINES, unused_models

N = 1_500


@pytest.fixture(scope="module")
def table() -> hr.Outcomes:
    """Make queries with a size that matters, a task that matters, and what a run says of itself."""
    rng = np.random.default_rng(5)
    size, task = rng.normal(size=N), rng.integers(0, 4, size=N)
    hidden = rng.normal(size=N)
    ability = np.array([-0.5, 0.3, 1.2])
    margin = (
        ability + 0.8 * size[:, None] + 0.5 * (task[:, None] == 0) + 0.6 * hidden[:, None] + rng.normal(size=(N, 3))
    )
    quality = (margin > 0.0).astype(float)
    return hr.Outcomes(
        models=["small", "medium", "large"],
        quality=quality,
        cost=np.array([1.0, 3.0, 10.0]) * rng.uniform(0.9, 1.1, size=(N, 3)),
        queries={
            "size": size,
            "task": np.array(["a", "b", "c", "d"], dtype=object)[task],
            "noise": rng.normal(size=N),
            "label of noise": np.array(["x", "y", "z"], dtype=object)[rng.integers(0, 3, size=N)],
        },
        responses={"logprob": margin + rng.normal(size=(N, 3)), "noise": rng.normal(size=(N, 3))},
    )


@pytest.fixture(scope="module")
def used(table: hr.Outcomes) -> UsedColumns:
    return used_columns(table)


def gains(used: UsedColumns) -> dict[tuple[str, str], tuple[float, float]]:
    return {
        (c.kind, c.name): (c.gain, c.std_error) for c in used.columns if c.gain is not None and c.std_error is not None
    }


def with_query(table: hr.Outcomes, name: str, values: Any) -> hr.Outcomes:
    return replace(table, queries={**table.queries, name: values})


def winner(table: hr.Outcomes) -> Any:
    """Name the cheapest model among the best ones."""
    first = table.quality.argmax(axis=1)
    return np.array(table.models, dtype=object)[first]


def test_columns_that_matter_gain_and_noise_does_not(used: UsedColumns) -> None:
    found = gains(used)
    for key in (("query", "size"), ("query", "task"), ("response", "logprob")):
        assert found[key][0] > 3.0 * found[key][1] > 0.0, key
    for key in (("query", "noise"), ("query", "label of noise"), ("response", "noise")):
        assert abs(found[key][0]) < 3.0 * found[key][1] < 0.003, key
    assert next(iter(used.columns)).name == "size"
    assert used.error is not None
    assert 0.1 < used.error < 0.25


def test_a_gain_is_what_a_router_s_estimates_lose_without_the_column(table: hr.Outcomes, used: UsedColumns) -> None:
    from headrace.beliefs.fitting import cross_fit

    def error(part: hr.Outcomes) -> float:
        fitted = cross_fit(part, hr.estimators.LinearQuality(), hr.estimators.ConstantCost(), n_folds=5, seed=0)
        return float(fitted.held_out_errors(max_depth=0).mean())

    gain, std_error = gains(used)["query", "size"]
    assert error(table.without("size")) - error(table) == pytest.approx(gain, abs=3.0 * std_error)
    assert error(table) == pytest.approx(used.error, abs=0.002)


def test_honest_columns_are_no_suspects(used: UsedColumns) -> None:
    assert used.suspects == ()
    assert not any(oddity.kind == "suspect" for oddity in used.oddities)


def test_honest_columns_of_real_and_simulated_tables_are_no_suspects() -> None:
    assert used_columns(hr.datasets.load_quickstart()).suspects == ()
    for noise in ("low", "medium"):
        assert used_columns(hr.datasets.simulate(800, 3, noise=noise)).suspects == ()


def test_a_task_that_says_which_model_is_better_is_no_suspect() -> None:
    rng = np.random.default_rng(3)
    code = rng.random(1000) < 0.5
    chance = np.where(code[:, None], [0.85, 0.35], [0.3, 0.8])
    specialists = hr.Outcomes(
        models=["coder", "writer"],
        quality=rng.random((1000, 2)) < chance,
        cost=[1, 1],
        queries={"task": np.where(code, "code", "prose").astype(object)},
    )
    assert used_columns(specialists).suspects == ()


@pytest.mark.parametrize("name", ["winner", "winner's number", "split", "difficulty_posthoc", "solved", "noisy"])
def test_a_planted_leak_is_named(table: hr.Outcomes, name: str) -> None:
    mean = table.quality.mean(axis=1)
    leaks = {
        "winner": winner(table),
        "winner's number": table.quality.argmax(axis=1),
        "split": np.where(mean < 0.5, "hard", "easy").astype(object),
        "difficulty_posthoc": 1.0 - mean,
        "solved": table.quality[:, 1],
        "noisy": mean + 0.15 * np.random.default_rng(1).normal(size=N),
    }
    used = used_columns(with_query(table, name, leaks[name]))
    assert used.suspects == (name,)
    first = str(used).splitlines()[0]
    assert first.startswith(f"suspect: the query column {name!r}" if "'" not in name else "suspect: the query column")
    assert f"--ignore {name}" in first
    # A second leak doesn't hide the first, though with the other there neither gains anything.
    twice = used_columns(with_query(with_query(table, name, leaks[name]), "twin", leaks[name]))
    assert set(twice.suspects) == {name, "twin"}


def test_a_winner_drawn_among_equals_is_named(table: hr.Outcomes) -> None:
    ties = table.quality + 1e-3 * np.random.default_rng(2).random(table.quality.shape)
    names = np.array(table.models, dtype=object)[ties.argmax(axis=1)]
    used = used_columns(with_query(table, "best_model", names))
    assert used.suspects == ("best_model",)
    assert "wins 100% of what a perfect choice would" in str(used)


def test_what_a_run_shows_of_its_quality_is_told(table: hr.Outcomes) -> None:
    responses = {**table.responses, "correct": table.quality, "quality": table.quality}
    used = used_columns(replace(table, responses=responses))
    assert [oddity.names for oddity in used.oddities if oddity.kind == "shows quality"] == [("correct",)]


def test_the_rest_comes_in_the_order_of_importance(table: hr.Outcomes) -> None:
    free = np.where(np.arange(N)[:, None] % 7 == 0, 0.0, table.cost)
    odd = replace(table, models=["gpt-4o", "GPT 4o", "large"], cost=free).take([*range(400), *range(20)])
    odd = with_query(odd, "winner", winner(odd))
    used = used_columns(odd)
    assert [oddity.kind for oddity in used.oddities] == [
        "suspect",
        "repeated rows",
        "twin names",
        *["zero costs"] * 3,
        "unit",
    ]
    assert used.oddities[1].text.startswith("rows that repeat another one in every column: 20 of 420 for")
    assert used.oddities[2].names == ("gpt-4o", "GPT 4o")
    assert used.oddities[3].text.startswith("61 of 420 runs of 'gpt-4o' cost 0")
    assert json.loads(json.dumps(used.to_dict()))["oddities"][0]["names"] == ["winner"]
    many = replace(odd, models=list("abc"), queries={**odd.queries, **{f"winner {i}": winner(odd) for i in range(12)}})
    lines = str(used_columns(many)).splitlines()
    assert len(lines) == MOST_LINES
    assert lines[-1].endswith("more lines: --json, or to_dict()")


def test_models_that_no_budget_uses() -> None:
    table = hr.datasets.simulate(400, 3)
    worse = replace(
        table,
        models=["a", "b", "c", "worse"],
        quality=np.column_stack([table.quality, np.zeros(400)]),
        cost=np.column_stack([table.cost, np.ones(400)]),
        responses={},
        queries={},
    )
    router = hr.Router(quality="constant", rule="routing").fit(worse)
    assert "worse" in unused_models(router.walked_.stops, worse.models)
    assert unused_models(router.walked_.stops, worse.models) != worse.models
    used = used_columns(worse, stops=router.walked_.stops)
    assert any(oddity.kind == "unused model" and "worse" in oddity.names for oddity in used.oddities)


def test_few_rows_and_bad_columns_are_told(table: hr.Outcomes) -> None:
    few = used_columns(table.take(range(30)))
    assert few.error is None
    assert "what columns bring wasn't measured: 30 complete queries are too few" in str(few)
    assert {column.gain for column in few.columns} == {None}
    infinite = used_columns(with_query(table, "ratio", np.where(np.arange(N) == 3, np.inf, 1.0)))
    assert [oddity.names for oddity in infinite.oddities if oddity.kind == "unusable"] == [("ratio",)]
    assert "queries: column 'ratio': expected numbers up to" in str(infinite)
    with pytest.raises(ValueError, match="max_queries: expected an int >= 50, got 3"):
        used_columns(table, max_queries=3)


def test_missing_cells_groups_and_odd_columns_do_no_harm(table: hr.Outcomes) -> None:
    quality = table.quality.copy()
    quality[::5, 0] = np.nan
    holed = replace(
        table,
        quality=quality,
        groups=np.arange(N) // 3,
        queries={
            **table.queries,
            "constant": np.ones(N),
            "empty": np.full(N, np.nan),
            "nothing": np.full(N, None, dtype=object),
            "vector": np.random.default_rng(0).normal(size=(N, 70)),
        },
        responses={**table.responses, "answer": np.full((N, 3), "yes", dtype=object)},
    )
    used = used_columns(holed)
    assert used.n_queries == N * 4 // 5
    assert used.suspects == ()
    assert gains(used)["query", "constant"][0] == pytest.approx(0.0, abs=1e-12)
    bare = used_columns(replace(table, queries={}, responses={}))
    assert bare.columns == ()
    assert bare.error == pytest.approx(float(table.quality.var(axis=0).mean()), rel=0.01)
    alone = used_columns(table.select(["small"]))
    assert alone.suspects == ()


def test_of_very_many_columns_the_likeliest_are_looked_at(table: hr.Outcomes) -> None:
    rng = np.random.default_rng(4)
    noise = {f"n{i}": rng.normal(size=N) * 1e200 ** (i % 2) for i in range(400)}
    wide = replace(table, queries={**noise, **table.queries, "solved": table.quality[:, 0]})
    started = time.process_time()
    used = used_columns(wide)
    assert time.process_time() - started < 20.0
    assert used.suspects == ("solved",)
    assert len(used.columns) == 400 + 5 + 2
    assert gains(used)["query", "solved"][0] > 0.0
    assert "size" in {column.name for column in used.columns if column.gain is not None}


@pytest.mark.parametrize("seed", range(6))
def test_rows_that_repeat_are_equal_in_every_cell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 120

    def mostly(values: Any, *shape: int) -> Any:
        """Draw cells most of which are the first value."""
        cells = np.array(values, dtype=object if None in values else None)
        return cells[rng.integers(1, len(cells), (n, *shape)) * (rng.random((n, *shape)) < 0.04)]

    table = hr.Outcomes(
        models=["a", "b"],
        quality=mostly([0.0, 1.0], 2),
        cost=[1.0, 2.0],
        queries={
            "text": [f"question {row // 2}" for row in range(n)],
            "word": mostly(["", "1", "True", "None", None]),
            "wide": mostly([0.0, -0.0, np.nan, 1.0], 3),
            "empty": np.empty((n, 0)),
        },
        responses={"answer": mostly(["", "None", None], 2), "sure": mostly([False, True], 2)},
    )
    columns = [table.quality, *table.queries.values(), *table.responses.values()]
    # Minus zero is another cell than zero: a log that was joined or read twice has the same one.
    rows = [repr([column[row].tolist() if column.ndim > 1 else column[row] for column in columns]) for row in range(n)]
    n_repeated = n - len(set(rows))
    assert 0 < n_repeated < n // 2
    (told,) = [oddity.text for oddity in used_columns(table).oddities if oddity.kind == "repeated rows"]
    assert f"every column: {n_repeated} of {n} for " in told


def test_a_large_table_takes_seconds() -> None:
    rng = np.random.default_rng(0)
    n, k = 12_000, 5
    large = hr.Outcomes(
        models=list("abcde"),
        quality=rng.random((n, k)) < 0.6,
        cost=np.arange(1.0, k + 1.0),
        queries={"text": [f"question {i}" for i in range(n)], **{f"n{i}": rng.normal(size=n) for i in range(10)}},
        responses={"answer": rng.integers(0, 4, (n, k)).astype(str), "logprob": rng.normal(size=(n, k))},
    )
    started = time.process_time()
    used = used_columns(large)
    assert time.process_time() - started < 10.0
    assert used.n_queries == 2000
    assert used_columns(large).to_dict() == used.to_dict()
