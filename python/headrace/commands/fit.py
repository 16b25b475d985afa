"""``headrace fit``: from a log and a budget to a router that serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import headrace as hr
from headrace.arguments import checked_confidence
from headrace.commands.console import (
    AsJson,
    ColumnCost,
    Cost,
    Features,
    Ignore,
    Labels,
    Layout,
    Log,
    MaxDepth,
    ModelsOrNumber,
    Price,
    Rename,
    RuleName,
    Seed,
    Verified,
    columns_told,
    names_or_number,
    notes,
    print_json,
    progress_bar,
    read_log,
    tell_of_many,
    told,
    warnings_told,
)
from headrace.commands.outputs import Force, attempted, check_output, tell_written
from headrace.diagnosis.used_columns import unused_models
from headrace.estimators.registry import default_qualities
from headrace.evaluation.report.units import Units

#: Suffix of a file that holds a router.
ROUTER = ".headrace"

EXAMPLES = (
    "Examples: [bold]headrace fit log.parquet --budget 0.002[/]; "
    "[bold]headrace fit log.csv --models small,large --quality-target 0.8 --confidence 0.95[/]; "
    "[bold]headrace fit log.parquet --cost usd --cost seconds --budget usd=0.002 --budget seconds=1.5[/]"
)


def fit(
    log: Log,
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Mean cost per query, in the log's unit; of several costs, name=number, at most two."),
    ] = None,
    quality_target: Annotated[float | None, typer.Option(help="Mean quality to reach at the least cost.")] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Probability, e.g. 0.95, with which fresh queries keep the budget or target.")
    ] = None,
    largest_cost: Annotated[
        list[str] | None,
        typer.Option(help="Most that one query can cost with all its runs, for --confidence; or name=number."),
    ] = None,
    models: ModelsOrNumber = None,
    cost: Cost = None,
    layout: Layout = None,
    labels: Labels = None,
    verified: Verified = False,
    price: Price = None,
    column_cost: ColumnCost = None,
    rename: Rename = None,
    features: Features = None,
    ignore: Ignore = None,
    rule: RuleName = None,
    max_depth: MaxDepth = 5,
    seed: Seed = 0,
    out: Annotated[
        Path, typer.Option(help="Where the router goes (.headrace), or its policy alone, a few numbers (.json).")
    ] = Path("router.headrace"),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Fit on a log, and write the router for a budget or a quality target."""
    if (budget is None) == (quality_target is None):
        raise typer.BadParameter("expected one of --budget and --quality-target")
    limits = None if budget is None else numbers_in("--budget", budget)
    largest = None if largest_cost is None else numbers_in("--largest-cost", largest_cost)
    console = notes()
    with told(console):
        if confidence is not None:
            checked_confidence(confidence)
        check_output("--out", out, reads=[log, labels], force=force, suffixes=(ROUTER, ".json"))
        named, number = names_or_number(models)
        outcomes = read_log(
            log,
            models=named,
            cost=cost,
            layout=layout,
            labels=labels,
            verified=verified,
            price=price,
            column_cost=column_cost,
            rename=rename,
            features=features,
            ignore=ignore,
        )
        used = columns_told(console, outcomes)
        tell_of_many(console, outcomes, number)
        router = hr.Router(number, rule=rule, max_depth=max_depth, seed=seed)
        with warnings_told(console), progress_bar(console, rule or "fit") as progress:
            router.fit(
                outcomes,
                budget=limits,
                quality_target=quality_target,
                confidence=confidence,
                largest_cost=largest,
                progress=lambda share: progress(rule or "fit", share),
            )
    written = attempted(lambda: _saved(router, out))
    if as_json:
        print_json(
            {
                "outcomes": outcomes.describe().to_dict(),
                "used_columns": used.to_dict(),
                **summary(router, outcomes),
                "written": written.name,
            }
        )
    else:
        typer.echo("\n".join(words(router, outcomes)))
    with told(console):
        tell_written(written, quiet=as_json)


def _saved(router: hr.Router, out: Path) -> Path:
    """Write the router, or its policy alone, by the suffix."""
    if out.suffix.lower() == ROUTER:
        router.save(out)
    else:
        router.policy_.save(out)
    return out


def numbers_in(option: str, given: list[str]) -> float | dict[str, float]:
    """Read a number, or one for each of several costs.

    Examples
    --------
    >>> from headrace.commands.fit import numbers_in
    >>> numbers_in("--budget", ["0.002"]), numbers_in("--budget", ["usd=0.002", "seconds=1.5"])
    (0.002, {'usd': 0.002, 'seconds': 1.5})
    """
    named = {name: number for name, _, number in (text.rpartition("=") for text in given)}
    try:
        numbers = {name: float(number) for name, number in named.items()}
    except ValueError:
        numbers = {}
    if len(numbers) < len(given) or ("" in numbers and len(numbers) > 1) or not all(n >= 0.0 for n in numbers.values()):
        raise typer.BadParameter(
            f"{option}: expected a number >= 0, or name=number for each cost; got {', '.join(given)}"
        )
    return numbers.get("", numbers)


def summary(router: hr.Router, outcomes: hr.Outcomes) -> dict[str, Any]:
    """Collect the numbers of a fit for JSON."""
    point, guarantee = router.point_, router.guarantee_
    return {
        "point": {**point._asdict(), "further_costs": dict(point.further_costs)},
        "rule": router.rule_,
        "bought": list(router.bought_),
        "signals": [] if router.signals_ is None else router.signals_.words,
        "uncertainty_scale": router.uncertainty_scale_,
        "quality_estimator": type(router.quality_).__name__,
        "quality_errors": router.quality_errors_,
        "guarantee": None if guarantee is None else guarantee.to_dict(),
        "best_single_model": best_single(outcomes, router),
        "n_dropped": router.n_dropped_,
        "unused_models": list(unused(router)),
    }


def best_single(outcomes: hr.Outcomes, router: hr.Router) -> dict[str, Any] | None:
    """Give the best single model that costs no more than the policy, on the queries of the fit."""
    complete = outcomes.complete()
    cost, quality = complete.mean_cost, complete.mean_quality
    within = np.flatnonzero(cost <= router.point_.cost * (1.0 + 1e-9))
    if not len(within):
        return None
    best = int(within[quality[within].argmax()])
    return {"model": complete.models[best], "cost": float(cost[best]), "quality": float(quality[best])}


def unused(router: hr.Router) -> tuple[str, ...]:
    """Name the models that no budget uses."""
    return unused_models(router.walked_.stops, router.policy_.models)


def words(router: hr.Router, outcomes: hr.Outcomes) -> list[str]:
    """Say what a fit chose, what is promised, and whether a single model would do."""
    point, guarantee, costs = router.point_, router.guarantee_, router.policy_.costs
    units = Units.of_table(outcomes)
    spent = ", ".join(f"{name} {mean:.6g}" for name, mean in {costs[0]: point.cost, **point.further_costs}.items())
    lines = [f"{router.rule_}: mean {spent}, quality {units.quality(point.quality)}, {point.n_runs:.2f} runs per query"]
    lines.append(f"as on the calibration queries; {router.n_dropped_} of {len(outcomes)} queries were incomplete")
    if len(router.models_) < len(outcomes.models):
        lines.append(f"of {len(outcomes.models)} models, these are worth most: {', '.join(router.models_)}")
    if router.quality_errors_:
        tried = zip(default_qualities(len(router.models_)), router.quality_errors_, strict=True)
        errors = ", ".join(f"{name} {error:.4f}" for name, error in tried)
        lines.append(
            f"quality estimates by {type(router.quality_).__name__}; squared error on held-out queries: {errors}"
        )
    if router.signals_ is not None:
        lines.append(f"at this budget it buys {' and '.join(router.bought_) or 'nothing'} after each run")
        lines += router.signals_.words
    if guarantee is not None:
        promised = " and ".join(
            f"quality at least {units.quality(limit)}" if name == "quality" else f"{name} at most {limit:.6g}"
            for name, limit in guarantee.limits.items()
        )
        costs_more = "quality" in guarantee.limits
        price = (
            f"{guarantee.price:.4g} of cost"
            if costs_more
            else f"{units.number(guarantee.price)}{units.word} of quality"
        )
        lines.append(
            f"guarantee: mean {promised} on fresh queries of the same kind with probability {guarantee.confidence:g} "
            f"({guarantee.n_queries} calibration queries), {guarantee.condition}; its price: {price}"
        )
    if idle := unused(router):
        lines.append(f"no budget uses {', '.join(idle)}: you can do without")
    single = best_single(outcomes, router)
    if single is None:
        lines.append("no single model costs as little on average")
    elif single["quality"] >= point.quality:
        lines.append(
            f"{single['model']} alone is as good ({units.quality(single['quality'])}) at no more cost: use that one"
        )
    else:
        lines.append(
            f"best single model at no more cost: {single['model']}, quality {units.quality(single['quality'])}"
        )
    return lines
