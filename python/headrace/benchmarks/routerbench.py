"""The paper's noise protocol on RouterBench: table 1 of Dekoninck, Baader and Vechev (ICML 2025), beside its numbers.

Estimates are W (truth + noise) + b, with W and b by least squares on the fitting part, before each run and after it; 5%
of the queries fit and calibrate, 95% test. Areas are those of `headrace.evaluation.replayed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from headrace.benchmarks.draws import Draws, drawn
from headrace.benchmarks.results import Results, Table
from headrace.datasets import NOISE_LEVELS, NoisyCost, NoisyOracle, simulate, with_noise
from headrace.evaluation.baselines import LABELS, LINEAR
from headrace.evaluation.curves import METHODS, cross_fitted, replayed
from headrace.evaluation.method import Curves
from headrace.outcomes import Outcomes

__all__ = ["COST_NOISE", "FIT_SHARE", "MODEL_SETS", "PAPER", "noisy_curves", "routerbench", "simulated"]

#: Queries of the whole of RouterBench.
N_ROUTERBENCH = 36_497

#: Share of the queries that fits and calibrates.
FIT_SHARE = 0.05

#: Standard deviation of the noise on the cost before a run; costs are in dollars.
COST_NOISE = {"low": 2e-4, "medium": 4e-4, "high": 100.0}

THREE = ("mistralai/mixtral-8x7b-chat", "gpt-3.5-turbo-1106", "gpt-4-1106-preview")
FIVE = (*THREE, "WizardLM/WizardLM-13B-V1.2", "claude-v2")
ELEVEN = (
    *FIVE,
    "claude-instant-v1",
    "claude-v1",
    "meta/code-llama-instruct-34b-chat",
    "meta/llama-2-70b-chat",
    "mistralai/mistral-7b-chat",
    "zero-one-ai/Yi-34B-Chat",
)

#: The paper's sets of models, by their number.
MODEL_SETS = {3: THREE, 5: FIVE, 11: ELEVEN}

#: Areas in %, by method and number of models, for low, medium and high noise.
Published = Mapping[str, Mapping[int, tuple[float, float, float]]]

#: Those of table 1.
PAPER: Published = {
    LINEAR: {3: (69.62, 69.62, 69.62), 5: (69.22, 69.22, 69.22), 11: (70.51, 70.51, 70.51)},
    "routing": {3: (79.73, 74.97, 71.81), 5: (81.24, 74.43, 71.33), 11: (83.25, 74.63, 72.67)},
    "threshold-cascade": {3: (80.86, 74.64, 72.48), 5: (82.33, 73.03, 69.53), 11: (84.48, 73.64, 69.79)},
    "cascade": {3: (81.09, 76.16, 72.67), 5: (83.06, 75.17, 70.18), 11: (84.47, 75.10, 70.26)},
    "cascade-routing": {3: (82.36, 76.55, 73.22), 5: (84.33, 76.31, 72.75), 11: (87.24, 77.57, 74.40)},
}

#: The order that the paper's summary claims: each first method above the second.
ORDER = (
    ("routing", LINEAR),
    ("threshold-cascade", LINEAR),
    ("cascade", "routing"),
    ("cascade", "threshold-cascade"),
    ("cascade-routing", "routing"),
    ("cascade-routing", "cascade"),
)

#: And the rule that isn't in the paper, next to its best.
NEW = ("index", "cascade-routing")


def noisy_curves(
    outcomes: Outcomes,
    quality_noise: tuple[float, float],
    cost_noise: float,
    seed: int,
    *,
    methods: Sequence[str] = METHODS,
    fit_share: float = FIT_SHARE,
    max_depth: int = 5,
    progress: Callable[[str, float], None] | None = None,
) -> Curves:
    """Draw noise and a split, and compare methods on them.

    Parameters
    ----------
    outcomes : Outcomes
        Complete table.
    quality_noise, cost_noise
        As in `headrace.datasets.with_noise`.
    seed : int
        Of noise and split.
    methods, max_depth, progress
        As in `headrace.evaluation.replayed`.
    fit_share : float
        Share of the queries that fits and calibrates.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.benchmarks.routerbench import noisy_curves
    >>> found = noisy_curves(hr.datasets.simulate(2000, 3), (0.6, 0.3), 2e-4, seed=1)
    >>> found["cascade-routing"].area > found["routing"].area
    True
    """
    fitting, test = with_noise(outcomes, quality_noise, cost_noise, rng=seed).split(fit_share, rng=seed)
    tables = cross_fitted(fitting, test, NoisyOracle(), NoisyCost(), seed=seed)
    return replayed(*tables, methods, max_depth=max_depth, seed=seed, progress=progress)


def noisy_draws(outcomes: Outcomes, level: str, n_draws: int, progress: Callable[[float], None] | None = None) -> Draws:
    """Compare the methods at a level of noise, on several draws; `progress` is told the share done."""
    n_steps = n_draws * len(METHODS)

    def tell(method: str, share: float, seed: int) -> None:
        if progress is not None:
            progress((seed * len(METHODS) + METHODS.index(method) + share) / n_steps)

    def one(seed: int) -> Curves:
        told = partial(tell, seed=seed)
        return noisy_curves(outcomes, NOISE_LEVELS[level], COST_NOISE[level], seed, progress=told)

    return Draws.of(one, n_draws)


def routerbench(
    outcomes: Outcomes, *, shots: int = 0, n_draws: int = 5, progress: Callable[[str, float], None] | None = None
) -> Results:
    """Check the order of the methods in the paper's table 1.

    Parameters
    ----------
    outcomes : Outcomes
        RouterBench, or a part of it, with the paper's models.
    shots : int
        Examples in its prompts. The paper's table 1 is for none.
    n_draws : int
        Draws of noise and split.
    progress : callable, optional
        Called with the name of a setting and the share of it that is done.

    Returns
    -------
    Results

    Raises
    ------
    ValueError
        A model of the paper is missing.
    """
    complete = outcomes.select(ELEVEN).complete()
    found: dict[tuple[int, str], Draws] = {}
    for size, names in MODEL_SETS.items():
        chosen = complete.select(names)
        for level in NOISE_LEVELS:
            tell = None if progress is None else partial(progress, f"{size} models, {level}")
            found[size, level] = noisy_draws(chosen, level, n_draws, tell)
    first = found[3, "low"].curves[0]
    part = complete.n_queries / N_ROUTERBENCH
    of_what = (
        "All of RouterBench"
        if part > 0.9
        else f"A subset, {part:.0%} of RouterBench's queries: not to be compared number by number"
    )
    about = (
        f"{of_what}. {first.n_fit:,} queries fit and calibrate, {first.n_test:,} test; mean over {drawn(n_draws)} of "
        "noise and split. Area: mean quality over the costs from the cheapest to the most expensive single model, in %."
        " Brackets: 95% of what one draw and a bootstrap of its test queries give. The index rule is not in the paper."
    )
    paper = {} if shots else PAPER
    tables = [*(_areas(size, found, paper) for size in MODEL_SETS), _order(found, paper)]
    title = f"RouterBench with {shots} examples, in the paper's protocol" if shots else "The paper's table 1, checked"
    return Results(title, about, tuple(tables))


def simulated(
    *,
    n_queries: int = 36_000,
    n_models: int = 11,
    n_draws: int = 1,
    progress: Callable[[str, float], None] | None = None,
) -> Results:
    """Run the same protocol at full size on simulated queries: needs no data.

    Parameters
    ----------
    n_queries, n_models : int
    n_draws, progress
        As in `routerbench`.

    Returns
    -------
    Results
    """
    table = simulate(n_queries, n_models)
    found = {}
    for level in NOISE_LEVELS:
        found[level] = noisy_draws(table, level, n_draws, None if progress is None else partial(progress, level))
    rows = [(LABELS[method], *(draws.area(method) for draws in found.values())) for method in (LINEAR, *METHODS)]
    n_fit = found["low"].curves[0].n_fit
    about = (
        f"{n_queries:,} simulated queries (`headrace.datasets.simulate`), {n_models} models, {n_fit:,} to fit and "
        f"calibrate; mean over {drawn(n_draws)} of noise and split. The size of RouterBench, not its content."
    )
    order = [
        (f"{LABELS[a]} - {LABELS[b]}", *(draws.difference(a, b) for draws in found.values())) for a, b in (*ORDER, NEW)
    ]
    heads = tuple(f"{level} noise" for level in found)
    return Results(
        "The paper's protocol at full size",
        about,
        (Table("Area (%)", ("method", *heads), tuple(rows)), Table("Differences", ("", *heads), tuple(order))),
    )


def _areas(size: int, found: Mapping[tuple[int, str], Draws], paper: Published) -> Table:
    columns = ["method"]
    for level in NOISE_LEVELS:
        columns += [f"{level} noise", *([f"{level}, paper"] if paper else [])]
    rows = []
    for method in (LINEAR, *METHODS):
        row: list[object] = [LABELS[method]]
        for at, level in enumerate(NOISE_LEVELS):
            row.append(found[size, level].area(method))
            if paper:
                row.append(paper[method][size][at] if method in paper else None)
        rows.append(tuple(row))
    apart: list[object] = [f"{LABELS[NEW[0]]} - {LABELS[NEW[1]]}"]
    for level in NOISE_LEVELS:
        apart += [found[size, level].difference(*NEW), *([None] if paper else [])]
    return Table(f"{size} models: area (%)", tuple(columns), (*rows, tuple(apart)))


def _order(found: Mapping[tuple[int, str], Draws], paper: Published) -> Table:
    """Compare the sign of each difference with the paper's; without its numbers, with the order that it claims."""
    rows = []
    for size in MODEL_SETS:
        for at, level in enumerate(NOISE_LEVELS):
            for a, b in ORDER:
                ours = found[size, level].difference(a, b)
                theirs = paper[a][size][at] - paper[b][size][at] if paper else None
                verdict = agreement(ours, 1.0 if theirs is None else theirs)
                rows.append((size, level, f"{LABELS[a]} - {LABELS[b]}", ours, theirs, verdict))
    counts = {verdict: sum(row[-1] == verdict for row in rows) for verdict in ("as the paper", "open", "otherwise")}
    note = (
        f"Of {len(rows)} differences, {counts['as the paper']} have the paper's sign and an interval without zero, "
        f"{counts['open']} an interval with zero, {counts['otherwise']} the other sign."
    )
    columns = ("models", "noise", "area of one method minus another's", "here", "paper", "verdict")
    return Table("The order of the methods", columns, tuple(rows), (note,))


def agreement(ours: tuple[float, float, float], theirs: float) -> str:
    """Say whether a difference and its interval have the paper's sign.

    Examples
    --------
    >>> from headrace.benchmarks.routerbench import agreement
    >>> agreement((1.0, 0.5, 1.5), 2.0), agreement((1.0, -0.5, 1.5), 2.0), agreement((1.0, 0.5, 1.5), -2.0)
    ('as the paper', 'open', 'otherwise')
    """
    _, low, high = ours
    if low <= 0.0 <= high:
        return "open"
    return "as the paper" if (low > 0.0) == (theirs > 0.0) else "otherwise"
