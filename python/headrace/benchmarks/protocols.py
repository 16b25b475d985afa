"""The benchmarks by name, and the files that they need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from headrace.benchmarks.ablation import ablation
from headrace.benchmarks.practical import classification, livecodebench, swe_bench
from headrace.benchmarks.results import Results
from headrace.benchmarks.robustness import robustness
from headrace.benchmarks.routerbench import routerbench, simulated
from headrace.benchmarks.scaling import scaling
from headrace.outcomes import Outcomes

__all__ = ["PROTOCOLS", "Protocol"]

#: Endings of the files that are looked for, in this order.
SUFFIXES = (".parquet", ".csv", ".jsonl", ".json", ".npz")

ROUTERBENCH = (
    "RouterBench is withmartian/routerbench on the Hugging Face hub; its files are pickles, which are not read here: "
    "load routerbench_0shot.pkl with pandas where you trust it, and save it as routerbench_0shot.parquet"
)

SWE_BENCH = (
    "SWE-bench's leaderboard publishes which agent solved which issue at what cost; bring them as one wide table with "
    "the columns query_id, text, task, <agent>|quality and <agent>|cost"
)
LIVECODEBENCH = (
    "LiveCodeBench's site publishes pass@1 of every model on every problem; bring them as one wide table with the "
    "columns query_id, text, task, <model>|quality"
)
MMLU_PRO = (
    "MMLU-Pro's repository publishes the models' answers; bring them as one wide table with the columns query_id, "
    "text, task, <model>|quality, <model>|cost and <model>|answer"
)


class Protocol(NamedTuple):
    """A benchmark.

    Attributes
    ----------
    about : str
        One line.
    run : callable
        Takes the table, where there is one, and the keywords `n_draws` and `progress`; gives `Results`.
    files : tuple of str
        Patterns of the names, without endings, of the files of which it needs one; empty: it needs none.
    source : str
        Where to get one.
    reading : dict
        Keywords of `Outcomes.from_file`.
    n_draws : int
        Draws unless told otherwise.
    """

    about: str
    run: Callable[..., Results]
    files: tuple[str, ...] = ()
    source: str = ""
    reading: dict[str, Any] = {}  # noqa: RUF012  # never written to
    n_draws: int = 5

    def table(self, data: Path | None) -> Outcomes | None:
        """Read the file that is given, or found in the folder that is given.

        Raises
        ------
        ValueError
            It isn't there; the message says what is missing and where it comes from.
        """
        if not self.files:
            return None
        return Outcomes.from_file(self._path(data), **self.reading)

    def _path(self, data: Path | None) -> Path:
        wanted = " or ".join(f"{pattern}{SUFFIXES[0]}" for pattern in self.files)
        if data is None:
            raise ValueError(f"--data: expected a file, or a folder with {wanted}. {self.source}")
        if data.is_file():
            return data
        for pattern in self.files:
            for suffix in SUFFIXES:
                if found := sorted(data.glob(pattern + suffix)):
                    return found[0]
        raise ValueError(
            f"{data}: expected a file, or a folder with {wanted} (or {', '.join(SUFFIXES[1:])}). {self.source}"
        )


#: The benchmarks by name.
PROTOCOLS = {
    "routerbench": Protocol(
        "The paper's table 1: its noise protocol on RouterBench, for 3, 5 and 11 models.",
        routerbench,
        ("routerbench_0shot", "routerbench_5shot", "routerbench*"),
        ROUTERBENCH,
    ),
    "simulated": Protocol(
        "The same protocol at full size, 36,000 queries and 11 models, on simulated queries: needs no data.",
        simulated,
        n_draws=1,
    ),
    "swe-bench": Protocol(
        "Agents on SWE-bench Verified: whether a run solved the issue is known after it.",
        swe_bench,
        ("swebench*",),
        SWE_BENCH,
        {"verified": True},
        n_draws=10,
    ),
    "livecodebench": Protocol(
        "Code that is tested after a run, at assumed costs.",
        livecodebench,
        ("livecodebench*",),
        LIVECODEBENCH,
        {"cost": "response_len", "verified": True},
    ),
    "classification": Protocol(
        "Multiple choice with the agreement of answers: MMLU-Pro.",
        classification,
        ("mmlu_pro*",),
        MMLU_PRO,
    ),
    "ablation": Protocol(
        "Cascade routing without pruning, search, expected maximum or depth, in the protocol of routerbench.",
        ablation,
        ("routerbench_0shot", "routerbench_5shot", "routerbench*"),
        ROUTERBENCH,
        n_draws=2,
    ),
    "scaling": Protocol(
        "Time of one decision for 2 to 100 models: needs no data.",
        scaling,
    ),
    "robustness": Protocol(
        "Size of the fit, noise, miscalibration and changed prices, on simulated queries: needs no data.",
        robustness,
        n_draws=3,
    ),
}
