"""What it brings to buy a signal after each run: never, always, or where the fit finds that it pays.

    python benches/python/paid_columns.py DATA_DIR [--seeds 5] [--cases ...] [--known N] > docs/results/paid_columns.md

DATA_DIR holds the tables that `held_out.py` beside this file names. The signals are: tests of an agent's patch, whose
verdict is right, at a share of the cheapest agent's mean cost; a simulated judge, whose verdict is the quality plus
normal noise, its mean for right and wrong answers d' deviations apart; and agreement with the answer of a small model
that is not among those routed to, at its cost. With --known, only so many fitting queries have the signal.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from held_out import CASES, halves

import headrace as hr
from headrace.arguments import FloatArray
from headrace.evaluation import Evaluation

#: Price of a run of the tests, in mean costs of the cheapest agent; and d' of judges, at half the median model's cost.
SHARES, JUDGES, JUDGE_SHARE = (0.05, 0.2, 0.5), (0.8, 1.8, 3.0), 0.5

#: The small model whose agreement is bought.
SMALL = "Phi-3-mini-4k-instruct"

HEAD = """# Paid columns: signals that are bought

`python benches/python/paid_columns.py DATA_DIR --seeds {seeds}{known}`: half of the queries fit and calibrate, the
other half are the test; the default router, five models. Area: mean quality over the costs from the cheapest to the
most expensive model, in %. The differences are paired, in points: mean over {seeds} splits; brackets: 95%, pooled
bootstrap over the test queries of all splits, so that of one split. "Behind" counts the splits in which the choice is
behind the better of never and always by more than its own interval.

| table | signal | its price | never: area | always: area | choice: area | choice - never | choice - always | behind |
|---|---|---|---|---|---|---|---|---|"""


def pooled(values: list[float], resampled: list[FloatArray]) -> str:
    low, high = 100.0 * np.quantile(np.concatenate(resampled), [0.025, 0.975])
    return f"{100.0 * np.mean(values):+.2f} [{low:+.2f}, {high:+.2f}]"


def with_signal(table: hr.Outcomes, name: str, signal: FloatArray, price: FloatArray | float) -> hr.Outcomes:
    return hr.Outcomes(
        models=table.models,
        quality=table.quality,
        cost=dict(table.costs),
        ids=table.ids,
        queries=dict(table.queries),
        responses={**table.responses, name: signal},
        groups=table.groups,
        column_cost={name: price},
    )


def tested(table: hr.Outcomes, share: float) -> hr.Outcomes:
    price = share * float(table.mean_cost.min())
    # Without what the log tells of the tests by itself.
    hidden = table.without("quality") if "quality" in table.responses else table
    return with_signal(hidden, "tests", table.quality, price)


def judged(table: hr.Outcomes, distance: float, seed: int) -> hr.Outcomes:
    noise = np.random.default_rng(seed).normal(size=table.quality.shape)
    price = JUDGE_SHARE * float(np.median(table.mean_cost))
    return with_signal(table, "judge", distance * table.quality + noise, price)


def agreeing(table: hr.Outcomes, whole: hr.Outcomes) -> hr.Outcomes:
    """Buy a small model's answer; whether it is the same says something of both."""
    other = whole.models.index(SMALL)
    place = {label: row for row, label in enumerate(whole.ids)}
    rows = [place[label] for label in table.ids]
    answers = whole.responses["answer"][rows, other]
    agrees = (table.responses["answer"] == answers[:, None]).astype(float)
    return with_signal(table, "agrees", agrees, np.repeat(whole.cost[rows, other, None], table.n_models, axis=1))


def only(table: hr.Outcomes, n: int | None, seed: int) -> hr.Outcomes:
    """Forget the signal of all queries but n."""
    if n is None or n >= table.n_queries:
        return table
    (name,) = table.column_cost
    signal = np.array(table.responses[name], dtype=float)
    signal[np.random.default_rng(seed).permutation(table.n_queries)[n:]] = np.nan
    return with_signal(table, name, signal, table.column_cost[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cases", nargs="*")
    parser.add_argument("--known", type=int)
    given = parser.parse_args()
    print(HEAD.format(seeds=given.seeds, known="" if given.known is None else f" --known {given.known}"))
    for case in CASES:
        name = case[0]
        if name not in ("mmlu_pro", "swebench_verified_miniagent") or (given.cases and name not in given.cases):
            continue
        signals: list[tuple[str, str, object]] = []
        if name != "mmlu_pro":
            signals += [("tests", f"{share:.0%} of the cheapest run", share) for share in SHARES]
        else:
            signals += [(f"judge, d' {d:g}", "half a median run", d) for d in JUDGES]
            signals += [(f"agreement with {SMALL}", "its run", None)]
        for signal, price, parameter in signals:
            evaluations: list[Evaluation] = []
            for seed in range(given.seeds):
                started = time.perf_counter()
                parts = halves(given.directory, case, seed)
                if signal == "tests":
                    parts = [tested(part, parameter) for part in parts]
                elif parameter is not None:
                    parts = [judged(part, parameter, seed * 2 + number) for number, part in enumerate(parts)]
                else:
                    whole = hr.Outcomes.from_file(given.directory / f"{name}.parquet")
                    parts = [agreeing(part, whole) for part in parts]
                fitting, test = only(parts[0], given.known, seed), parts[1]
                router = hr.Router(seed=seed).fit(fitting)
                evaluations.append(
                    hr.evaluate(router, test, baselines=["linear interpolation"], n_examples=0, seed=seed)
                )
                print(f"{name}, {signal}, seed {seed}: {time.perf_counter() - started:.1f} s", file=sys.stderr)
            areas = [
                np.mean([100.0 * one.area for one in kind]) for kind in zip(*(e.paid for e in evaluations), strict=True)
            ]
            own = 100.0 * np.mean([e["router"].area for e in evaluations])
            differences = [
                pooled(
                    [e["router"].area - e.paid[number].area for e in evaluations],
                    [e["router"].resampled - e.paid[number].resampled for e in evaluations],
                )
                for number in (0, 1)
            ]
            behind = sum(e.choice_minus(max(e.paid, key=lambda one: one.area).name).high < 0.0 for e in evaluations)
            print(
                f"| {name} | {signal} | {price} | {areas[0]:.2f} | {areas[1]:.2f} | {own:.2f} | "
                f"{' | '.join(differences)} | {behind} of {given.seeds} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
