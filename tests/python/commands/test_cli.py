"""The command line: what it prints, writes and refuses."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace import cli
from headrace.benchmarks import PROTOCOLS, Results

pytest.importorskip("typer")
pytest.importorskip("matplotlib")

from command_line import RUNNER, invoked, saved

from headrace.commands import app
from headrace.commands.demo import efficient_models
from headrace.commands.path import picture
from headrace.evaluation import Evaluation
from headrace.evaluation.curves import budget_grid

TABLE = hr.datasets.simulate(60, 2)


def test_demo_prints_tables_and_writes_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "curve.png"
    data = saved(tmp_path, hr.datasets.simulate(300, 3))
    result = RUNNER.invoke(app, ["demo", "--data", data, "--out", str(picture)])
    assert result.exit_code == 0, result.output
    for words in ("Single models", "model-1", "cascade routing", "index rule", "Over all budgets it", "the best of"):
        assert words in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curve.png", "log.jsonl"]


def test_demo_json_holds_the_numbers(tmp_path: Path) -> None:
    data = saved(tmp_path, hr.datasets.simulate(300, 3))
    result = RUNNER.invoke(app, ["demo", "--data", data, "--json", "--out", str(tmp_path / "a.png")])
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    assert numbers["models"] == ["model-1", "model-2", "model-3"]
    areas = {method["method"]: method["area"]["value"] for method in numbers["methods"]}
    rules = ["linear interpolation", "routing", "threshold-cascade", "cascade", "index", "pairs", "clusters"]
    assert list(areas) == ["router", *rules]
    assert list(numbers["left_out"]) == ["agreement"]
    assert numbers["rule"] == "cascade-routing"
    assert areas["router"] > areas["linear interpolation"]
    assert numbers["n_fit"] + numbers["n_test"] == 300


def test_demo_takes_the_models_asked_for(tmp_path: Path) -> None:
    data = saved(tmp_path, hr.datasets.simulate(300, 4))
    chosen = ["--models", "model-4, model-1"]
    result = RUNNER.invoke(app, ["demo", "--data", data, "--json", "--out", str(tmp_path / "a.png"), *chosen])
    assert json.loads(result.stdout)["models"] == ["model-4", "model-1"]


def test_demo_is_the_evaluation_of_a_router(tmp_path: Path) -> None:
    table, baselines = hr.datasets.simulate(300, 3), ["linear interpolation", "routing"]
    numbers = invoked("demo", "--data", saved(tmp_path, table), "--out", str(tmp_path / "a.png"))
    fitting, test = table.split(0.5, rng=0)
    budget = numbers["chosen"]["budget"]["cost"]
    router = hr.Router(quality="linear").fit(fitting, budget=budget)
    same = hr.evaluate(router, test, fitting=fitting, baselines=baselines, budgets=budget_grid(fitting))
    expected = json.loads(json.dumps(same.to_dict()))
    assert numbers["methods"][:3] == expected["methods"]
    assert numbers["verdict"][0] == expected["verdict"][0]
    assert budget in numbers["budgets"]


def test_a_single_model_that_wins_is_said_to_win(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)  # of 40 draws, one shows a gain by chance
    quality = np.column_stack([rng.random(300) < 0.3, np.ones(300)]).astype(float)
    outcomes = hr.Outcomes(models=["weak", "perfect"], quality=quality, cost=[1.0, 1.01])
    data = saved(tmp_path, outcomes)
    result = RUNNER.invoke(app, ["demo", "--data", data, "--json", "--out", str(tmp_path / "a.png")])
    verdict = json.loads(result.stdout)["verdict"]
    assert verdict[0].startswith(("No gain at this budget is shown", "Use perfect alone at this budget"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "no-such-file.parquet"], "no-such-file.parquet"),
        (["--models", "centroid,nobody"], "nobody"),
        (["--models", "centroid"], "at least two models"),
        (["--data", "log.pickle"], "log.pickle"),
        (["--out", "nowhere/a.png"], "--out: expected a file in a folder that can be written to, got nowhere/a.png"),
        (["--out", "."], "--out: expected a file in a folder that can be written to, got . (it isn't a file)"),
        (["--out", "a.doc"], "--out: expected a picture, e.g. one that ends in .png, .svg or .pdf; got 'a.doc'"),
    ],
)
def test_demo_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.pickle").write_bytes(b"\x80")
    result = RUNNER.invoke(app, ["demo", *arguments])
    assert result.exit_code == 1
    assert message in result.output
    assert "error:" in result.output
    assert not list(tmp_path.glob("*.png"))


def test_version() -> None:
    assert RUNNER.invoke(app, ["--version"]).output.strip() == hr.__version__


def test_without_typer_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "headrace.commands", raising=False)
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit, match=r"pip install 'headrace\[cli\]'"):
        cli.main()


def test_efficient_models_are_undominated_and_at_most_five() -> None:
    cost = np.geomspace(1.0, 100.0, 9)
    quality = np.array([0.1, 0.3, 0.2, 0.5, 0.6, 0.7, 0.8, 0.75, 0.9])
    outcomes = hr.Outcomes(models=list("abcdefghi"), quality=np.tile(quality, (3, 1)), cost=cost)
    chosen = efficient_models(outcomes)
    assert len(chosen) == 5
    assert chosen[0] == "a"
    assert chosen[-1] == "i"
    assert not {"c", "h"} & set(chosen)


# evaluate, and its page


def test_evaluate_is_the_function_on_two_halves(tmp_path: Path) -> None:
    table = hr.datasets.simulate(300, 3)
    budget = float(np.median(table.mean_cost))
    options = ["--budget", str(budget), "--models", "model-3,model-1", "--rule", "routing", "--seed", "3"]
    numbers = invoked("evaluate", saved(tmp_path, table), *options, "--estimation-cost", "1e-5")
    fitting, test = table.select(["model-3", "model-1"]).split(0.5, rng=3)
    router = hr.Router(rule="routing", seed=3).fit(fitting, budget=budget)
    same = hr.evaluate(router, test, fitting=fitting, estimation_cost=1e-5, seed=3)
    expected = json.loads(json.dumps(same.to_dict()))
    assert {name: numbers[name] for name in expected} == expected


def test_what_estimates_cost_is_given_or_measured(tmp_path: Path) -> None:
    table = hr.datasets.simulate(200, 2)
    log = tmp_path / "log.parquet"
    dataclasses.replace(table, cost={"usd": table.cost, "seconds": table.cost}).save(log)
    options = ["--cost", "usd", "--cost", "seconds", "--estimation-cost", "usd=0.5"]
    numbers = invoked("evaluate", str(log), *options, "--estimation-cost", "seconds=measured")
    assert numbers["estimation_cost"] == 0.5
    assert numbers["estimation_seconds"] > 0.0
    for wrong in (["cheap"], ["1", "usd=2"]):
        given = [part for value in wrong for part in ("--estimation-cost", value)]
        assert RUNNER.invoke(app, ["evaluate", str(log), *given]).exit_code == 2


def test_evaluate_writes_the_page_and_prints_the_summary(tmp_path: Path) -> None:
    table, page = hr.datasets.simulate(200, 2), tmp_path / "page.html"
    data = saved(tmp_path, dataclasses.replace(table, queries={**table.queries, "text": ["a secret"] * 200}))
    result = RUNNER.invoke(app, ["evaluate", data, "--report", str(page), "--title", "Support & desk", "--text"])
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assert "<title>Support &amp; desk</title>" in text
    assert "a secret" in text
    assert result.stdout.splitlines()[-1] == f"written: {page}"
    numbers = invoked("evaluate", data, "--report", str(page), "--force")
    assert numbers["verdict"] == result.stdout.splitlines()[: len(numbers["verdict"])]
    assert numbers["written"] == str(page)
    assert "a secret" not in page.read_text(encoding="utf-8")


def test_splits_are_counted_where_they_are_asked_for(tmp_path: Path) -> None:
    data = saved(tmp_path, hr.datasets.simulate(200, 2))
    assert invoked("evaluate", data)["splits"] is None
    page = tmp_path / "page.html"
    numbers = invoked("evaluate", data, "--splits", "2", "--report", str(page))
    assert len(numbers["splits"]["conclusions"]) == 2
    assert numbers["splits"]["first"] == numbers["conclusion"]
    assert any(sentence.startswith("Split again twice, ") for sentence in numbers["verdict"])
    assert "Split again twice, " in page.read_text(encoding="utf-8")


def test_fit_path_and_evaluate_write_qualities_alike(tmp_path: Path) -> None:
    table = hr.datasets.simulate(200, 2)
    data, policy = saved(tmp_path, table), str(tmp_path / "policy.json")
    options = [data, "--budget", str(float(table.mean_cost.max()))]
    fitted = RUNNER.invoke(app, ["fit", *options, "--out", policy]).stdout
    quality = hr.Router().fit(table, budget=float(table.mean_cost.max())).point_.quality
    assert f"quality {100 * quality:.1f}%, " in fitted
    shown = RUNNER.invoke(app, ["path", data]).stdout
    assert len(re.findall(r" \d\d\.\d% ", shown)) >= 3


@pytest.mark.parametrize("factor", [1.0, 100.0])
def test_the_picture_of_a_path_draws_its_claim(factor: float) -> None:
    pytest.importorskip("matplotlib")
    hint = np.random.default_rng(6).normal(size=400)
    # Each model is right where the other one is wrong.
    quality = factor * np.stack([hint > 0.4, hint <= 0.4], axis=1)
    table = hr.Outcomes(models=["network", "svm"], quality=quality, cost=[1.0, 2.0], queries={"hint": hint})
    router = hr.Router(quality="linear").fit(table)
    axes = picture(router.path_, table, title="mine")
    title = axes.get_title(loc="left")
    assert title.startswith("mine\nAs good as svm, the best model (")
    assert axes.get_ylabel() == ("quality (%)" if factor == 1.0 else "quality")
    written = [text.get_text() for text in axes.texts]
    assert {"this router", "models, mixed", "svm"} <= set(written)
    saving = re.search(r"at (\d+% less cost)", title.replace("\n", " "))
    assert saving is not None
    assert saving[1] in written
    assert 50.0 < axes.get_ylim()[1] < 110.0


# Outputs that can't be written


def never(*_: Any, **__: Any) -> None:
    raise AssertionError("the work began before the output was checked")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["evaluate", "log.jsonl", "--report", "nowhere/page.html"], "--report"),
        (["demo", "--data", "log.jsonl", "--out", "nowhere/a.png"], "--out"),
        (["bench", "simulated", "--out", "nowhere/a.md"], "--out"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, TABLE)
    monkeypatch.setattr(hr.Router, "fit", never)
    monkeypatch.setattr("headrace.benchmarks.routerbench.simulate", never)
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"{option}: expected a file in a folder that can be written to, got nowhere" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "package"),
    [
        (["evaluate", "log.jsonl", "--report", "page.html"], "jinja2"),
        (["demo", "--data", "log.jsonl", "--out", "a.png"], "matplotlib"),
    ],
)
def test_a_package_that_is_missing_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], package: str
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, TABLE)
    monkeypatch.setattr(hr.Router, "fit", never)
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, package, None)
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 1
    assert f"needs {package}: pip install 'headrace[report]'" in result.stderr


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "words"])
def test_the_result_is_printed_though_the_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    def full(*_: Any, **__: Any) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Evaluation, "report", full)
    monkeypatch.setattr("headrace.commands.demo.draw", full)
    monkeypatch.setattr("headrace.commands.bench._written", full)
    data = saved(tmp_path, hr.datasets.simulate(100, 2))
    tiny = dataclasses.replace(PROTOCOLS["simulated"], run=lambda **_: Results("Title of all", "About.", ()))
    monkeypatch.setitem(PROTOCOLS, "tiny", tiny)
    for arguments, said in (
        (["evaluate", data, "--report", str(tmp_path / "page.html")], "area"),
        (["demo", "--data", data, "--out", str(tmp_path / "a.png")], "model-1"),
        (["bench", "tiny", "--out", str(tmp_path / "a.md")], "Title of all"),
    ):
        result = RUNNER.invoke(app, [*arguments, *(["--json"] if as_json else [])])
        assert result.exit_code == 1
        assert said in result.stdout
        assert "disk full" in result.stderr
        if as_json:
            numbers = json.loads(result.stdout)
            assert numbers.get("written", numbers.get("picture")) is None


# fit


def test_fit_says_what_it_chose_and_promises(tmp_path: Path) -> None:
    data, policy = saved(tmp_path, hr.datasets.simulate(600, 3)), tmp_path / "policy.json"
    table = hr.Outcomes.from_file(data)
    budget = float(np.median(table.mean_cost))
    result = RUNNER.invoke(app, ["fit", data, "--budget", str(budget), "--confidence", "0.9", "--out", str(policy)])
    assert result.exit_code == 0, result.output
    for words in ("guarantee: mean cost at most", "with probability 0.9", "runs per query", f"written: {policy}"):
        assert words in result.stdout
    assert "provided that no query costs more than" in result.stdout
    assert "(the most expensive seen)" in result.stdout
    assert "600 queries x 3 models" in result.stderr
    router = hr.Router().fit(table, budget=budget, confidence=0.9)
    assert hr.Policy.load(policy) == router.policy_


def test_commands_take_a_number_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = hr.datasets.simulate(200, 4)
    data, policy = saved(tmp_path, table), tmp_path / "policy.json"
    budget = str(float(table.mean_cost.max()))
    expected = hr.Router(2).fit(hr.Outcomes.from_file(data), budget=float(budget))
    fitted = RUNNER.invoke(app, ["fit", data, "--models", "2", "--budget", budget, "--out", str(policy)])
    assert fitted.exit_code == 0, fitted.output
    assert f"of 4 models, these are worth most: {', '.join(expected.models_)}" in fitted.stdout
    assert hr.Policy.load(policy) == expected.policy_
    assert invoked("path", data, "--models", "2")["path"] == {
        name: values.tolist() for name, values in expected.path_.to_dict().items()
    }
    assert len(invoked("evaluate", data, "--models", "2", "--splits", "0")["models"]) == 2
    # Only a long fit is announced, and only where no number is given.
    assert "a fit may take minutes" not in fitted.stderr
    monkeypatch.setattr("headrace.commands.console.MANY", 3)
    told = "4 models: a fit may take minutes; --models 3 takes the 3 worth most"
    assert told in RUNNER.invoke(app, ["path", data]).stderr
    assert told not in RUNNER.invoke(app, ["path", data, "--models", "2"]).stderr


def test_fit_takes_the_largest_cost_and_warns_of_a_tail(tmp_path: Path) -> None:
    table = hr.datasets.simulate(600, 3)
    cost = table.cost.copy()
    cost[::150] *= 100.0
    data = saved(tmp_path, dataclasses.replace(table, cost=cost))
    options = ["fit", data, "--budget", "0.05", "--confidence", "0.8", "--rule", "routing"]
    options += ["--out", str(tmp_path / "policy.json")]
    plain = RUNNER.invoke(app, options)
    assert plain.exit_code == 0, plain.output
    assert "warning: cost has a heavy tail" in " ".join(plain.stderr.split())
    given = RUNNER.invoke(app, [*options, "--largest-cost", "5", "--force"])
    assert given.exit_code == 0, given.output
    assert "warning" not in given.stderr
    assert "provided that no query costs more than 5 (as given)" in given.stdout
    numbers = invoked(*options, "--largest-cost", "cost=5", "--force")["guarantee"]
    assert (numbers["largest"], numbers["condition"][-10:]) == ({"cost": 5.0}, "(as given)")
    low = RUNNER.invoke(app, [*options, "--largest-cost", "0.001", "--force"])
    assert low.exit_code == 1
    assert "largest_cost: expected at least" in low.stderr


def test_a_log_sorted_by_task_breaks_no_promise(tmp_path: Path) -> None:
    # The first half is cheap: in the log's order it would soon speak for a mean cost far below the true one.
    rng = np.random.default_rng(2)
    n = 1000
    cost = np.column_stack([np.repeat([1.0, 10.0], n // 2), np.repeat([3.0, 30.0], n // 2)])
    quality = (rng.random((n, 2)) < [0.3, 0.9]).astype(float)
    data = saved(tmp_path, hr.Outcomes(models=["small", "large"], quality=quality, cost=cost))
    options = ["--budget", "9", "--confidence", "0.9", "--out", str(tmp_path / "policy.json")]
    assert invoked("fit", data, *options)["point"]["cost"] <= 9.0


def test_fit_takes_models_rule_and_several_costs(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    quality = (rng.random((200, 3)) < [0.4, 0.6, 0.9]).astype(float)
    costs = {"usd": [1.0, 2.0, 4.0], "seconds": [3.0, 2.0, 1.0]}
    log, policy = tmp_path / "log.csv", tmp_path / "policy.json"
    hr.Outcomes(models=["a", "b", "c"], quality=quality, cost=costs).save(log)
    named = ["--cost", "usd", "--cost", "seconds", "--budget", "usd=3", "--budget", "seconds=2.5"]
    fitted = invoked("fit", str(log), *named, "--models", "c, a", "--rule", "routing", "--out", str(policy))
    assert fitted["rule"] == "routing"
    assert fitted["point"]["cost"] <= 3.0 + 1e-9
    assert fitted["point"]["further_costs"]["seconds"] <= 2.5 + 1e-9
    loaded = hr.Policy.load(policy)
    assert (loaded.models, loaded.costs, loaded.rule) == (("c", "a"), ("usd", "seconds"), "routing")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "log.jsonl"], "one of --budget and"),
        (["fit", "log.jsonl", "--budget", "1", "--quality-target", "1"], "one of --budget and"),
        (["fit", "log.jsonl", "--budget", "cheap"], "expected a number >= 0, or name=number"),
        (["fit", "log.jsonl", "--budget", "1", "--budget", "2"], "expected a number >= 0, or name=number"),
        (["fit", "log.jsonl", "--budget", "1", "--rule", "best"], "got 'best'"),
        (["fit", "log.jsonl", "--budget", "1", "--seed", "-1"], "--seed"),
        (["path", "log.jsonl", "--out", "path.txt"], "ends in .csv, .png, .svg, .pdf"),
        (["explain", "p.json", "--quality", "x", "--cost", "1"], "expected numbers"),
        (["explain", "p.json", "--quality", "1"], "--cost"),
        (["convert", "log.jsonl"], "out"),
        (["evaluate", "log.jsonl", "--text"], "--title and --text are for the page"),
        (["bake"], "bake"),
        (["report", "log.jsonl"], "report"),
    ],
)
def test_usage_errors_end_with_2(arguments: list[str], message: str) -> None:
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2
    assert message.lower() in " ".join(result.stderr.split()).lower()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "0"], "expected at least"),
        (["--quality-target", "2"], "expected at most"),
        (["--budget", "usd=1"], "unknown cost 'usd'"),
        (["--budget", "1", "--models", "nobody"], "nobody"),
        (["--budget", "1", "--confidence", "2"], "confidence"),
        (["--budget", "1", "--layout", "tall"], "layout"),
        (["--budget", "1000", "--out", "nowhere/policy.json"], "nowhere"),
    ],
)
def test_fit_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = RUNNER.invoke(app, ["fit", saved(tmp_path, TABLE), *options])
    assert result.exit_code == 1, result.output
    assert message in result.stderr.partition("error:")[2]
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


# path


@pytest.mark.parametrize(
    ("name", "start"), [("p.csv", b"parameter,cost,quality"), ("p.png", b"\x89PNG"), ("p.svg", b"<?xml")]
)
def test_path_is_shown_and_written(tmp_path: Path, name: str, start: bytes) -> None:
    data, out = saved(tmp_path, hr.datasets.simulate(200, 3)), tmp_path / name
    result = RUNNER.invoke(app, ["path", data, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "Budget path, 200 queries" in result.stdout
    assert out.read_bytes().startswith(start)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["log.jsonl", name])


@pytest.mark.parametrize("rule", ["cascade-routing", "threshold-cascade"])
def test_path_json_holds_every_point(tmp_path: Path, rule: str) -> None:
    table = hr.datasets.simulate(200, 3)
    numbers = invoked("path", saved(tmp_path, table), "--rule", rule)["path"]
    router = hr.Router(rule=rule).fit(table)
    for name, values in router.path_.to_dict().items():
        assert [float(value) for value in numbers[name]] == values.tolist()


# explain


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.json"
    hr.Policy(("small", "large"), "cascade-routing", {"max_depth": 2}, (2.0, 1.0), 0.75).save(path)
    return str(path)


BELIEFS = ["--quality", "0.6,0.8", "--cost", "0.01,0.05", "--variance", "0,0.04", "--run", "small"]


def test_explain_says_what_was_beaten_and_what_would_flip_it(policy: str) -> None:
    result = RUNNER.invoke(app, ["explain", policy, *BELIEFS])
    assert result.exit_code == 0, result.output
    for words in ("Run large: cascade-routing, cost weight 2", "75% of queries", "It beats stopping by 0.1167"):
        assert words in result.stdout
    assert "Above a cost weight of 4.333 (+117%): stop" in result.stdout
    why = invoked("explain", policy, *BELIEFS)
    assert (why["next"], why["runner_up"]) == ("large", "stop")
    (flip,) = why["flips"]
    assert flip["next"] is None
    below, above = (hr.CascadeRouting(flip["parameter"] * factor, max_depth=2) for factor in (0.999, 1.001))
    chosen = [rule.select([0.6, 0.8], [0.01, 0.05], variance=[0, 0.04], run=(0,)).next for rule in (below, above)]
    assert chosen == [1, None]


def test_names_of_models_are_no_markup(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    hr.Policy(("gpt[high]", "[red]"), "routing", {}, (2.0, 1.0), 0.75).save(path)
    result = RUNNER.invoke(app, ["explain", str(path), "--quality", "0.6,0.8", "--cost", "0.01,0.05"])
    assert "gpt[high]" in result.stdout
    assert "[red]" in result.stdout


def test_explain_takes_the_rule_of_the_query(policy: str) -> None:
    rule = hr.Policy.load(policy)
    names = [next(f"q{i}" for i in range(99) if rule.rule_for(f"q{i}") is kind) for kind in rule.rules]
    said = [invoked("explain", policy, *BELIEFS, "--id", name) for name in names]
    assert [(why["parameter"], why["share"]) for why in said] == [(2.0, 0.75), (1.0, 0.25)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--quality", "0.6", "--cost", "0.01,0.05"], "quality: expected one number for each of 'small', 'large'"),
        (["--quality", "0.6,0.8", "--cost", "0.01"], "cost: expected cost of each of 'small', 'large'"),
        (["--quality", "0.6,0.8", "--cost", "0.01,-1"], "cost"),
        (["--quality", "0.6,0.8", "--cost", "1,2", "--run", "nobody"], "run: unknown model 'nobody'"),
        (["--quality", "0.6,0.8", "--cost", "1,2", "--variance", "-1,0"], "variance"),
    ],
)
def test_explain_refuses(policy: str, options: list[str], message: str) -> None:
    result = RUNNER.invoke(app, ["explain", policy, *options])
    assert result.exit_code == 1
    assert message in result.stderr


def test_explain_refuses_what_is_no_policy(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"format": "other"}')
    result = RUNNER.invoke(app, ["explain", str(tmp_path / "p.json"), "--quality", "1", "--cost", "1"])
    assert result.exit_code == 1
    assert "expected a headrace policy as JSON" in result.stderr


@pytest.mark.parametrize("command", ["demo", "convert", "fit", "path", "evaluate", "bench", "explain"])
def test_every_command_has_help_with_examples(command: str) -> None:
    result = RUNNER.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert "--json" in result.stdout


# Routers in files


def test_a_router_is_fitted_into_a_file_shown_and_explained(tmp_path: Path) -> None:
    table = hr.datasets.simulate(120, 2)
    log, router = saved(tmp_path, table), tmp_path / "router.headrace"
    fitted = invoked("fit", log, "--budget", "0.003", "--out", str(router))
    assert fitted["written"] == str(router)
    decider = hr.load(router)
    assert decider.budget == {"cost": 0.003}
    shown = invoked("show", str(router))
    assert shown["models"] == ", ".join(table.models)
    assert shown["columns"]["queries"] == sorted(table.queries)
    assert len(shown["path"]["cost"]) == len(decider.path.cost)
    query = {name: values[0].tolist() for name, values in table.queries.items()}
    why = invoked("explain", str(router), "--query", json.dumps(query), "--id", "q")
    assert why == json.loads(json.dumps(decider.start(query, id="q").why().to_dict()))
    numbers = ["--quality", "0.5,0.9", "--cost", "0.001,0.002"]
    assert invoked("explain", str(router), *numbers)["rule"] == "cascade-routing"
    said = RUNNER.invoke(app, ["show", str(router)])
    assert said.exit_code == 0
    assert "fingerprint" in said.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["explain", "r.headrace", "--quality", "0.5,0.9"], 2, "either --query, or --quality and --cost"),
        (["explain", "r.headrace", "--query", "{}", "--run", "a"], 2, "--variance and --run go with"),
        (["explain", "r.headrace", "--query", "why?"], 1, "--query: expected JSON, an object of columns"),
        (["explain", "r.headrace", "--query", "{}"], 1, "r.headrace: not a whole file of a router"),
        (["show", "r.headrace"], 1, "r.headrace: not a whole file of a router"),
        (["fit", "log.jsonl", "--budget", "1", "--out", "log.jsonl"], 2, "a name that ends in .headrace, .json"),
        (["fit", "log.json", "--budget", "1", "--out", "log.json"], 1, "log.json is what is read; name another file"),
        (["fit", "log.json", "--budget", "-1"], 2, "expected a number >= 0"),
        (
            ["fit", "log.json", "--budget", "1", "--confidence", "95"],
            1,
            "confidence: expected a number between 0 and 1",
        ),
        (["fit", "log.json", "--budget", "1", "--out", "r.headrace"], 1, "r.headrace exists; name another file"),
    ],
)
def test_what_cannot_be_done_with_routers_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.headrace").write_bytes(b"PK nothing")
    (tmp_path / "log.json").write_text("[]", encoding="utf-8")
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.stderr.split())
    assert (tmp_path / "log.json").read_text(encoding="utf-8") == "[]"


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_log_may_come_by_the_standard_input(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log.{suffix}"
    table = hr.datasets.simulate(60, 2)
    dataclasses.replace(table, queries={"size": table.queries["size"]}, responses={}).save(path)
    piped = RUNNER.invoke(app, ["path", "-", "--json"], input=path.read_bytes())
    assert piped.exit_code == 0, piped.output
    assert json.loads(piped.stdout)["path"] == invoked("path", str(path))["path"]


def test_a_line_of_the_standard_input_is_named() -> None:
    log = 'query_id,text,a|quality,a|cost\np,"two\nlines",1,1\nq,x,1,free\n'
    piped = RUNNER.invoke(app, ["path", "-"], input=log)
    assert piped.exit_code == 1
    told = " ".join(piped.stderr.split())
    assert "got 'free' for query 'q', model 'a' (line 4 of the standard input)" in told
    ragged = RUNNER.invoke(app, ["path", "-"], input=log + "r,1\n")
    assert "the standard input: can't be read as CSV: expected 4 cells, got 2 for query 'r' (line 5)" in " ".join(
        ragged.stderr.split()
    )


def test_the_package_runs_as_a_module() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "headrace", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() == hr.__version__


def test_tables_lose_nothing_where_the_terminal_is_narrow(tmp_path: Path) -> None:
    names = [f"vendor/a-model-of-a-long-name-{number}" for number in range(3)]
    simulated = hr.datasets.simulate(300, 3)
    table = hr.Outcomes(models=names, quality=simulated.quality, cost=simulated.cost, queries=simulated.queries)
    log = saved(tmp_path, table)
    router = tmp_path / "router.headrace"
    hr.Router().fit(table, budget=float(table.mean_cost.max())).save(router)
    explained = ["explain", str(router), "--quality", "0.5,0.6,0.7", "--cost", "0.1,0.2,0.3"]
    for command in (explained, ["demo", "--data", log, "--out", str(tmp_path / "a.png")]):
        result = RUNNER.invoke(app, command, env={"COLUMNS": "40"})
        assert result.exit_code == 0, result.output
        assert "\u2026" not in result.stdout
        assert all(any(name in line for line in result.stdout.splitlines()) for name in names)


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    log = saved(tmp_path, hr.datasets.simulate(300, 3))
    code = (
        "import os, sys; from headrace.commands import app; reading, writing = os.pipe(); os.dup2(writing, 1); "
        f"os.close(reading); app(['evaluate', {log!r}, '--budget', '1.5'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 1
    assert "Broken pipe" not in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk to write to")
@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_a_full_disk_is_told_in_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "headrace", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 1
    assert ran.stderr == "error: the standard output: No space left on device\n"


def test_a_router_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["show", str(tmp_path / "nope.headrace")])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: no such file: ")
    assert "Errno" not in result.stderr
