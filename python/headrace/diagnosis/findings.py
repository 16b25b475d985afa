"""What a diagnosis finds, in words: only what the queries show, and what to do about it.

All tests and intervals of a diagnosis hold together with probability `CONFIDENCE` (Bonferroni), so that sound estimates
of many models at many stages raise a false alarm in at most one of twenty diagnoses. What is shown but too small to
matter isn't reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray
from headrace.diagnosis.reliability import Reliability

__all__ = ["CONFIDENCE", "CostScore", "Finding", "find"]

#: Probability that no statement is false, for estimates without a fault.
CONFIDENCE = 0.95

#: Fewest queries, or groups of queries, for any statement.
FEWEST = 30

#: Estimates off by less than this share of the range of qualities don't matter, nor costs off by less than this share.
SMALL, SMALL_COST = 0.01, 0.05

#: A correlation below this explains less than 1% of the variance: next to no information.
NO_CORRELATION = 0.1

#: Labelled queries from which on an isotonic map can be told from one with two parameters.
MANY = 2000


class Finding(NamedTuple):
    """One statement about the estimates of a model, or of several.

    Attributes
    ----------
    kind : str
        "uninformative", "unproven", "biased", "over-confident", "under-confident", "bent" or "cost".
    models : tuple of str
    n_runs : tuple of int
        Numbers of models run at which it holds.
    value, low, high : float
        The number that it is about, the largest one in size where it holds at several stages, and its interval:
        a correlation, a bias, a slope, the gap of a group, or realised over estimated cost - 1.
    text : str
        The statement, and what to do.
    """

    kind: str
    models: tuple[str, ...]
    n_runs: tuple[int, ...]
    value: float
    low: float
    high: float
    text: str


class CostScore(NamedTuple):
    """Estimated against realised costs of one model, before any run.

    Attributes
    ----------
    name, model : str
        The cost, and the model.
    estimate, cost : float
        Means.
    excess, excess_error : float
        cost / estimate - 1, and its standard error; NaN where the estimates are zero.
    r_squared : float
        Share of the variance between queries that the estimates explain; NaN for costs that don't vary.
    """

    name: str
    model: str
    estimate: float
    cost: float
    excess: float
    excess_error: float
    r_squared: float


def find(
    models: Sequence[str],
    n_runs: Sequence[int],
    scores: Mapping[str, FloatArray],
    reliability: Sequence[Sequence[Reliability]],
    costs: Sequence[CostScore],
    *,
    n_clusters: int,
    width: float,
    calibration: str | None = None,
) -> tuple[Finding, ...]:
    """Test all estimates, and say what is wrong.

    Parameters
    ----------
    models : sequence of str
    n_runs : sequence of int
        Number of models run at each stage.
    scores : mapping of str to ndarray of shape (n_stages, n_models)
        Fields of `Scores`.
    reliability : sequence of sequence of Reliability
        ``reliability[stage][model]``.
    costs : sequence of CostScore
    n_clusters : int
        Number of independent queries.
    width : float
        Width of the range of qualities.
    calibration : str, optional
        Method of the `CalibratedQuality` that the estimates come from, where they do.
    """
    if n_clusters < FEWEST:
        return ()
    critical, curve_critical = _critical(3 * scores["bias"].size + len(models) + len(costs), n_clusters)
    findings, constant, unproven = [], [], []
    mend = "CalibratedQuality" if calibration is None else "more labelled queries"
    curved = 'CalibratedQuality(method="isotonic")' if calibration != "isotonic" and n_clusters >= MANY else mend
    for j, model in enumerate(models):
        column = {name: values[:, j] for name, values in scores.items()}
        same = bool(np.isnan(column["slope"][0]) and not np.isnan(column["r_squared"][0]))
        dull = [] if same else _uninformative(model, column, critical)
        constant += [model] if same else []
        findings += [finding for finding in dull if finding.kind != "unproven"]
        unproven += [finding for finding in dull if finding.kind == "unproven"]
        biased = np.abs(column["bias"]) - critical * column["bias_error"] > 0.0
        biased &= np.abs(column["bias"]) > SMALL * width
        findings += _biased(model, n_runs, column, biased, critical, mend)
        away = np.abs(column["slope"] - 1.0)
        tilted = (away > critical * column["slope_error"]) & (away * column["spread"] > SMALL * width)
        # Of estimates that say nothing, the slope is no news.
        tilted[0] &= not dull
        for under in (False, True):
            findings += _tilted(model, n_runs, column, tilted & ((column["slope"] > 1.0) == under), critical, mend)
        bent = (column["chi_squared"] > curve_critical[column["n_bins"].astype(np.intp)]) & ~biased & ~tilted
        bent &= column["calibration_error"] - column["error_by_chance"] > SMALL * width
        bent[0] &= not dull
        findings += _bent(model, n_runs, [of_stage[j] for of_stage in reliability], bent, curved)
    findings += _cost_findings(costs, critical)
    return (*_constant(constant), *_unproven(unproven), *findings)


def _critical(n_tests: int, n_clusters: int) -> tuple[float, FloatArray]:
    """Quantiles of Student's t, and of chi-squared by its degrees of freedom, for each of all tests."""
    from scipy import special  # here: a router that is never diagnosed needs no SciPy in memory

    level = (1.0 - CONFIDENCE) / n_tests
    curve = special.chdtri(np.arange(1, 11), level)
    return float(special.stdtrit(n_clusters - 1, 1.0 - level / 2.0)), np.concatenate([[np.inf], curve])


def _constant(models: list[str]) -> list[Finding]:
    if not models:
        return []
    text = f"estimates before any run are the same for every query, for {', '.join(models)}: routing cannot gain from"
    text += " them. Choose an estimator that looks at the query, and give queries features (task, length, embedding)."
    return [Finding("uninformative", tuple(models), (0,), 0.0, 0.0, 0.0, text)]


def _uninformative(model: str, column: Mapping[str, FloatArray], critical: float) -> list[Finding]:
    """Ask whether the estimates before any run say more than the model's mean."""
    value, error = float(column["correlation"][0]), float(column["correlation_error"][0])
    if np.isnan(value):
        # Its quality is the same for every query: there is nothing to tell.
        return []
    low, high = value - critical * error, value + critical * error
    shown = f"(correlation {_interval(value, low, high)})"
    if high < NO_CORRELATION:
        text = f"estimates for {model} carry no information beyond its mean {shown}: routing cannot gain from them."
        text += " Give queries features that tell which ones it gets right (task, length, embedding)."
        return [Finding("uninformative", (model,), (0,), value, low, high, text)]
    if low <= 0.0:
        return [Finding("unproven", (model,), (0,), value, low, high, f"{model} {shown}")]
    return []


def _unproven(each: list[Finding]) -> list[Finding]:
    """Say once what holds for several models; the number is that of the largest correlation."""
    if not each:
        return []
    models = tuple(model for finding in each for model in finding.models)
    text = "estimates before any run are not shown to carry information beyond a model's mean, for"
    text += f" {', '.join(finding.text for finding in each)}: too few labelled queries to tell, or features that say"
    text += " little."
    return [max(each, key=lambda finding: finding.value)._replace(models=models, text=text)]


def _biased(
    model: str, n_runs: Sequence[int], column: Mapping[str, FloatArray], here: BoolArray, critical: float, mend: str
) -> list[Finding]:
    findings = []
    for sign, word in ((1.0, "high"), (-1.0, "low")):
        stages = np.flatnonzero(here & (np.sign(column["bias"]) == sign)).tolist()
        if not stages:
            continue
        worst = max(stages, key=lambda i: abs(column["bias"][i]))
        value, half = float(column["bias"][worst]), critical * float(column["bias_error"][worst])
        runs = tuple(n_runs[i] for i in stages)
        shown = _interval(sign * value, sign * value - half, sign * value + half)
        text = f"estimates for {model} are too {word} {_after(runs, n_runs)}, by {shown}: fit the router anew if these"
        text += f" queries are newer than its fit, else use {mend}."
        findings.append(Finding("biased", (model,), runs, value, value - half, value + half, text))
    return findings


def _tilted(
    model: str, n_runs: Sequence[int], column: Mapping[str, FloatArray], here: BoolArray, critical: float, mend: str
) -> list[Finding]:
    stages = np.flatnonzero(here).tolist()
    if not stages:
        return []
    worst = max(stages, key=lambda i: abs(column["slope"][i] - 1.0))
    value, half = float(column["slope"][worst]), critical * float(column["slope_error"][worst])
    kind, differ = ("over-confident", "less") if value < 1.0 else ("under-confident", "more")
    runs = tuple(n_runs[i] for i in stages)
    text = f"estimates for {model} are {kind} {_after(runs, n_runs)}: realised qualities differ {differ} than estimates"
    text += f" do (slope {_interval(value, value - half, value + half)}). Use {mend}."
    return [Finding(kind, (model,), runs, value, value - half, value + half, text)]


def _bent(
    model: str, n_runs: Sequence[int], curves: Sequence[Reliability], here: BoolArray, mend: str
) -> list[Finding]:
    stages = np.flatnonzero(here).tolist()
    if not stages:
        return []
    gaps = [curves[i].n * np.abs(curves[i].quality - curves[i].estimate) for i in stages]
    worst = int(np.argmax([gap.max() for gap in gaps]))
    curve, group = curves[stages[worst]], int(gaps[worst].argmax())
    estimate, quality = float(curve.estimate[group]), float(curve.quality[group])
    runs = tuple(n_runs[i] for i in stages)
    text = f"the reliability curve of {model} is bent {_after(runs, n_runs)}: where estimates are about {estimate:.2f},"
    text += f" {quality:.2f} is realised. Use {mend}."
    gap = quality - estimate
    return [Finding("bent", (model,), runs, gap, gap, gap, text)]


def _cost_findings(costs: Sequence[CostScore], critical: float) -> list[Finding]:
    findings = []
    for entry in costs:
        low, high = (entry.excess + sign * critical * entry.excess_error for sign in (-1.0, 1.0))
        if not (low > 0.0 or high < 0.0) or abs(entry.excess) <= SMALL_COST:
            continue
        # In shares of the estimate, which is what would have to be multiplied.
        word = "under" if entry.excess > 0.0 else "over"
        shares = sorted(abs(share) for share in (low, high))
        text = f"costs ({entry.name}) of {entry.model} are {word}estimated: realised ones are {abs(entry.excess):.0%}"
        text += f" [{shares[0]:.0%}, {shares[1]:.0%}] {'higher' if entry.excess > 0.0 else 'lower'}."
        text += " router.recalibrate(...) keeps the budget; a new fit learns the costs."
        findings.append(Finding("cost", (entry.model,), (0,), entry.excess, low, high, text))
    return findings


def _after(runs: tuple[int, ...], n_runs: Sequence[int]) -> str:
    """Say at which stages."""
    if runs == tuple(n_runs) and len(runs) > 1:
        return "before and after runs"
    if runs == (0,):
        return "before any run"
    if len(runs) > 1 and runs == tuple(n_runs[-len(runs) :]):
        return f"after {runs[0]} runs or more" if runs[0] != 1 else "after a run or more"
    named = ["no" if number == 0 else str(number) for number in runs]
    listed = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    return f"after {listed} {'run' if runs == (1,) else 'runs'}"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"
