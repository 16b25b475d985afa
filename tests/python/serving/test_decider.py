"""Decisions for tables: columns of Arrow tables, the decider against single decisions, and files in chunks."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import headrace as hr
from headrace.datasets import NoisyOracle, simulate
from headrace.policy import Policy
from headrace.policy.hashing import fold_of, folds_of, share_of, shares_of
from headrace.serving import BeliefDecider, decide_file
from headrace.serving.frames import arrow_table, column_of

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")

MODELS = ("small", "medium", "large")
POLICY = Policy(MODELS, "cascade-routing", {"max_depth": 3}, (150.0, 60.0), 0.4, seed=3)


def beliefs(n: int, seed: int = 0, k: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    run = rng.uniform(size=(n, k)) < 0.2
    return {
        "query_id": [f"q-{seed}-{row}" for row in range(n)],
        "quality": rng.uniform(size=(n, k)),
        "cost": rng.uniform(0.0001, 0.005, size=(n, k)),
        "variance": rng.uniform(0.0, 0.1, size=(n, k)),
        "run": run,
    }


def as_arrow(columns: dict[str, Any], *, fixed: bool = True) -> pa.Table:
    def lists(values: Any) -> Any:
        flat = pa.array(values.ravel())
        if fixed:
            return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        ends = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), flat)

    return pa.table({name: values if isinstance(values, list) else lists(values) for name, values in columns.items()})


def one_by_one(policy: Policy, columns: dict[str, Any]) -> list[str | None]:
    chosen: list[str | None] = []
    for row, query_id in enumerate(columns["query_id"]):
        rule = policy.rule_for(query_id)
        decision = rule.select(
            columns["quality"][row], columns["cost"][row], variance=columns["variance"][row], run=columns["run"][row]
        )
        chosen.append(None if decision.next is None else policy.models[decision.next])
    return chosen


# Hashes of many ids


@pytest.mark.parametrize("seed", [0, 7])
def test_hashes_of_many_ids_are_those_of_each(seed: int) -> None:
    ids = ["", "a", "ü", "q-17", "x" * 300]
    assert shares_of(seed, ids).tolist() == [share_of(seed, name) for name in ids]
    assert folds_of(seed, ids, 5).tolist() == [fold_of(seed, name, 5) for name in ids]
    assert len(shares_of(seed, [])) == 0


# Columns of Arrow tables


def test_lists_of_numbers_are_seen_where_they_are() -> None:
    values = np.random.default_rng(0).uniform(size=(100, 4))
    for fixed in (True, False):
        table = as_arrow({"quality": values}, fixed=fixed)
        for part, wanted in ((table, values), (table.slice(20, 30), values[20:50])):
            column = column_of(part, "quality")
            np.testing.assert_array_equal(column, wanted)
            assert np.shares_memory(column, values)


def test_polars_arrays_are_not_copied_either() -> None:
    values = np.random.default_rng(0).uniform(size=(100, 4))
    frame = polars.DataFrame({"quality": polars.Series(values, dtype=polars.Array(polars.Float64, 4))})
    column = column_of(arrow_table(frame), "quality")
    np.testing.assert_array_equal(column, values)
    assert np.shares_memory(column, frame["quality"].explode().to_numpy())


def test_other_columns_are_read() -> None:
    table = pa.table({"n": [1, 2], "gap": pa.array([0.5, None]), "text": ["a", None], "flag": [True, False]})
    assert column_of(table, "n").tolist() == [1, 2]
    np.testing.assert_array_equal(column_of(table, "gap"), [0.5, np.nan])
    assert column_of(table, "text").tolist() == ["a", None]
    assert column_of(table, "flag").tolist() == [True, False]
    for kind in (pa.list_(pa.float64(), 2), pa.list_(pa.float64())):
        lists = pa.table({"x": pa.array([[1.0, 2.0], None, [3.0, 4.0]], kind)})
        np.testing.assert_array_equal(column_of(lists, "x"), [[1.0, 2.0], [np.nan, np.nan], [3.0, 4.0]])
    chunked = pa.concat_tables([as_arrow({"x": np.ones((2, 3))}), as_arrow({"x": np.zeros((1, 3))})])
    assert column_of(chunked, "x").tolist() == [[1.0] * 3, [1.0] * 3, [0.0] * 3]
    assert column_of(chunked.slice(0, 0), "x").shape == (0, 3)
    frame = pandas.DataFrame({"n": [3, 4]})
    assert column_of(arrow_table(frame), "n").tolist() == [3, 4]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[1.0, 2.0], None, [1.0]]), "expected lists of one length, got 2 and 1"),
        (pa.array([[1.0], [1.0, 2.0]]), "expected lists of one length, got 1 and 2"),
    ],
)
def test_lists_that_make_no_array_are_refused(column: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"column 'x': {message}"):
        column_of(pa.table({"x": column}), "x")


def test_no_table_and_no_column() -> None:
    with pytest.raises(TypeError, match="frame: expected an Arrow table or a data frame, got list"):
        arrow_table([1, 2])
    with pytest.raises(ValueError, match="column 'y': not in the table; it has x"):
        column_of(pa.table({"x": [1]}), "y")


# A policy on stored beliefs


@pytest.mark.parametrize("fixed", [True, False])
def test_a_policy_decides_a_table_as_it_decides_each_row(fixed: bool) -> None:
    columns = beliefs(200)
    wanted = one_by_one(POLICY, columns)
    assert len(set(wanted)) == 4  # all models, and stops
    decide = BeliefDecider(POLICY)
    table = as_arrow(columns, fixed=fixed)
    decided = decide(table)
    assert decided.column_names == [*table.column_names, "next"]
    assert decided.column("next").to_pylist() == wanted
    assert decide(table.to_batches()[0]).column("next").to_pylist() == wanted
    # Again, the column is replaced.
    assert decide(decided).column("next").to_pylist() == wanted
    from_mapping = decide(columns)
    assert from_mapping["next"].tolist() == wanted
    assert set(from_mapping) == {*columns, "next"}
    assert BeliefDecider(POLICY, threads=2)(table).equals(decided)
    assert pickle.loads(pickle.dumps(decide))(table).equals(decided)


def test_columns_of_single_models_do_as_well() -> None:
    columns = beliefs(50)
    wide = {"query_id": columns["query_id"]}
    for name in ("quality", "cost", "variance", "run"):
        wide |= {f"{model}|{name}": columns[name][:, j] for j, model in enumerate(MODELS)}
    assert BeliefDecider(POLICY)(pa.table(wide)).column("next").to_pylist() == one_by_one(POLICY, columns)


def test_correlated_and_one_factor_beliefs() -> None:
    columns = beliefs(40)
    loading = np.full((40, 3), 0.2)
    covariance = np.stack([np.diag(row) for row in columns["variance"]]) + 0.04
    of_policy = POLICY.select_batch(
        columns["quality"], columns["cost"], ids=columns["query_id"], covariance=covariance, run=columns["run"]
    )
    without = {name: values for name, values in columns.items() if name != "variance"}
    decided = BeliefDecider(POLICY)(without | {"covariance": covariance.reshape(40, 9)})
    assert decided["next"].tolist() == [None if j < 0 else MODELS[j] for j in of_policy]
    factor = BeliefDecider(POLICY)(columns | {"loading": loading})
    rows = POLICY.select_batch(
        columns["quality"],
        columns["cost"],
        ids=columns["query_id"],
        variance=columns["variance"],
        loading=loading,
        run=columns["run"],
    )
    assert factor["next"].tolist() == [None if j < 0 else MODELS[j] for j in rows]


def test_several_costs_are_added_up_at_the_rates_of_the_policy() -> None:
    columns = beliefs(60)
    policy = dataclasses.replace(POLICY, costs=("usd", "seconds"), rates=(1.0, 0.002))
    seconds = np.random.default_rng(1).uniform(size=(60, 3))
    cost = columns.pop("cost")
    decided = BeliefDecider(policy)(columns | {"usd": cost, "seconds": seconds})
    summed = BeliefDecider(POLICY)(columns | {"cost": cost + 0.002 * seconds})
    assert decided["next"].tolist() == summed["next"].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality": None}, r"batch: expected a column 'quality', lists of 3 numbers, or 'small\|quality' and so on"),
        ({"cost": None}, r"batch: expected a column 'cost', lists of 3 numbers"),
        ({"query_id": None}, "batch: expected a column 'query_id': the policy mixes two rules by it"),
        ({"quality": np.ones((5, 2))}, r"column 'quality': expected lists of 3 numbers, got shape \(5, 2\)"),
        ({"quality": np.full((5, 3), np.nan)}, "quality"),
    ],
)
def test_batches_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    columns = {name: values for name, values in (beliefs(5) | change).items() if values is not None}
    with pytest.raises(ValueError, match=message):
        BeliefDecider(POLICY)(columns)


def test_a_policy_of_one_rule_needs_no_ids() -> None:
    columns = beliefs(20)
    alone = dataclasses.replace(POLICY, parameters=(80.0, 80.0))
    del columns["query_id"]
    assert BeliefDecider(alone)(columns)["next"].shape == (20,)


def test_what_is_no_policy_is_refused() -> None:
    with pytest.raises(TypeError, match="policy: expected a Policy, got str"):
        BeliefDecider("policy.json")  # type: ignore[arg-type]
    router = hr.Router(quality=NoisyOracle(), cost="constant").fit(simulate(60, 3))
    with pytest.raises(ValueError, match="select_batch: no budget yet"):
        router.select_batch({})


# A router on queries


@pytest.fixture(scope="module")
def halves() -> tuple[hr.Outcomes, hr.Outcomes]:
    first, second = hr.datasets.load_quickstart().take(np.arange(500)).split(0.6)
    return first, second


@pytest.mark.parametrize("rule", ["cascade-routing", "routing", "threshold-cascade", "index"])
def test_a_router_decides_a_batch_as_its_sessions_do(rule: str, halves: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    fitting, fresh = halves
    router = hr.Router(rule=rule, quality="linear").fit(fitting, budget=100.0)
    n, models = fresh.n_queries, fresh.models
    run = np.random.default_rng(0).uniform(size=(n, len(models))) < 0.3
    chosen = router.select_batch(fresh.queries, ids=fresh.ids, responses=fresh.responses_for(run))
    for row in range(n):
        session = router.start({name: values[row] for name, values in fresh.queries.items()}, id=fresh.ids[row])
        for j in np.flatnonzero(run[row]):
            session.observe(models[j], {name: values[row, j] for name, values in fresh.responses.items()})
        assert (None if chosen[row] < 0 else models[chosen[row]]) == session.next()
    # A batch of one is decided by itself.
    for row in range(0, n, 4):
        one = fresh.take([row])
        alone = router.select_batch(one.queries, ids=one.ids, responses=one.responses_for(run[row : row + 1]))
        assert alone.tolist() == [chosen[row]]
    # Without ids, those of the content.
    some = router.select_batch({name: values[:9] for name, values in fresh.queries.items()})
    for row in range(9):
        query = {name: values[row] for name, values in fresh.queries.items()}
        assert models[some[row]] == router.start(query).next()


@pytest.mark.parametrize("wrong", [{"deny": ""}, {"prices": 0.0}, {"switching_cost": []}, {"allowed": ""}])
def test_options_that_are_empty_are_checked_as_well(
    wrong: dict[str, Any], halves: tuple[hr.Outcomes, hr.Outcomes]
) -> None:
    decider = hr.Router(rule="routing", quality="constant").fit(halves[0], budget=100.0).decider_
    query = {name: values[0] for name, values in halves[1].queries.items()}
    with pytest.raises(TypeError, match=f"^{next(iter(wrong))}: expected"):
        decider.start(query, **wrong)
    names = np.array(decider.models[:2])
    assert decider.start(query, allowed=names, deny=names[:1]).next() == names[1]


def test_a_batch_of_one_takes_objects_as_they_are() -> None:
    # Categories that are NumPy's whole numbers: "3", and not "3.0".
    rng = np.random.default_rng(0)
    n = 120
    kinds = np.empty(n, dtype=object)
    kinds[:] = list(rng.integers(0, 3, n))
    good = np.array([[0.95, 0.05], [0.05, 0.95], [0.5, 0.5]])[kinds.astype(int)]
    log = hr.Outcomes(
        models=["a", "b"],
        quality=(rng.random((n, 2)) < good).astype(float),
        cost=np.array([1.0, 1.1]) * (0.5 + rng.random((n, 2))),
        queries={"kind": kinds},
    )
    decider = hr.Router(rule="routing", quality="linear").fit(log, budget=1.05).decider_
    together = decider.select_batch(log.queries, ids=log.ids)
    for row in range(0, n, 3):
        assert decider.select_batch({"kind": kinds[row : row + 1]}, ids=[log.ids[row]]).tolist() == [together[row]]


def test_a_router_decides_tables_of_queries_and_responses(
    tmp_path: Path, halves: tuple[hr.Outcomes, hr.Outcomes]
) -> None:
    fitting, fresh = halves
    router = hr.Router(quality="linear").fit(fitting, budget=100.0)
    fresh.save(tmp_path / "fresh.parquet")
    table = pq.read_table(tmp_path / "fresh.parquet")
    queries = table.select([name for name in table.column_names if "|" not in name])
    decide = router.decider_
    first = decide(queries).column("next").to_pylist()
    at_once = router.select_batch(fresh.queries, ids=fresh.ids)
    assert first == [fresh.models[j] for j in at_once]
    # The responses of what was decided, and nothing else: the second decision.
    ran = np.array([[model == name for model in fresh.models] for name in first])
    columns = {name: queries.column(name) for name in queries.column_names}
    for name, values in fresh.responses.items():
        for j, model in enumerate(fresh.models):
            each = values[:, j].tolist()
            cells = [each[row] if ran[row, j] else None for row in range(len(fresh))]
            columns[f"{model}|{name}"] = pa.array(cells)
    second = decide(pa.table(columns)).column("next").to_pylist()
    wanted = router.select_batch(fresh.queries, ids=fresh.ids, responses=fresh.responses_for(ran))
    assert second == [None if j < 0 else fresh.models[j] for j in wanted]
    assert None in second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"queries": {"noise": [1, 2], "contrast": [1]}},
            r"queries: column 'contrast' has shape \(1,\), expected \(2,\)",
        ),
        ({"queries": {"noise": [1, 2]}, "ids": ["x"]}, "ids: expected one for each of 2 queries, got 1"),
        (
            {"queries": {"noise": [1, 2]}, "ids": ["x", "y"], "responses": hr.Responses([[True]], {})},
            r"responses: expected shape \(2, 5\), got \(1, 1\)",
        ),
    ],
)
def test_batches_of_other_shapes_are_refused(
    arguments: dict[str, Any], message: str, halves: tuple[hr.Outcomes, hr.Outcomes]
) -> None:
    router = hr.Router(quality="constant", cost="constant").fit(halves[0], budget=100.0)
    with pytest.raises(ValueError, match=message):
        router.select_batch(**arguments, strict=False)


def test_nothing_to_decide(halves: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    router = hr.Router(quality="constant", cost="constant").fit(halves[0], budget=100.0)
    assert len(router.select_batch({}, strict=False)) == 0
    nothing = {name: values[:0] for name, values in halves[0].queries.items()}
    assert len(router.select_batch(nothing)) == 0
    assert len(router.decider_(pa.table(nothing | {"svm|answer": np.empty(0, object)}))) == 0
    assert len(POLICY.select_batch(np.empty((0, 3)), np.empty((0, 3)), ids=[])) == 0


# Files


def test_a_file_is_decided_in_chunks(tmp_path: Path) -> None:
    columns = beliefs(1000)
    pq.write_table(as_arrow(columns), tmp_path / "beliefs.parquet", row_group_size=300)
    shares: list[float] = []
    n = decide_file(
        tmp_path / "beliefs.parquet",
        tmp_path / "out.parquet",
        BeliefDecider(POLICY),
        batch_rows=128,
        progress=shares.append,
    )
    decided = pq.read_table(tmp_path / "out.parquet")
    assert n == 1000
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    assert decided.column_names == ["query_id", "next"]
    assert decided.column("query_id").to_pylist() == columns["query_id"]
    assert decided.column("next").to_pylist() == one_by_one(POLICY, columns)


def test_a_file_is_not_kept_in_memory(tmp_path: Path) -> None:
    table = as_arrow(beliefs(200_000))
    source = tmp_path / "beliefs.parquet"
    pq.write_table(table, source, row_group_size=5_000, compression="none")
    del table
    before, held = pa.total_allocated_bytes(), []
    decide_file(
        source,
        tmp_path / "out.parquet",
        BeliefDecider(POLICY),
        batch_rows=5_000,
        progress=lambda share: held.append(pa.total_allocated_bytes() - before),
    )
    assert len(held) == 40
    assert max(held) < source.stat().st_size / 4


def test_a_file_that_cannot_be_decided_leaves_nothing(tmp_path: Path) -> None:
    columns = beliefs(300)
    columns["quality"][200, 1] = np.nan
    pq.write_table(as_arrow(columns), tmp_path / "beliefs.parquet")
    with pytest.raises(ValueError, match="quality"):
        decide_file(tmp_path / "beliefs.parquet", tmp_path / "out.parquet", BeliefDecider(POLICY), batch_rows=64)
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "beliefs.parquet").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"source: cut\.parquet is not a whole Parquet file"):
        decide_file(tmp_path / "cut.parquet", tmp_path / "out.parquet", BeliefDecider(POLICY))
    with pytest.raises(FileNotFoundError):
        decide_file(tmp_path / "nowhere.parquet", tmp_path / "out.parquet", BeliefDecider(POLICY))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beliefs.parquet", "cut.parquet"]


def test_a_file_is_not_decided_over_itself(tmp_path: Path) -> None:
    path = tmp_path / "beliefs.parquet"
    pq.write_table(as_arrow(beliefs(10)), path)
    before = path.read_bytes()
    (tmp_path / "link.parquet").hardlink_to(path)
    for target in (path, tmp_path / "nowhere" / ".." / "beliefs.parquet", tmp_path / "link.parquet"):
        with pytest.raises(ValueError, match=r"target: .*\.parquet is the source; name another file"):
            decide_file(path, target, BeliefDecider(POLICY))
    assert path.read_bytes() == before


def test_a_missing_cell_of_what_has_run_has_not_run() -> None:
    columns = beliefs(30)
    missing = columns | {"run": np.where(columns["run"], 1.0, np.nan)}
    assert BeliefDecider(POLICY)(missing)["next"].tolist() == BeliefDecider(POLICY)(columns)["next"].tolist()
