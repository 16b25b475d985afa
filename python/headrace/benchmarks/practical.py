"""Practical benchmarks in the style of the paper's table 2: estimators with real features on real logs.

Half of the queries fit and calibrate, the other half test. Estimators are the package's linear ones: a regression per
run set on what is known before a run (text, task) and after it (the outcome where it is verified, the answers'
agreement, their length).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from headrace.arguments import listed
from headrace.benchmarks.draws import Draws, drawn
from headrace.benchmarks.results import Results, Table
from headrace.estimators import LinearCost, LinearQuality
from headrace.evaluation.baselines import LABELS, LINEAR
from headrace.evaluation.curves import METHODS, cross_fitted, replayed
from headrace.evaluation.method import Curves
from headrace.outcomes import Outcomes

__all__ = ["classification", "livecodebench", "open_form", "swe_bench"]

AGENTS = (
    "deepseek-v3.2-reasoner",
    "gpt-5-mini-2025-08-07",
    "gpt-5-2025-08-07",
    "gemini-3-pro-preview",
    "claude-opus-4-5-20251101",
)
MORE_AGENTS = (
    "devstral-small-2512",
    "glm-4.6",
    "minimax-m2",
    "gpt-5.1-2025-11-13",
    "claude-sonnet-4-5-20250929",
)
CODERS = ("Claude-3-Haiku", "GPT-4O-mini-2024-07-18", "DeepSeek-V3", "O3-Mini-2025-01-31 (Low)", "O4-Mini (High)")
LLAMA = ("Meta-Llama-3_1-8B-Instruct", "Meta-Llama-3_1-70B-Instruct")
GEMINI_GPT = ("gemini-1.5-flash-002", "gemini-1.5-pro-002", "gpt-4o (May-2024 run)")
MISTRAL = ("Mistral-7B-Instruct-v0.2", "mathstral-7B", "Mixtral-8x7B-Instruct-v0.1")

#: What a run of each of `CODERS` is taken to cost; the logs have no costs.
ASSUMED_COSTS = (1.0, 2.0, 5.0, 10.0, 20.0)

#: Areas of the paper's table 2 for SWE-Bench, in %.
PAPER_SWE = {
    "10 agents": dict(zip((LINEAR, *METHODS[:4]), (40.51, 40.49, 38.52, 53.21, 54.12), strict=True)),
    "5 agents": dict(zip((LINEAR, *METHODS[:4]), (38.64, 39.40, 45.89, 50.94, 51.09), strict=True)),
}

#: Areas of its classification benchmarks, of three Llama and three Mistral models.
PAPER_CLASSIFICATION = {
    "Llama": dict(zip((LINEAR, *METHODS[:4]), (74.28, 74.92, 74.81, 75.46, 75.52), strict=True)),
    "Mistral": dict(zip((LINEAR, *METHODS[:4]), (63.39, 64.89, 61.20, 63.31, 64.97), strict=True)),
}

Progress = Callable[[str, float], None]


def swe_bench(outcomes: Outcomes, *, n_draws: int = 10, progress: Progress | None = None) -> Results:
    """Compare on agents whose outcome is verified after a run: tests passed or not.

    Parameters
    ----------
    outcomes : Outcomes
        Read with ``verified=True``.
    n_draws, progress
        As in `headrace.benchmarks.routerbench.routerbench`.
    """
    sets = {"5 agents": AGENTS, "10 agents": (*AGENTS, *MORE_AGENTS)}
    about = (
        "SWE-bench Verified, agents of 2025 with recorded dollars; the paper has other agents on another part of the "
        "benchmark, so its numbers stand here for the order only. Known before a run: the issue's text and repository; "
        "after it: whether the tests pass, the cost, the number of calls."
    )
    tables = {name: outcomes.select(models) for name, models in sets.items()}
    return _results("SWE-bench: the outcome is verified", about, tables, PAPER_SWE, n_draws, progress)


def livecodebench(outcomes: Outcomes, *, n_draws: int = 5, progress: Progress | None = None) -> Results:
    """Compare on code that is run against tests; arguments as in `swe_bench`."""
    table = outcomes.select(CODERS)
    # The logs' only cost is the length of some models' answers.
    table = Outcomes(
        models=table.models,
        quality=table.quality,
        cost=ASSUMED_COSTS,
        ids=table.ids,
        queries=table.queries,
        responses={"quality": table.quality},
    )
    about = (
        "LiveCodeBench: the tests tell after a run whether the code is right. Its logs have no costs; "
        f"{', '.join(f'{cost:g}' for cost in ASSUMED_COSTS)} are assumed, so the numbers are an illustration. Not in "
        "the paper."
    )
    return _results("LiveCodeBench: the outcome is verified", about, {"5 models": table}, {}, n_draws, progress)


def classification(outcomes: Outcomes, *, n_draws: int = 5, progress: Progress | None = None) -> Results:
    """Compare on multiple choice, where answers may agree; arguments as in `swe_bench`."""
    sets = {"Llama": LLAMA, "Mistral": MISTRAL, "Llama, Gemini and GPT": (*LLAMA, *GEMINI_GPT)}
    about = (
        "MMLU-Pro with recorded token prices. Known before a run: the task and the length of the question; after it: "
        "the answer, its length, and which models agree. The paper's classification benchmark has other questions and "
        "models, and log-probabilities, so its numbers stand here for the order only."
    )
    tables = {name: outcomes.select(models) for name, models in sets.items()}
    return _results("MMLU-Pro: multiple choice", about, tables, PAPER_CLASSIFICATION, n_draws, progress)


def open_form(outcomes: Outcomes, *, n_draws: int = 5, progress: Progress | None = None) -> Results:
    """Compare on answers in words, of which the log-probabilities are known; arguments as in `swe_bench`.

    Raises
    ------
    ValueError
        The table has no response column "logprobs".
    """
    if "logprobs" not in outcomes.responses:
        raise ValueError(
            "outcomes: expected the columns '<model>|logprobs', the log-probabilities of each answer's tokens; "
            f"response columns found: {listed(outcomes.responses)}"
        )
    about = (
        f"A table of one's own: {', '.join(outcomes.models)}. Known before a run: {listed(outcomes.queries)}; after "
        f"it: {listed(outcomes.responses)} (of log-probabilities the mean, the lowest, the 10% quantile and their "
        "number), and which models give the same answer. The paper's open-form benchmark has other questions and "
        "models; its numbers are not comparable."
    )
    tables = {f"{outcomes.n_models} models": outcomes}
    return _results("Open-form answers with log-probabilities", about, tables, {}, n_draws, progress)


def _results(
    title: str,
    about: str,
    tables: Mapping[str, Outcomes],
    paper: Mapping[str, Mapping[str, float]],
    n_draws: int,
    progress: Progress | None,
) -> Results:
    found = []
    for name, table in tables.items():
        complete = _grouped(table.complete())

        def one(seed: int, name: str = name, complete: Outcomes = complete) -> Curves:
            def tell(method: str, share: float) -> None:
                if progress is not None:
                    progress(name, (seed * len(METHODS) + METHODS.index(method) + share) / (n_draws * len(METHODS)))

            tables = cross_fitted(*complete.split(0.5, rng=seed), LinearQuality(), LinearCost(), seed=seed)
            return replayed(*tables, seed=seed, progress=tell)

        found.append(_table(name, Draws.of(one, n_draws), paper.get(name)))
    about += f" Mean over {drawn(n_draws)} of the halves; brackets: 95% of what one draw and a bootstrap of its test "
    about += "queries give. Area in %."
    return Results(title, about, tuple(found))


def _grouped(table: Outcomes) -> Outcomes:
    """Keep queries of the same text on one side of a split."""
    if table.groups is not None or "text" not in table.queries:
        return table
    return replace(
        table, groups=np.array([str(text or row) for row, text in enumerate(table.queries["text"])], dtype=object)
    )


def _table(name: str, draws: Draws, paper: Mapping[str, float] | None) -> Table:
    columns = ["method", "area", "cascade routing minus it"]
    if paper is not None:
        columns += ["paper: area", "paper: cascade routing minus it"]
    rows = []
    for method in (LINEAR, *METHODS):
        against = None if method == "cascade-routing" else draws.difference("cascade-routing", method)
        row: list[object] = [LABELS[method], draws.area(method), against]
        if paper is not None:
            known = paper.get(method)
            row += [known, None if known is None or against is None else paper["cascade-routing"] - known]
        rows.append(tuple(row))
    first = draws.curves[0]
    return Table(f"{name}: {first.n_fit:,} queries to fit, {first.n_test:,} to test", tuple(columns), tuple(rows))
