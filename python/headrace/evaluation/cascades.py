"""Cascades by the expected maximum, with the chain of models that serves best.

The rule runs the models of a fixed chain as long as some longer prefix is worth its cost (Dekoninck, Baader and Vechev,
ICML 2025). Which models the chain has is chosen on the calibration queries, by the area under the hull of its budget
path and of the single models: all chains of up to six models are tried (`headrace.evaluation.chains`), at the
uncertainty scale that suits the chain of all; then the best chain gets its own scale.
"""

from __future__ import annotations

from typing import Any

from headrace.calibration.settings import Calibration, calibrate
from headrace.calibration.walk import walk
from headrace.evaluation.chains import Chain, by_cost, search_chains
from headrace.evaluation.fold import Fold, Wanted
from headrace.evaluation.hull import Policies, hull_area, mixed, on_path, singles, together
from headrace.evaluation.replay import Replay
from headrace.rules import make_rule

__all__ = ["replay_cascade"]

#: Share of the work that the search for the chain is.
SEARCH = 0.8


def replay_cascade(name: str, fold: Fold, wanted: Wanted) -> Replay:
    """Choose a cascade's chain on one part of the queries, and replay its best mixtures on the other."""
    known, test = fold.calibration.outcomes, fold.held_out.outcomes
    order = by_cost(known)
    alone = singles(known, test)

    def calibrated(chain: Chain, scale: float | None) -> Calibration:
        settings: dict[str, Any] = {"order": chain, "max_depth": len(chain)}
        return calibrate(name, fold.calibration, settings=settings, uncertainty_scale=scale, answer=wanted.answer)

    def policies(chosen: Calibration) -> Policies:
        rule = make_rule(name, 0.0, chosen.settings)
        path = on_path(chosen.path, lambda: walk(rule, test, fold.held_out, answer=wanted.answer))
        return together([path, alone])

    scale = calibrated(order, None).settings["uncertainty_scale"]
    chain = search_chains(
        order,
        lambda chain: hull_area(policies(calibrated(chain, scale)), known),
        lambda share: wanted.progress(SEARCH * share),
    )
    chosen = calibrated(chain, None)
    return mixed(
        name,
        policies(chosen),
        test,
        wanted.budgets,
        uncertainty_scale=chosen.settings["uncertainty_scale"],
        estimates="both",
    )
