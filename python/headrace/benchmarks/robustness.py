"""What happens to the result when the fit is small, estimates are bad or wrong, or prices change after the fit.

All on simulated queries with the paper's noisy estimates, so that one thing at a time can be changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Self

import numpy as np

from headrace.arguments import FloatArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.benchmarks.draws import Draws, drawn
from headrace.benchmarks.results import Results, Table
from headrace.benchmarks.routerbench import COST_NOISE
from headrace.datasets import NOISE_LEVELS, NoisyCost, NoisyOracle, simulate, with_noise
from headrace.estimators.belief import Belief
from headrace.estimators.protocol import Queries
from headrace.estimators.responses import Responses
from headrace.evaluation.baselines import LABELS, LINEAR
from headrace.evaluation.bootstrap import Estimate
from headrace.evaluation.curves import METHODS, cross_fitted, replayed
from headrace.evaluation.method import Curves
from headrace.outcomes import Outcomes

__all__ = ["Distorted", "robustness"]

N_MODELS = 5

#: Queries that test.
N_TEST = 3000

#: Queries that fit and calibrate, where their number isn't what is changed.
N_FIT = 500

#: Numbers of queries to fit and calibrate on.
FIT_SIZES = (20, 50, 100, 200, 500, 1000, 2000)

#: Standard deviations of the noise on the quality before a run and after it: the grid of the paper's figure 2.
BEFORE, AFTER = (0.3, 0.6, 1.2, 2.4, 4.8), (0.15, 0.3, 0.6, 1.2, 2.4)

#: Distortions of the estimates after the calibration: slope around the mean, and what is added for the most expensive
#: model.
DISTORTIONS = {
    "as calibrated": (1.0, 0.0),
    "too timid: deviations halved": (0.5, 0.0),
    "too bold: deviations doubled": (2.0, 0.0),
    "most expensive model 10 points too good": (1.0, 0.1),
    "most expensive model 10 points too bad": (1.0, -0.1),
}

#: Factors of the most expensive model's price after the fit.
PRICE_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)

#: Resamples per draw.
N_RESAMPLES = 200

Progress = Callable[[str, float], None]


def robustness(*, n_draws: int = 3, progress: Progress | None = None) -> Results:
    """Study the size of the fit, the noise of estimates, miscalibration, and prices that change.

    Parameters
    ----------
    n_draws : int
        Draws of queries, noise and split.
    progress : callable, optional
        Called with the name of a study and the share of it that is done.

    Returns
    -------
    Results
    """

    def tell(study: str) -> Callable[[float], None]:
        return (lambda share: None) if progress is None else partial(progress, study)

    about = (
        f"Simulated queries (`headrace.datasets.simulate`): {N_MODELS} models, noise on the quality before and after "
        f"a run as in the paper, medium where nothing else is said; {N_FIT:,} queries fit and calibrate, {N_TEST:,} "
        f"test. Mean over {drawn(n_draws)}; brackets: 95% of what one draw and a bootstrap of its test queries give. "
        "Area in %."
    )
    tables = (
        fit_sizes(n_draws, tell("fit sizes")),
        *noise_grid(n_draws, tell("noise")),
        miscalibration(n_draws, tell("miscalibration")),
        price_changes(n_draws, tell("prices")),
    )
    return Results("Robustness", about, tables)


class Distorted:
    """A fitted quality estimator whose estimates are distorted in service.

    Parameters
    ----------
    estimator : QualityEstimator
        Fitted.
    center : ndarray of shape (n_models,)
        What estimates are stretched around.
    slope : float
        Factor of their deviations from the center.
    shift : ndarray of shape (n_models,)
        What is added.
    """

    def __init__(self, estimator: NoisyOracle, center: FloatArray, slope: float, shift: FloatArray) -> None:
        self.estimator: NoisyOracle = estimator
        self.center: FloatArray = center
        self.slope: float = slope
        self.shift: FloatArray = shift

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Refuse: only what is fitted already is distorted."""
        raise TypeError("estimator: a distorted estimator isn't fitted again")

    def predict(self, queries: Queries, responses: Responses) -> Belief:
        """Distort the means; the variance of the updates stays what was calibrated."""
        belief = self.estimator.predict(queries, responses)
        return belief._replace(quality=self.center + self.slope * (belief.quality - self.center) + self.shift)


def parts(n_fit: int, noise: tuple[float, float], seed: int) -> tuple[Outcomes, Outcomes]:
    """Simulate queries to fit on and `N_TEST` to test on; the test queries are those of any size of the fit."""
    largest = max(*FIT_SIZES, n_fit)
    table = with_noise(simulate(N_TEST + largest, N_MODELS, rng=seed), noise, COST_NOISE["medium"], rng=seed)
    return table.take(np.arange(N_TEST, N_TEST + n_fit)), table.take(np.arange(N_TEST))


def believed(fitting: Outcomes, test: Outcomes, seed: int) -> tuple[BeliefTable, BeliefTable]:
    """Cross-fit the noisy oracle, and ask it about the test queries."""
    return cross_fitted(fitting, test, NoisyOracle(), NoisyCost(), seed=seed)


def fit_sizes(n_draws: int, tell: Callable[[float], None]) -> Table:
    """Area and budget violation against the number of queries to fit and calibrate on."""
    rows = []
    for done, n_fit in enumerate(FIT_SIZES):

        def one(seed: int, n_fit: int = n_fit) -> Curves:
            tables = believed(*parts(n_fit, NOISE_LEVELS["medium"], seed), seed)
            return replayed(*tables, seed=seed, n_resamples=N_RESAMPLES)

        draws = Draws.of(one, n_draws)
        over = 100.0 * float(np.mean([each["cascade-routing"].excess for each in draws.curves]))
        rows.append((n_fit, *(draws.area(method) for method in (LINEAR, *METHODS)), over))
        tell((done + 1) / len(FIT_SIZES))
    columns = ("queries to fit", *(LABELS[method] for method in (LINEAR, *METHODS)), "cascade routing: over budget, %")
    return Table("Number of queries to fit and calibrate on", columns, tuple(rows))


def noise_grid(n_draws: int, tell: Callable[[float], None]) -> tuple[Table, ...]:
    """Areas over noise before and after a run."""
    others = ("routing", "cascade")
    cells: dict[tuple[float, float], Draws] = {}
    for done, before in enumerate(BEFORE):
        for after in AFTER:
            if after > before:
                continue

            def one(seed: int, noise: tuple[float, float] = (before, after)) -> Curves:
                tables = believed(*parts(N_FIT, noise, seed), seed)
                methods = ("routing", "cascade", "cascade-routing")
                return replayed(*tables, methods, seed=seed, n_resamples=N_RESAMPLES)

            cells[before, after] = Draws.of(one, n_draws)
        tell((done + 1) / len(BEFORE))
    columns = ("noise before", *(f"after {after:g}" for after in AFTER))

    def grid(title: str, cell: Callable[[Draws], Estimate]) -> Table:
        rows = [
            (f"{before:g}", *(cell(cells[before, after]) if (before, after) in cells else None for after in AFTER))
            for before in BEFORE
        ]
        return Table(title, columns, tuple(rows))

    return (
        grid("Noise before and after a run: area of cascade routing", lambda draws: draws.area("cascade-routing")),
        *(
            grid(
                f"Noise before and after a run: cascade routing minus {LABELS[other]}",
                lambda draws, other=other: draws.difference("cascade-routing", other),  # type: ignore[misc]
            )
            for other in others
        ),
    )


def miscalibration(n_draws: int, tell: Callable[[float], None]) -> Table:
    """Areas where the estimates of service are distorted versions of those that the rules were calibrated on."""
    methods = ("routing", "threshold-cascade", "cascade", "cascade-routing")
    rows = []
    for done, (name, (slope, shift)) in enumerate(DISTORTIONS.items()):

        def one(seed: int, slope: float = slope, shift: float = shift) -> Curves:
            fitting, test = parts(N_FIT, NOISE_LEVELS["medium"], seed)
            table, _ = believed(fitting, test, seed)
            added = np.append(np.zeros(N_MODELS - 1), shift)
            wrong = [
                (Distorted(quality, fitting.mean_quality, slope, added), costs)  # type: ignore[arg-type]
                for quality, costs in table.estimators
            ]
            served = BeliefTable.served(test, wrong, seed=seed)
            return replayed(table, served, methods, seed=seed, n_resamples=N_RESAMPLES)

        draws = Draws.of(one, n_draws)
        over = 100.0 * float(np.mean([each["cascade-routing"].excess for each in draws.curves]))
        rows.append((name, *(draws.area(method) for method in (LINEAR, *methods)), over))
        tell((done + 1) / len(DISTORTIONS))
    columns = ("estimates in service", *(LABELS[method] for method in (LINEAR, *methods)))
    note = (
        "The rules were calibrated on honest estimates; only those of the test queries are distorted. Mixing single "
        "models asks for no estimates."
    )
    return Table("Miscalibration after the fit", (*columns, "cascade routing: over budget, %"), tuple(rows), (note,))


def price_changes(n_draws: int, tell: Callable[[float], None]) -> Table:
    """Realised cost against the budget, and area, where the most expensive model's price changes after the fit."""
    rows = []
    for done, factor in enumerate(PRICE_FACTORS):
        found: dict[str, list[Curves]] = {"unaware": [], "estimates aware": [], "fitted again": []}
        for seed in range(n_draws):
            fitting, test = parts(N_FIT, NOISE_LEVELS["medium"], seed)
            prices = np.append(np.ones(N_MODELS - 1), factor)
            changed = replace(test, cost=test.cost * prices)
            told = replace(changed, queries=repriced(test, prices).queries)
            old, unaware = believed(fitting, changed, seed)
            new, again = believed(repriced(fitting, prices), told, seed)
            aware = [(quality, costs) for (quality, _), (_, costs) in zip(old.estimators, new.estimators, strict=True)]
            for name, calibration, served in (
                ("unaware", old, unaware),
                ("estimates aware", old, BeliefTable.served(told, aware, seed=seed)),
                ("fitted again", new, again),
            ):
                found[name].append(
                    replayed(calibration, served, ["cascade-routing"], seed=seed, n_resamples=N_RESAMPLES)
                )
        for name, curves in found.items():
            overspent = [spent(each) for each in curves]
            rows.append((f"{factor:g}", name, Draws(tuple(curves)).area("cascade-routing"), float(np.mean(overspent))))
        tell((done + 1) / len(PRICE_FACTORS))
    columns = ("factor of the price", "policy", "area", "realised cost minus budget, %")
    note = (
        "Unaware: neither the cost estimates nor the cost weights know of the change. Estimates aware: the cost "
        "estimates do, the cost weights are the old ones. Fitted again: both do. Areas of one factor share their range "
        "of costs; the last column is a mean over the budgets that the method can keep and use up."
    )
    return Table("Prices that change after the fit: the most expensive model", columns, tuple(rows), (note,))


def repriced(table: Outcomes, prices: FloatArray) -> Outcomes:
    """Multiply costs, and the noisy looks at them, by a factor per model."""
    queries = {
        name: column * prices if name == "noisy_cost_before" else column for name, column in table.queries.items()
    }
    return replace(table, cost=table.cost * prices, queries=queries)


def spent(curves: Curves) -> float:
    """Mean of realised cost over budget, minus 1, in %: over feasible budgets at which the curve still rises."""
    method = curves["cascade-routing"]
    rising = np.append([later > sooner for sooner, later in pairwise(method.cost)], False)
    used = method.feasible & rising
    return 100.0 * float(np.mean(method.cost[used] / curves.budgets[used] - 1.0))
