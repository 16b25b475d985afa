"""Diagnosis of estimates: scores by hand, no false alarm on sound estimates, and every fault found and named."""

from __future__ import annotations

import itertools
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import cross_fit
from headrace.diagnosis import Diagnosis, diagnose
from headrace.diagnosis.scores import LEAST_PROBABILITY, score
from headrace.estimators import CalibratedQuality, ConstantCost, ConstantQuality, LinearCost, LinearQuality

Floats = npt.NDArray[np.float64]
BOTH = hr.Responses(np.ones((1, 2), dtype=bool), {})
#: From true probabilities and the number of models run to estimates.
Distort = Callable[[Floats, int], Floats]


class Told:
    """Gives the true probabilities of the query column "p", or what a function makes of them."""

    def __init__(self, distort: Distort = lambda p, n_runs: p) -> None:
        self.distort = distort

    def fit(self, queries: Any, responses: hr.Responses, targets: Floats) -> Told:
        return self

    def predict(self, queries: Any, responses: hr.Responses) -> hr.Belief:
        n_runs = int(responses.run[0].sum()) if len(responses) else 0
        return hr.Belief(self.distort(np.asarray(queries["p"]), n_runs))


class Prices:
    """Estimates costs by a query column."""

    def fit(self, queries: Any, responses: hr.Responses, targets: Floats) -> Prices:
        return self

    def predict(self, queries: Any, responses: hr.Responses) -> Floats:
        return np.asarray(queries["price"])


def simulated(seed: int, n: int, n_models: int, *, graded: bool = False) -> hr.Outcomes:
    """Draw queries with known probabilities to be right; with `graded`, scores with these means."""
    rng = np.random.default_rng(seed)
    p = rng.beta(3.0, 1.5, (n, n_models))
    quality = rng.beta(4.0 * p, 4.0 * (1.0 - p)) if graded else (rng.random((n, n_models)) < p).astype(float)
    price = rng.gamma(2.0, 0.5, (n, n_models))
    return hr.Outcomes(
        models=[f"m{j}" for j in range(n_models)],
        quality=quality,
        cost=price * rng.lognormal(-0.125, 0.5, (n, n_models)),
        queries={"p": p, "price": price},
    )


def diagnosed(table: hr.Outcomes, distort: Distort | None = None, **options: Any) -> Diagnosis:
    quality = Told() if distort is None else Told(distort)
    return diagnose(BeliefTable(table, [(np.arange(len(table)), quality, (Prices(),))]), **options)


def kinds(diagnosis: Diagnosis) -> set[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    return {(finding.kind, finding.models, finding.n_runs) for finding in diagnosis.findings}


# Scores


def test_scores_by_hand() -> None:
    rng = np.random.default_rng(1)
    e, y = rng.random(60).round(1), (rng.random(60) < 0.6).astype(float)
    part, rows = np.arange(60) % 2, np.arange(60)
    result = score(e, y, part=part, cluster=rows)
    assert result.mean_square == pytest.approx(np.mean([(a - b) ** 2 for a, b in zip(e, y, strict=True)]))
    assert result.r_squared == pytest.approx(1.0 - result.mean_square / np.var(y))
    inner = np.clip(e, LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
    assert result.log_loss == pytest.approx(-np.mean(np.log(np.where(y == 1.0, inner, 1.0 - inner))))
    pairs = [
        (e[i] > e[j]) + 0.5 * (e[i] == e[j])
        for i, j in itertools.product(rows, rows)
        if y[i] == 1.0 and y[j] == 0.0 and part[i] == part[j]
    ]
    assert result.auroc == pytest.approx(np.mean(pairs))
    design = np.column_stack([e, part == 0, part == 1])
    assert result.slope == pytest.approx(np.linalg.lstsq(design, y, rcond=None)[0][0])
    assert result.bias == pytest.approx((e - y).mean())


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("graded", [False, True])
def test_standard_errors_are_those_of_repeated_draws(graded: bool, clustered: bool) -> None:
    drawn, errors = [], []
    for seed in range(300):
        table = simulated(seed, 150, 1, graded=graded)
        repeated = np.repeat(np.arange(150), 3 if clustered else 1)
        e, y = table.queries["p"][repeated, 0], table.quality[repeated, 0]
        result = score(e, y, part=np.zeros(len(e), dtype=int), cluster=repeated)
        drawn.append((result.bias, result.slope, result.correlation))
        errors.append((result.bias_error, result.slope_error, result.correlation_error))
    # The spread of 300 draws is known to 4%; the sandwich is a little small.
    np.testing.assert_allclose(np.mean(errors, axis=0), np.std(drawn, axis=0), rtol=0.15)


def test_error_by_chance_is_that_of_sound_estimates() -> None:
    results = [score(*draw(seed), part=np.zeros(400, dtype=int), cluster=np.arange(400)) for seed in range(100)]
    found, expected = (
        np.mean([getattr(r, name) for r in results]) for name in ("calibration_error", "error_by_chance")
    )
    assert found == pytest.approx(expected, rel=0.05)
    # Chi-squared has the mean of its degrees of freedom.
    assert np.mean([r.chi_squared for r in results]) == pytest.approx(10.0, abs=1.5)


def draw(seed: int) -> tuple[Floats, Floats]:
    table = simulated(seed, 400, 1)
    return table.queries["p"][:, 0], table.quality[:, 0]


def test_labels_that_all_agree_have_no_auroc() -> None:
    ones = np.ones(50)
    result = score(np.full(50, 0.9), ones, part=np.zeros(50, dtype=int), cluster=np.arange(50))
    assert np.isnan([result.auroc, result.r_squared, result.slope, result.correlation]).all()
    assert result.log_loss == pytest.approx(-np.log(0.9))
    # Ten wrong answers were expected in a hundred, give or take three; fifty right ones are no great surprise.
    assert result.bias_error == pytest.approx((0.09 / 50) ** 0.5)


# Findings


@pytest.mark.parametrize("graded", [False, True])
def test_sound_estimates_raise_no_alarm(graded: bool) -> None:
    found = [diagnosed(simulated(seed, n, 4, graded=graded)).findings for seed in range(60) for n in (60, 400)]
    wrong = [finding for findings in found for finding in findings if finding.kind != "unproven"]
    # At most one of twenty diagnoses may find something: 6 of 120, and 12 at odds of 1 to 70.
    assert len(wrong) <= 8
    assert not any(finding.kind == "unproven" for findings in found[1::2] for finding in findings)


def test_constant_estimates_in_cross_fitting_raise_no_other_alarm() -> None:
    for seed in range(20):
        table = simulated(seed, 300, 3)
        believed = cross_fit(table, ConstantQuality(), ConstantCost(), n_folds=5, seed=seed)
        assert kinds(diagnose(believed)) == {("uninformative", ("m0", "m1", "m2"), (0,))}


def test_noise_says_nothing() -> None:
    def distort(p: Floats, n_runs: int) -> Floats:
        noisy = p.copy()
        noisy[:, 1] = np.random.default_rng(5).random(len(p)) if n_runs == 0 else p[:, 1]
        return noisy

    found = kinds(diagnosed(simulated(2, 4000, 3), distort))
    assert ("uninformative", ("m1",), (0,)) in found
    assert {models for _, models, _ in found} == {("m1",)}
    few = diagnosed(simulated(2, 100, 3), distort)
    (unproven,) = (finding for finding in few.findings if finding.kind == "unproven")
    assert "m1" in unproven.models
    assert "m1 (correlation" in unproven.text


def test_over_confidence_after_two_runs() -> None:
    def distort(p: Floats, n_runs: int) -> Floats:
        wide = p.copy()
        if n_runs >= 2:
            wide[:, 0] = 0.67 + 2.0 * (p[:, 0] - 0.67)
        return wide

    diagnosis = diagnosed(simulated(3, 1500, 4), distort)
    assert kinds(diagnosis) == {("over-confident", ("m0",), (2, 3, 4))}
    (finding,) = diagnosis.findings
    assert finding.low < 0.5 < finding.high < 1.0
    assert "after 2 runs or more" in finding.text
    assert "CalibratedQuality" in finding.text


def test_under_confidence() -> None:
    diagnosis = diagnosed(simulated(4, 1500, 2), lambda p, n_runs: 0.67 + 0.4 * (p - 0.67))
    assert kinds(diagnosis) == {("under-confident", (m,), (0, 1, 2)) for m in ("m0", "m1")}
    assert all("before and after runs" in finding.text for finding in diagnosis.findings)


@pytest.mark.parametrize(("shift", "word"), [(0.08, "high"), (-0.08, "low")])
def test_shifted_estimates(shift: float, word: str) -> None:
    diagnosis = diagnosed(simulated(5, 3000, 3), lambda p, n_runs: p + shift * (np.arange(3) == 2) * (n_runs == 1))
    assert kinds(diagnosis) == {("biased", ("m2",), (1,))}
    (finding,) = diagnosis.findings
    assert finding.low < shift < finding.high
    assert f"too {word} after 1 run, by" in finding.text


def test_a_bent_curve() -> None:
    rng = np.random.default_rng(6)
    e = rng.uniform(0.1, 0.9, 4000)
    # Right on average and in slope, wrong in between.
    bend = np.cos(15.0 * e)
    bend -= np.polyval(np.polyfit(e, bend, 1), e)
    p = np.column_stack([e + 0.08 * bend, e])
    quality = (rng.random((4000, 2)) < p).astype(float)
    table = hr.Outcomes(models=["a", "b"], quality=quality, cost=[1, 2], queries={"p": np.column_stack([e, e])})
    believed = BeliefTable(table, [(np.arange(4000), Told(), (ConstantCost().fit({}, BOTH, table.cost),))])
    diagnosis = diagnose(believed, max_runs=0)
    assert kinds(diagnosis) == {("bent", ("a",), (0,))}
    (finding,) = diagnosis.findings
    assert 'CalibratedQuality(method="isotonic")' in finding.text
    assert 0.04 < abs(finding.value) < 0.12


def test_costs_that_are_underestimated() -> None:
    table = simulated(7, 2000, 3)
    costlier = hr.Outcomes(
        models=table.models, quality=table.quality, cost=table.cost * [1.0, 1.3, 0.7], queries=dict(table.queries)
    )
    diagnosis = diagnosed(costlier)
    assert kinds(diagnosis) == {("cost", ("m1",), (0,)), ("cost", ("m2",), (0,))}
    under, over = diagnosis.findings
    assert under.low < 0.3 < under.high
    assert "costs (cost) of m1 are underestimated: realised ones are" in under.text
    assert over.low < -0.3 < over.high
    assert "overestimated" in over.text


def test_what_is_too_small_to_matter_is_not_reported() -> None:
    diagnosis = diagnosed(simulated(8, 60_000, 1), lambda p, n_runs: p + 0.008, max_runs=0)
    assert diagnosis.scores["bias"][0, 0] > 3.0 * diagnosis.scores["bias_error"][0, 0]
    assert diagnosis.findings == ()


def test_repeated_queries_are_no_evidence() -> None:
    table = simulated(9, 60, 2).take(np.repeat(np.arange(60), 50))
    grouped = hr.Outcomes(
        models=table.models,
        quality=table.quality,
        cost=table.cost,
        queries=dict(table.queries),
        groups=[str(i // 50) for i in range(3000)],
    )
    biased: Distort = lambda p, n_runs: p - 0.1  # noqa: E731
    assert "biased" in {kind for kind, _, _ in kinds(diagnosed(table, biased))}
    assert "biased" not in {kind for kind, _, _ in kinds(diagnosed(grouped, biased))}


def test_too_few_queries_say_nothing() -> None:
    diagnosis = diagnosed(simulated(10, 20, 2), lambda p, n_runs: 1.0 - p)
    assert diagnosis.findings == ()
    assert "20 queries are too few" in str(diagnosis)


def test_the_advice_helps() -> None:
    class OverSure(ConstantQuality):
        def predict(self, queries: Any, responses: hr.Responses) -> hr.Belief:
            return hr.Belief(np.clip(0.67 + 2.2 * (queries["p"] - 0.67), 0.0, 1.0))

    pytest.importorskip("sklearn")
    table = simulated(11, 1200, 2)
    before = hr.Router(quality=OverSure(), cost=Prices()).fit(table).diagnose()
    after = hr.Router(quality=CalibratedQuality(OverSure()), cost=Prices()).fit(table).diagnose()
    assert {finding.kind for finding in before.findings} == {"over-confident"}
    assert after.findings == ()
    assert (after.scores["log_loss"] < 0.95 * before.scores["log_loss"]).all()


@pytest.mark.parametrize("kind", ["one model", "four queries", "always right, always wrong", "one class", "free"])
def test_tables_that_say_little(kind: str) -> None:
    rng = np.random.default_rng(12)
    n, k = (4 if kind == "four queries" else 60), (1 if kind == "one model" else 2)
    quality = (rng.random((n, k)) < 0.6).astype(float)
    if kind == "always right, always wrong":
        quality[:] = [1.0, 0.0]
    elif kind == "one class":
        quality[:] = 1.0
    cost = np.zeros((n, k)) if kind == "free" else rng.gamma(2.0, 1.0, (n, k))
    table = hr.Outcomes(models=["a", "b"][:k], quality=quality, cost=cost, queries={"x": rng.normal(size=n)})
    believed = cross_fit(table, LinearQuality(), LinearCost(), n_folds=2, seed=0)
    diagnosis = diagnose(believed)
    assert len(diagnosis.summary().splitlines()) > 2 * k
    assert {finding.kind for finding in diagnosis.findings} <= {"uninformative", "unproven"}
    json.dumps(diagnosis.to_dict(), allow_nan=False)


# What a user sees


@pytest.fixture(scope="module")
def router() -> hr.Router:
    return hr.Router(quality=hr.datasets.NoisyOracle(fusion=True), max_depth=2).fit(hr.datasets.simulate(400, 3, rng=1))


def test_of_a_router_each_query_is_estimated_by_what_has_not_seen_it(router: hr.Router) -> None:
    table = hr.datasets.simulate(400, 3, rng=1)
    fold_of_row = table.folds(5, rng=0)
    expected = np.empty((400, 3))
    for fold, (quality, _) in enumerate(router.estimators_):
        rows = np.flatnonzero(fold_of_row == fold)
        part = table.take(rows)
        expected[rows] = quality.predict(part.queries, part.responses_for([False] * 3)).quality
    diagnosis = router.diagnose()
    assert diagnosis.n_runs == (0, 1, 2)
    assert diagnosis.scores["mean_square"][0] == pytest.approx(np.mean((expected - table.quality) ** 2, axis=0))


def test_fresh_queries_are_estimated_as_in_service(router: hr.Router) -> None:
    fresh = hr.datasets.simulate(300, 3, rng=2)
    expected = BeliefTable.served(fresh, router.estimators_, seed=0)(np.arange(300), np.zeros(3, dtype=bool))[0]
    shuffled = router.diagnose(fresh.select(list(reversed(fresh.models))))
    assert shuffled.scores["bias"][0] == pytest.approx((expected.quality - fresh.quality).mean(axis=0))
    assert router.with_budget(0.002).recalibrate(fresh).diagnose().n_queries == 300


def test_a_pickle_goes_without_the_labelled_queries(router: hr.Router) -> None:
    copied = pickle.loads(pickle.dumps(router))
    with pytest.raises(ValueError, match="outcomes: expected labelled queries; a router that was pickled"):
        copied.diagnose()
    assert copied.diagnose(hr.datasets.simulate(100, 3, rng=2)).n_queries == 100
    assert router.with_budget(0.002).diagnose().n_queries == 400


def test_what_is_refused(router: hr.Router) -> None:
    with pytest.raises(ValueError, match="diagnose: the router is not fitted"):
        hr.Router().diagnose()
    with pytest.raises(TypeError, match="outcomes: expected an Outcomes table, got list"):
        router.diagnose([])  # type: ignore[arg-type]


def test_summary_and_numbers(router: hr.Router) -> None:
    diagnosis = router.diagnose()
    text = str(diagnosis)
    assert text == diagnosis.summary()
    assert repr(diagnosis) in ("Diagnosis(400 queries, 3 models, 0 findings)", repr(diagnosis))
    assert "mean square: the Brier score" in text
    row = next(line for line in text.splitlines() if line.startswith("model-2"))
    assert f"{diagnosis.scores['auroc'][0, 1]:.3f}" in row
    numbers = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert numbers["scores"]["slope"] == diagnosis.scores["slope"].tolist()
    assert numbers["reliability"][1][2]["stage"] == "after 1 run"
    assert len(numbers["costs"]) == 3


def test_scores_in_between_have_neither_log_loss_nor_auroc() -> None:
    diagnosis = diagnosed(simulated(12, 300, 2, graded=True))
    assert np.isnan(diagnosis.scores["log_loss"]).all()
    assert np.isnan(diagnosis.scores["auroc"]).all()
    assert (diagnosis.scores["r_squared"] > 0.0).all()
    assert "log loss and AUROC only where all qualities are 0 or 1" in str(diagnosis)
    assert diagnosis.to_dict()["scores"]["auroc"][0] == [None, None]


@pytest.mark.parametrize("n_models", [1, 5])
def test_the_picture(n_models: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    diagnosis = diagnosed(simulated(13, 200, n_models))
    figure = diagnosis.plot()
    assert [axes.get_title() for axes in figure.axes] == list(diagnosis.models)
    drawn = figure.axes[0].containers[0].lines[0].get_xydata()  # type: ignore[attr-defined]
    curve = diagnosis.reliability[0][0]
    np.testing.assert_allclose(drawn, np.column_stack([curve.estimate, curve.quality]))
    figure.savefig(tmp_path / "reliability.png")


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'headrace\[report\]'"):
        diagnosed(simulated(14, 50, 1)).plot()
