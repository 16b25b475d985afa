"""All methods, with a regression per run set and with the joint belief, on held-out queries of real logs.

    nice python benches/python/estimators.py DATA_DIR [--seeds 5] [--most-models 6] [--only mmlu_pro]

DATA_DIR holds the Parquet tables named below (columns: see `headrace.Outcomes.from_file`, layout "wide"). Every seed
draws the queries to fit and to test anew; queries of the same text are never split. Estimators are fitted and rules
calibrated by cross-fitting, so that no label is used for both. Intervals are of 95%, by Student's t over the seeds. It
takes an hour or two on one core, most of it eleven models with 1,500 queries.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

import headrace as hr
from headrace.arguments import FloatArray
from headrace.estimators import JointQuality, LinearQuality
from headrace.evaluation.baselines import LINEAR, ORACLE

LLAMA_8B, LLAMA_70B = "Meta-Llama-3_1-8B-Instruct", "Meta-Llama-3_1-70B-Instruct"
GPT_4O, DEEPSEEK = "gpt-4o (May-2024 run)", "deepseek-chat-v2 (May-2024 run)"
MMLU = (LLAMA_8B, "gemini-1.5-flash-002", LLAMA_70B, "gemini-1.5-pro-002", GPT_4O)
MIXED = (LLAMA_8B, "mathstral-7B", "Mixtral-8x7B-Instruct-v0.1", DEEPSEEK, LLAMA_70B, "jamba-1.5-large")
MORE = ("Phi-3-mini-4k-instruct", "mathstral-7B", "Mixtral-8x7B-Instruct-v0.1", DEEPSEEK, "jamba-1.5-large")
MISTRAL, MIXTRAL = "mistralai/mistral-7b-chat", "mistralai/mixtral-8x7b-chat"
GPT_35, GPT_4 = "gpt-3.5-turbo-1106", "gpt-4-1106-preview"
AGENTS = ("deepseek-v3.2-reasoner", "gpt-5-mini-2025-08-07", "gpt-5-2025-08-07", "gemini-3-pro-preview")
OPUS = "claude-opus-4-5-20251101"
MORE_AGENTS = ("devstral-small-2512", "glm-4.6", "minimax-m2", "gpt-5.1-2025-11-13", "claude-sonnet-4-5-20250929")
CODERS = ("Claude-3-Haiku", "GPT-4O-mini-2024-07-18", "DeepSeek-V3", "O3-Mini-2025-01-31 (Low)", "O4-Mini (High)")


class Case(NamedTuple):
    """Models of a table, and how many queries fit and test; `assumed` costs where the table has none."""

    name: str
    file: str
    models: tuple[str, ...] | None
    n_fit: int
    n_test: int
    verified: bool = False
    assumed: tuple[float, ...] | None = None


ROUTERBENCH = "routerbench_arc_mbpp_winogrande"
SWEBENCH = "swebench_verified_miniagent"
CASES = (
    Case("mmlu_pro, 3 models", "mmlu_pro", (LLAMA_8B, LLAMA_70B, GPT_4O), 1500, 3000),
    Case("mmlu_pro, 5", "mmlu_pro", MMLU, 1500, 3000),
    Case("mmlu_pro, 5, few labels", "mmlu_pro", MMLU, 200, 3000),
    Case("mmlu_pro, 6 mixed", "mmlu_pro", MIXED, 1500, 3000),
    Case("mmlu_pro, 11", "mmlu_pro", (*MMLU, *MORE, "c4ai-command-r-v01"), 1500, 3000),
    Case("mmlu_pro, 11, few labels", "mmlu_pro", (*MMLU, *MORE, "c4ai-command-r-v01"), 200, 3000),
    Case("routerbench, 3", ROUTERBENCH, (MISTRAL, MIXTRAL, GPT_4), 1500, 1500),
    Case("routerbench, 5", ROUTERBENCH, (MISTRAL, MIXTRAL, "zero-one-ai/Yi-34B-Chat", GPT_35, GPT_4), 1500, 1500),
    Case("routerbench, 11", ROUTERBENCH, None, 1500, 1500),
    Case("swebench, 5 agents", SWEBENCH, (*AGENTS, OPUS), 250, 250, True),
    Case("swebench, 10", SWEBENCH, (*AGENTS, OPUS, *MORE_AGENTS), 250, 250, True),
    Case("livecodebench, 5", "livecodebench_codegen", CODERS, 500, 500, True, (1.0, 2.0, 5.0, 10.0, 20.0)),
)

#: Methods in the order of the table, by their names in an evaluation; the last by both estimators.
METHODS = {
    LINEAR: "single models, mixed",
    "routing": "routing",
    "threshold-cascade": "threshold cascade",
    "cascade": "cascade",
    "index": "index rule",
    "regressions": "**cascade routing, regressions**",
    "joint": "**cascade routing, joint belief**",
    "chosen": "cascade routing, chosen in the fit",
    ORACLE: "oracle",
}

HEAD = """# Methods and estimators on held-out queries

`python benches/python/estimators.py DATA_DIR --seeds {seeds}{limit}`: area under quality against cost, between the mean
costs of the cheapest and of the most expensive single model, in %; mean over {seeds} draws of the queries to fit and to
test, and half the width of its 95% interval. All rules but the one with the joint belief have a ridge regression
per run set (`LinearQuality`, the paper's way). "Chosen in the fit" is `Router()`, which takes one of the two by its
error on held-out queries of the fit. The last two columns are paired: both methods on the same queries.

mmlu_pro: features task, length and, after a run, length and agreement of answers. RouterBench: text length, length and
agreement of answers. SWE-bench: whether a run solved the issue is known after it (tests), as are its cost and number of
calls. LiveCodeBench: tests as well; its costs, 1 to 20, are assumed, so its numbers are an illustration.
"""

TAIL = """## How to read it

- Goals set beforehand, by a quick script on one split: mmlu_pro 5 models, routing 71.65 and cascade routing 73.69; 6
  mixed models, cascade routing 60.98; SWE-bench 5 agents, routing 68.0 and cascade routing 78.2. The means above
  reach all of them: 72.7, 74.2 to 74.3, 61.9 to 62.0, 68.9, and 78.8 to 79.0; those of SWE-bench by less than their
  intervals.
- With 500 labels or more the joint belief and the regressions can't be told apart, at three models or at eleven, but
  for mmlu_pro with 5 models: there the joint belief is behind by 0.14 ± 0.12 points, of which the next section says
  more.
- With 200 labels the joint belief is ahead by half a point, and over 20 draws on all four tables of five and eleven
  models, by 0.3 to 0.6 points (joint_belief.md). With ten agents and 250 labels it is ahead by 0.75 ± 0.77.
- `Router()` takes one of the two by cross-validation. In no table its mean is behind the better one by more than
  0.11, but for eleven models with 200 labels, where one draw of five took the worse one and the mean lost 0.45 ±
  1.26.
- The best fixed chain keeps up with cascade routing where the order of prices is nearly that of qualities: on
  mmlu_pro with 3 and 5 models and on SWE-bench (of which more in verified_outcomes.md). On mmlu_pro with 6 mixed
  models it is ahead of the regressions by 0.55 ± 0.54 and of the joint belief by 0.45 ± 0.63. On the other tables it
  is behind, by 0.2 ± 0.2, 0.6 ± 0.2 and 0.6 ± 0.2 points on RouterBench with 3, 5 and 11 models, 1.6 ± 0.5 on
  LiveCodeBench, and 1.6 ± 1.1 on mmlu_pro with 11 models and 200 labels.
- The index rule, which looks at no sets, is within 0.15 points of the search, both with the regressions, but for
  RouterBench with 3 models, where it is behind by 0.3, and for ten agents, where it is ahead by 0.8 ± 0.5; it is level
  with the joint belief there, which is what `Router()` takes.
- On RouterBench with 5 and 11 models, routing is within 0.3 points of cascade routing.
- Thresholds per step are level with cascade routing on SWE-bench and with 6 mixed models, and 0.7 to 2.6 points behind
  it on the other tables.
- Ten and eleven models take most of the time: seven minutes for ten agents, nine for mmlu_pro with 200 labels, half
  an hour with 1,500, 23 minutes for RouterBench.

## Why the joint belief is behind on mmlu_pro with 5 models

- Over 40 other draws of the same 12,032 queries it is 0.08 ± 0.06 behind (pooling.md). For fresh queries the
  interval is wider, and the gap isn't proven.
- It isn't the updates: with the variances of the other belief, areas change by 0.01 or less.
- It is the pooling over models, in the means. With the same uncertainty scale for both, 0.06 ± 0.05 is left, and
  0.02 ± 0.03 without pooling. Squared errors, by which pooling is chosen, don't show it: they are the same
  (joint_belief.md). With few labels it is pooling that makes the joint belief the better one.
- It is also the choice of the scale: the fit takes zero, the worst on the test queries, in 12 of 40 draws (with the
  regressions in 5), as the area on the queries of a fit is noisy. Zero stays on the list: on the reference's inputs of
  low noise it is a good choice (fusion.md).
"""


def table_of(directory: Path, case: Case) -> hr.Outcomes:
    cost = None if case.assumed is None else "response_len"
    table = hr.Outcomes.from_file(directory / f"{case.file}.parquet", cost=cost, verified=case.verified)
    if case.models is not None:
        table = table.select(case.models)
    if case.assumed is not None:
        table = replace(table, cost=case.assumed, responses={"quality": table.quality})
    table = table.complete()
    return replace(table, groups=[str(text or row) for row, text in enumerate(table.queries["text"])])


def parts(table: hr.Outcomes, case: Case, seed: int) -> tuple[hr.Outcomes, hr.Outcomes]:
    n_used = case.n_fit + case.n_test
    if n_used < table.n_queries - 1:
        table = table.split(n_used / table.n_queries, rng=seed)[0]
    return table.split(case.n_fit / table.n_queries, rng=seed)


def areas(fitting: hr.Outcomes, test: hr.Outcomes, seed: int) -> dict[str, float]:
    """Area of each method, in %."""
    baselines = [name for name in METHODS if name not in ("regressions", "joint", "chosen")]
    found: dict[str, float] = {}
    for name, quality in (("regressions", LinearQuality()), ("joint", JointQuality())):
        router = hr.Router(rule="cascade-routing", quality=quality, seed=seed).fit(fitting)
        wanted = baselines if name == "regressions" else []
        judged = hr.evaluate(router, test, fitting=fitting, baselines=wanted, n_resamples=2, n_examples=0)
        found |= {method.name: 100.0 * method.area for method in judged.methods[1:]}
        found[name] = 100.0 * judged.methods[0].area
    chosen = hr.Router(rule="cascade-routing", seed=seed).fit(fitting).quality_
    found["chosen"] = found["joint" if isinstance(chosen, JointQuality) else "regressions"]
    found["share of joint"] = float(isinstance(chosen, JointQuality))
    return found


def interval(values: FloatArray) -> float:
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def shown(values: FloatArray, sign: str = "") -> str:
    return f"{values.mean():{sign}.2f} ± {interval(values):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name begins so")
    parser.add_argument("--most-models", type=int, help="leave out tables of more models, which take most of the time")
    options = parser.parse_args()
    limit = "" if options.most_models is None else f" --most-models {options.most_models}"
    print(HEAD.format(seeds=options.seeds, limit=limit))
    for case in CASES:
        if not case.name.startswith(options.only):
            continue
        started = time.perf_counter()
        table = table_of(options.directory, case)
        if limit and table.n_models > options.most_models:
            continue
        drawn = [areas(*parts(table, case, seed), seed) for seed in range(options.seeds)]
        found = {name: np.array([areas_[name] for areas_ in drawn]) for name in drawn[0]}
        print(f"## {case.name}\n\n{case.n_fit:,} queries to fit, {case.n_test:,} to test.", end=" ")
        print(f"The fit chose the joint belief in {found['share of joint'].sum():.0f} of {options.seeds} draws.\n")
        print("| method | area | minus regressions | minus joint belief |\n|---|---|---|---|")
        for name, label in METHODS.items():
            against = [
                "" if name == other else shown(found[name] - found[other], "+") for other in ("regressions", "joint")
            ]
            print(f"| {label} | {shown(found[name])} | {against[0]} | {against[1]} |")
        print(flush=True)
        print(f"{case.name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    print(TAIL, end="")


if __name__ == "__main__":
    main()
