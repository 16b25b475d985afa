"""Benchmarks: the noise of the paper's protocol, draws, tables, and the command."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

import headrace as hr
from headrace.benchmarks import PROTOCOLS, Results, Table
from headrace.benchmarks.draws import Draws
from headrace.benchmarks.metrics import aiq, arena_score
from headrace.benchmarks.practical import open_form
from headrace.benchmarks.routerbench import ELEVEN, MODEL_SETS, PAPER, agreement, routerbench, simulated
from headrace.datasets import NoisyCost, NoisyOracle, simulate, with_noise
from headrace.evaluation import Curves, replayed
from headrace.evaluation.bootstrap import Estimate
from headrace.evaluation.curves import METHODS, cross_fitted

LINEAR = "linear interpolation"


# Noise


def test_looks_follow_the_models_chosen() -> None:
    table = with_noise(simulate(400, 3, rng=3), (0.0, 0.0), 0.0, rng=3)
    some = table.select(["model-3", "model-1"])
    everything = some.responses_for(np.ones(2, dtype=bool))
    nothing = some.responses_for(np.zeros(2, dtype=bool))
    # Looks without noise are the truth.
    costs = NoisyCost().fit(some.queries, everything, some.cost).predict(some.queries, nothing)
    np.testing.assert_allclose(costs, some.cost, rtol=0, atol=1e-12)
    belief = NoisyOracle().fit(some.queries, everything, some.quality).predict(some.queries, nothing)
    np.testing.assert_allclose(belief.quality, some.quality, rtol=0, atol=1e-12)


def test_noise_has_the_size_asked_for_and_nothing_else_is_left() -> None:
    outcomes = simulate(20_000, 2, rng=3)
    noisy = with_noise(outcomes, (0.6, 0.3), 0.002, rng=3)
    errors = {
        "before": noisy.queries["noisy_quality_before"] - outcomes.quality,
        "after": noisy.responses["noisy_quality"] - outcomes.quality,
        "cost": noisy.queries["noisy_cost_before"] - outcomes.cost,
    }
    # Standard errors of a standard deviation and of a correlation of 20,000 numbers: below 1%.
    for name, deviation in (("before", 0.6), ("after", 0.3), ("cost", 0.002)):
        np.testing.assert_allclose(errors[name].std(axis=0), deviation, rtol=0.03)
        for truth in (outcomes.quality, outcomes.cost):
            assert abs(np.corrcoef(errors[name][:, 0], truth[:, 0])[0, 1]) < 0.03
    assert abs(np.corrcoef(errors["before"][:, 0], errors["after"][:, 0])[0, 1]) < 0.03
    assert set(noisy.queries) == {"noisy_quality_before", "noisy_cost_before"}
    assert set(noisy.responses) == {"noisy_quality", "place"}
    np.testing.assert_array_equal(noisy.quality, outcomes.quality)


def test_noise_is_drawn_again_from_one_generator_and_repeated_by_a_seed() -> None:
    outcomes, generator = simulate(50, 2), np.random.default_rng(1)
    first, second = (with_noise(outcomes, (1.0, 1.0), rng=generator).responses["noisy_quality"] for _ in range(2))
    assert (first != second).all()
    again, same = (with_noise(outcomes, (1.0, 1.0), rng=7).responses["noisy_quality"] for _ in range(2))
    np.testing.assert_array_equal(again, same)


@pytest.mark.parametrize(("quality", "cost"), [((-1.0, 0.0), 0.0), ((0.0, math.nan), 0.0), ((0.0, 0.0), -2.0)])
def test_noise_that_is_none_is_refused(quality: tuple[float, float], cost: float) -> None:
    with pytest.raises(ValueError, match=r"^(quality|cost): expected a finite standard deviation >= 0"):
        with_noise(simulate(10, 2), quality, cost)


def test_cost_estimates_are_the_line_of_least_squares() -> None:
    table = with_noise(simulate(400, 3), (0.6, 0.3), 5e-3)
    everything = table.responses_for(np.ones(3, dtype=bool))
    estimates = NoisyCost().fit(table.queries, everything, table.cost).predict(table.queries, everything)
    for j in range(3):
        slope, constant = np.polyfit(table.queries["noisy_cost_before"][:, j], table.cost[:, j], 1)
        line = np.maximum(slope * table.queries["noisy_cost_before"][:, j] + constant, 0.0)
        np.testing.assert_allclose(estimates[:, j], line, atol=1e-12)


# Draws


def test_an_estimate_pools_its_draws() -> None:
    table = with_noise(simulate(600, 3), (0.6, 0.3), 2e-4)

    def one(seed: int) -> Curves:
        tables = cross_fitted(*table.split(0.3, rng=seed), NoisyOracle(), NoisyCost(), seed=seed)
        return replayed(*tables, ["routing"], seed=seed, n_resamples=40)

    draws = Draws.of(one, 3)
    by_hand = [one(seed) for seed in range(3)]
    differences = [each.difference("routing", LINEAR)[0] for each in by_hand]
    found = draws.difference("routing", LINEAR)
    assert found.value == pytest.approx(100 * np.mean(differences), abs=1e-9)
    resampled = np.concatenate([each["routing"].resampled - each[LINEAR].resampled for each in by_hand])
    assert (found.low, found.high) == pytest.approx(tuple(100 * np.quantile(resampled, (0.025, 0.975))), abs=1e-9)
    assert draws.area("routing").value == pytest.approx(100 * np.mean([each["routing"].area for each in by_hand]))


# Scores of leaderboards


def test_aiq_against_all_pairs() -> None:
    """The hull at a cost is the best mixture of any two points around it, or a cheaper point."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        cost, quality = rng.uniform(size=(2, 7))
        lowest, highest, floor = float(cost.min()), float(cost.max()) + 0.2, 0.0
        at = lowest + (np.arange(2000) + 0.5) / 2000 * (highest - lowest)
        best = np.array([quality[cost <= c].max() for c in at])
        for i, j in itertools.permutations(range(7), 2):
            inside = (cost[i] <= at) & (at <= cost[j])
            if cost[i] < cost[j]:
                line = quality[i] + (at - cost[i]) / (cost[j] - cost[i]) * (quality[j] - quality[i])
                best = np.where(inside, np.maximum(best, line), best)
        best = np.maximum.accumulate(best)
        assert aiq(cost, quality, lowest, highest, floor) == pytest.approx(best.mean(), abs=2e-3)


def test_arena_score_of_published_entries() -> None:
    # Accuracy, dollars per 1,000 queries and score of two entries of RouterArena's pull request 129.
    for accuracy, cost, score in ((0.7575, 0.125, 0.7505), (0.7167, 0.311, 0.7046)):
        assert arena_score(cost / 1000, accuracy, 4.4e-6, 0.2) == pytest.approx(score, abs=2e-4)
    assert arena_score(1.0, 0.5, 1.0, 2.0) == pytest.approx(1.1 * 0.5 / 1.05)
    assert arena_score(0.1, 0.5, 1.0, 2.0) == arena_score(1.0, 0.5, 1.0, 2.0)
    assert arena_score(3.0, 0.5, 1.0, 2.0) == 0.0
    assert arena_score(1.5, 0.0, 1.0, 2.0) == 0.0
    assert math.isnan(arena_score(1.5, 1.2, 1.0, 2.0))
    assert math.isnan(arena_score(1.5, 0.5, 0.0, 2.0))


# Tables


def test_a_table_is_written_for_people_and_for_programs() -> None:
    rows = (("a", Estimate(1.234, 1.0, 2.0), None, 1500), ("b", math.nan, 0.5, 2))
    results = Results("Title", "About.", (Table("T", ("name", "x", "y", "n"), rows, ("A note.",), decimals=1),))
    page = results.to_markdown()
    assert page.startswith("# Title\n\nAbout.\n\n## T\n")
    assert "| a | 1.2 [1.0, 2.0] |  | 1,500 |\n| b | nan | 0.5 | 2 |\n\nA note.\n" in page
    [table] = results.to_dict()["tables"]
    assert table["rows"][0] == {"name": "a", "x": {"value": 1.234, "low": 1.0, "high": 2.0}, "y": None, "n": 1500}
    assert table["rows"][1]["x"] is None
    json.dumps(results.to_dict(), allow_nan=False)


# The paper's protocol


def test_the_paper_s_numbers_are_in_place() -> None:
    # Cascade routing is above all others in every one of its nine settings, and ours has them all.
    for size in MODEL_SETS:
        for level in range(3):
            best = max(PAPER, key=lambda method: PAPER[method][size][level])
            assert best == "cascade-routing"
    assert set(PAPER) == {LINEAR, *METHODS} - {"index"}
    assert [len(set(names)) for names in MODEL_SETS.values()] == list(MODEL_SETS)


def test_simulated_queries_confirm_the_order() -> None:
    told: list[tuple[str, float]] = []
    results = simulated(n_queries=3000, n_models=3, progress=lambda *step: told.append(step))
    areas, order = results.tables
    by_method = {row[0]: row[1:] for row in areas.rows}
    assert list(by_method) == [
        "models, mixed", "routing", "threshold cascade", "cascade", "cascade routing", "index rule",
    ]  # fmt: skip
    low, medium, high = (by_method["cascade routing"][at].value for at in range(3))
    assert low > medium > high > by_method["models, mixed"][2].value
    assert all(row[1].low > 0.0 for row in order.rows if row[0].startswith("cascade routing - routing"))
    assert [name for name, share in told if share == 1.0] == ["low", "medium", "high"]


def routerbench_like(n_queries: int) -> hr.Outcomes:
    outcomes = simulate(n_queries, 11)
    return hr.Outcomes(models=ELEVEN, quality=outcomes.quality, cost=outcomes.cost)


def test_the_paper_s_table_stands_beside_ours() -> None:
    results = routerbench(routerbench_like(120), n_draws=1)
    assert "A subset" in results.about
    assert [table.title for table in results.tables[:3]] == [f"{n} models: area (%)" for n in (3, 5, 11)]
    rows = {row[0]: row for row in results.tables[2].rows}
    assert rows["cascade routing"][2::2] == (87.24, 77.57, 74.4)
    assert rows["index rule"][2::2] == (None, None, None)
    order = results.tables[3]
    assert len(order.rows) == 54
    for row in order.rows:
        assert row[-1] == agreement(row[3], row[4])


def test_a_model_of_the_paper_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="claude-v2"):
        routerbench(routerbench_like(40).select([name for name in ELEVEN if name != "claude-v2"]))


def test_five_examples_stand_beside_the_paper_s_claim_not_its_numbers() -> None:
    results = routerbench(routerbench_like(120), shots=5, n_draws=1)
    assert results.title.startswith("RouterBench with 5 examples")
    for table in results.tables[:3]:
        assert table.columns == ("method", "low noise", "medium noise", "high noise")
    for row in results.tables[3].rows:
        assert row[4] is None
        assert row[-1] == agreement(row[3], 1.0)


# Answers in words


def open_answers(n_queries: int) -> hr.Outcomes:
    """Two models whose log-probabilities betray how sure they may be."""
    rng = np.random.default_rng(0)
    sure = rng.random((n_queries, 2))
    lengths = rng.integers(3, 9, size=(n_queries, 2, 1))
    logprobs = -rng.exponential(1.0, size=(n_queries, 2, 8)) * (1.05 - sure)[:, :, None]
    logprobs[np.arange(8) >= lengths] = np.nan
    answers = np.where(rng.random((n_queries, 2)) < 0.3, "the same", rng.random((n_queries, 2)).astype(str))
    return hr.Outcomes(
        models=["small", "large"],
        quality=(rng.random((n_queries, 2)) < np.maximum(sure, [0.0, 0.7])).astype(float),
        cost=[1.0, 10.0],
        queries={"text": [f"question {row}" for row in range(n_queries)]},
        responses={"answer": answers.astype(object), "logprobs": logprobs},
    )


def test_log_probabilities_are_worth_a_cascade() -> None:
    results = open_form(open_answers(900), n_draws=1)
    rows = {row[0]: row for row in results.tables[0].rows}
    # Nothing is known before a run, so routing can only mix; after it the small model's certainty is.
    assert rows["routing"][2].low > 2.0
    assert abs(rows["models, mixed"][1].value - rows["routing"][1].value) < 2.0
    assert "'answer', 'logprobs'" in results.about


def test_open_answers_without_log_probabilities_are_refused() -> None:
    table = open_answers(20)
    table = dataclasses.replace(table, responses={"quality": table.quality})
    with pytest.raises(ValueError, match=r"expected the columns '<model>\|logprobs'.*found: 'quality'"):
        open_form(table)


# The command


typer = pytest.importorskip("typer")

from typer.testing import CliRunner  # noqa: E402

from headrace.commands import app  # noqa: E402

RUNNER = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    routerbench_like(120).save(tmp_path / "data" / "routerbench_0shot.parquet")
    out = tmp_path / "paper.md"
    arguments = ["bench", "routerbench", "--data", str(tmp_path / "data"), "--draws", "1", "--out", str(out)]
    printed = RUNNER.invoke(app, arguments)
    assert printed.exit_code == 0, printed.output
    assert printed.stdout == out.read_text(encoding="utf-8")
    assert "## The order of the methods" in printed.stdout


def test_the_command_gives_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_table(table: hr.Outcomes, *, n_draws: int, progress: object) -> Results:
        return Results("T", "A.", (Table("Draws", ("n", "queries"), ((n_draws, len(table)),)),))

    monkeypatch.setitem(PROTOCOLS, "tiny", dataclasses.replace(PROTOCOLS["routerbench"], run=one_table, n_draws=7))
    simulate(12, 2).save(tmp_path / "any.jsonl")
    arguments = ["bench", "tiny", "--data", str(tmp_path / "any.jsonl"), "--json"]
    for more, n_draws in (([], 7), (["--draws", "2"], 2)):
        numbers = json.loads(RUNNER.invoke(app, arguments + more).stdout)
        assert (numbers["benchmark"], numbers["written"]) == ("tiny", None)
        assert numbers["tables"][0]["rows"] == [{"n": n_draws, "queries": 12}]


@pytest.mark.parametrize("name", [name for name, protocol in PROTOCOLS.items() if protocol.files])
def test_the_command_says_which_file_is_missing_and_where_it_is_from(name: str, tmp_path: Path) -> None:
    for arguments in (["bench", name], ["bench", name, "--data", str(tmp_path)]):
        result = RUNNER.invoke(app, arguments)
        assert result.exit_code == 1
        assert PROTOCOLS[name].files[0] in result.stderr
        assert PROTOCOLS[name].source in result.stderr


def test_a_log_of_open_answers_is_read_and_compared(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    open_answers(300).save(tmp_path / "open_form.parquet")
    read = PROTOCOLS["open-form"].table(tmp_path)
    assert read is not None
    np.testing.assert_array_equal(read.responses["logprobs"], open_answers(300).responses["logprobs"])
    result = RUNNER.invoke(app, ["bench", "open-form", "--data", str(tmp_path), "--draws", "1"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[2] == "`headrace bench open-form --data DIR --draws 1`"
    assert "## 2 models: 150 queries to fit, 150 to test" in result.stdout


def test_a_published_pickle_is_read_and_another_one_isnt_run(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table = routerbench_like(30)
    columns: dict[str, object] = {"sample_id": pandas.Series(list(table.ids), dtype=object)}
    for j, model in enumerate(ELEVEN):
        columns |= {model: table.quality[:, j], f"{model}|total_cost": table.cost[:, j]}
    frame = pandas.DataFrame(columns)
    frame.columns = pandas.Index(list(columns), dtype=object)
    frame.to_pickle(tmp_path / "routerbench_5shot.pkl")
    read = PROTOCOLS["routerbench-5shot"].table(tmp_path)
    assert read is not None
    np.testing.assert_array_equal(read.quality, table.quality)
    # The file with examples isn't taken for the one without.
    result = RUNNER.invoke(app, ["bench", "routerbench", "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "expected a file, or a folder with routerbench_0shot" in result.stderr
    (tmp_path / "routerbench_0shot.pkl").write_bytes(pickle.dumps(print))
    result = RUNNER.invoke(app, ["bench", "routerbench", "--data", str(tmp_path)])
    assert result.exit_code == 1
    message = " ".join(result.stderr.split())  # where a line breaks depends on the length of the path
    assert "refused: it names builtins.print" in message
    assert "nothing was run" in message


def test_tables_are_downloaded_when_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(12, 2).save(tmp_path / "any.jsonl")
    seen = []

    def counted(table: hr.Outcomes, **_: object) -> Results:
        seen.append(len(table))
        return Results("T", "A.", ())

    protocol = dataclasses.replace(PROTOCOLS["routerbench"], run=counted, download=lambda: tmp_path / "any.jsonl")
    monkeypatch.setitem(PROTOCOLS, "routerbench", protocol)
    result = RUNNER.invoke(app, ["bench", "routerbench", "--download"])
    assert (result.exit_code, seen) == (0, [12])
    assert "`headrace bench routerbench --download`" in result.stdout
    both = RUNNER.invoke(app, ["bench", "routerbench", "--download", "--data", str(tmp_path)])
    assert both.exit_code == 2
    for name in ("swe-bench", "simulated"):
        other = RUNNER.invoke(app, ["bench", name, "--download"])
        assert other.exit_code == 1
        assert "--download: this benchmark has no file to fetch" in other.stderr


def test_unknown_benchmarks_are_refused() -> None:
    result = RUNNER.invoke(app, ["bench", "lottery"])
    assert result.exit_code == 2
    assert "routerbench" in result.stderr
