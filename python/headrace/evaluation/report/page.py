"""The page: one HTML file that needs nothing else, for a screen of any size, light or dark, and for paper.

Its words stand in templates beside this file, which escape every text that they are given; the charts, the style and
the script are the only parts that are put in as they are.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from headrace.atomic_file import draft_of
from headrace.evaluation.baselines import LABELS
from headrace.evaluation.report import policy, tables
from headrace.evaluation.report.charts import Curve, curve_chart, inked, swatch
from headrace.evaluation.report.summary import policy_words
from headrace.evaluation.report.units import Units
from headrace.evaluation.report.verdict import same_line, verdict
from headrace.evaluation.scorecard import Scorecard
from headrace.evaluation.traffic import entropy
from headrace.extras import imported
from headrace.json_values import plain

__all__ = ["methods_html", "page", "write_report"]


#: What the methods do, for those who don't know them.
WORDS = {
    "router": "the router that is judged, at each budget",
    "linear interpolation": "two single models, one of them drawn at random for each query: needs no router",
    "routing": "one model per query, chosen before any run",
    "threshold-cascade": "the best chains of models, a threshold for each step, until an answer seems good enough",
    "cascade": "the best chain of models, stopping where another run isn't worth its cost",
    "cascade-routing": "any model next, or a stop, after each run",
    "index": "the next model by an index of each (Weitzman)",
    "pairs": "a cheap model, then a second one where that is expected to pay",
    "agreement": "two or three cheap models, and a stronger one where their answers don't agree",
    "clusters": "one model per query, that of its cluster (k-means)",
    "greedy": "cascade routing that builds its plan one model at a time",
    "no-expected-max": "cascade routing that doesn't count on surprises",
    "oracle": "knows every outcome in advance: a bound, not a method",
}


def write_report(
    card: Scorecard, path: str | os.PathLike[str], *, title: str = "Router report", show_text: bool = False
) -> Path:
    """Write the page to a file: to a temporary name first, then renamed.

    Parameters
    ----------
    card : Scorecard
    path : path
        Where it goes, e.g. "report.html".
    title : str
    show_text : bool, default False
        Whether the examples show the texts of their queries. Their ids are shown in any case.

    Returns
    -------
    Path

    Raises
    ------
    ImportError
        jinja2 is not installed; the message says how to get it.
    OSError
        The file can't be written.
    """
    text = page(card, title=title, show_text=show_text)
    with draft_of(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return Path(path)


def page(card: Scorecard, *, title: str = "Router report", show_text: bool = False) -> str:
    """Give the page as text; arguments and errors as in `write_report`."""
    router, at = card.methods[0], card.at
    low, high = _band(card)
    curve, units, ink = curve_chart(card), Units.of(card), inked(card)
    return _rendered(
        "page.html",
        card=card,
        title=title,
        rule=LABELS[card.rule],
        sentences=verdict(card),
        css=_asset("report.css"),
        js=_asset("report.js"),
        curve=curve.svg,
        rest=[
            (swatch(i), LABELS[method.name], WORDS.get(method.name, ""))
            for i, method in enumerate(card.methods)
            if method.name not in ink
        ],
        same=[LABELS[name] for name in same_line(card)],
        units=units,
        words={LABELS[method.name]: WORDS[method.name] for method in card.methods if method.name in WORDS},
        left_out=[(LABELS[name], reason) for name, reason in card.left_out.items()],
        methods=tables.methods(card),
        singles=tables.singles(card),
        seconds=tables.seconds(card),
        budget=f"{card.budgets[at]:.4g}",
        point={
            "quality": units.quality(router.quality[at]),
            "interval": f"95%: {units.quality(low[at])} to {units.quality(high[at])}",
            "cost": router.cost[at],
            "n_runs": router.n_runs[at],
        },
        policy=policy_words(card),
        bars=policy.bars(card),
        flow=policy.flow(card),
        entropy=entropy(card.answers[at]),
        plots=policy.plots(card),
        decisions=policy.decisions(card, show_text=show_text),
        data=_path_data(card, curve),
    )


def methods_html(card: Scorecard) -> str:
    """Give the verdict and the table of methods as a piece of HTML, for a notebook; errors as in `write_report`."""
    return _rendered("notebook.html", sentences=verdict(card), methods=tables.methods(card))


def _rendered(template: str, **values: Any) -> str:
    """Fill a template in; one that asks for a value that isn't given is an error."""
    jinja2 = imported("jinja2", "a page")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return str(environment.get_template(template).render(values)).lstrip()


def _asset(name: str) -> str:
    return resources.files("headrace.evaluation.report").joinpath(name).read_text(encoding="utf-8")


def _band(card: Scorecard) -> Any:
    """Give the ends of the router's 95% interval at each budget."""
    return np.quantile(card.methods[0].resampled_quality, (0.025, 0.975), axis=0)


def _path_data(card: Scorecard, curve: Curve) -> Any:
    """Give the numbers that the slider shows, as JSON knows them."""
    router = card.methods[0]
    low, high = _band(card)
    return plain(
        {
            "models": card.models,
            "budgets": card.budgets,
            "cost": router.cost,
            "quality": router.quality,
            "low": low,
            "high": high,
            "n_runs": router.n_runs,
            "answers": np.round(card.answers, 5),
            "runs": np.round(card.runs, 5),
            "flows": np.round(card.flows, 5),
            "x": np.round(curve.x, 1),
            "y": np.round(curve.y, 1),
            "scale": Units.of(card).scale,
            "sign": Units.of(card).sign,
            "digits": Units.of(card).digits,
        }
    )
