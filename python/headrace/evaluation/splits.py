"""Splits: whether the verdict stays when the table is split again.

The intervals of an evaluation cover the sampling of its test queries. Another split also changes the queries that the
router is fitted on, so it shows what the intervals leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from headrace.evaluation.baselines import LINEAR
from headrace.evaluation.conclusion import conclusion
from headrace.evaluation.evaluation import evaluate
from headrace.evaluation.scorecard import Again, Scorecard
from headrace.outcomes import Outcomes
from headrace.router import Router

__all__ = ["N_RESAMPLES", "Split", "split_again"]

#: Bootstrap resamples of one split: enough to tell whether an interval holds zero.
N_RESAMPLES = 200

#: What a split is said to find when its fit has no policy for the budget.
TOO_DEAR = "no policy is so cheap"


class Split(NamedTuple):
    """Two parts of a table."""

    fitting: Outcomes
    test: Outcomes


def split_again(
    card: Scorecard,
    router: Router,
    outcomes: Outcomes,
    *,
    n_splits: int,
    budget: float | Mapping[str, float] | None = None,
    share: float = 0.5,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Again:
    """Split a table a few times more, fit and evaluate on each split, and count what is concluded.

    Parameters
    ----------
    card : Scorecard
        The evaluation to check.
    router : Router
        Its settings are those of every fit; it stays as it is.
    outcomes : Outcomes
        All labelled queries, those of the fit and those of the test.
    n_splits : int
    budget : float or mapping of str to float, optional
        As for `Router.fit`; by default that of the evaluation.
    share : float
        Of the queries that are fitted on.
    seed : int
        Split number i is drawn with seed + i; the evaluation's own is number 0.
    progress : callable, optional
        Called with the share done.

    Returns
    -------
    Again

    Raises
    ------
    ValueError
        `n_splits` isn't an integer from 1.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.evaluation.splits import split_again
    >>> table = hr.datasets.load_quickstart().select(["centroid", "network", "svm"]).take(range(600))
    >>> fitting, test = table.split(0.5, rng=0)
    >>> router = hr.Router(quality="linear", rule="routing").fit(fitting, budget=40.0)
    >>> card = hr.evaluate(router, test, fitting=fitting, baselines=["linear interpolation"])
    >>> again = split_again(card, router, table, n_splits=2)
    >>> len(again.conclusions), len(again.qualities)
    (2, 2)
    """
    if isinstance(n_splits, bool) or not isinstance(n_splits, int) or n_splits < 1:
        raise ValueError(f"n_splits: expected an int >= 1, got {n_splits!r}")
    complete = outcomes.complete()
    conclusions: list[str] = []
    qualities: list[float] = []
    gains: list[float] = []
    for number in range(1, n_splits + 1):
        found = _evaluated(card, router, Split(*complete.split(share, rng=seed + number)), budget)
        conclusions.append(TOO_DEAR if found is None else conclusion(found))
        if found is not None:
            qualities.append(found.chosen.quality.value)
            gains.append(found.gain_over(LINEAR).value)
        if progress is not None:
            progress(number / n_splits)
    return Again(conclusion(card), tuple(conclusions), tuple(qualities), tuple(gains))


def _evaluated(
    card: Scorecard, router: Router, split: Split, budget: float | Mapping[str, float] | None
) -> Scorecard | None:
    fitted = type(router)(**router.get_params(deep=False)).fit(split.fitting)
    wanted = float(card.budgets[card.at]) if budget is None else budget
    try:
        fitted = fitted.fit(split.fitting, budget=wanted) if isinstance(wanted, Mapping) else fitted.with_budget(wanted)
    except ValueError:
        return None
    return evaluate(
        fitted, split.test, baselines=[LINEAR], fitting=split.fitting, n_resamples=N_RESAMPLES, n_examples=0
    )
