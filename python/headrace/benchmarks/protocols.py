"""The benchmarks by name, and the files that they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from headrace.benchmarks.ablation import ablation
from headrace.benchmarks.practical import classification, livecodebench, open_form, swe_bench
from headrace.benchmarks.results import Results
from headrace.benchmarks.robustness import robustness
from headrace.benchmarks.routerbench import routerbench, simulated
from headrace.benchmarks.scaling import scaling
from headrace.datasets import download_routerbench, load_routerbench
from headrace.outcomes import Outcomes

__all__ = ["PROTOCOLS", "Protocol"]

#: Endings of the files that are looked for, in this order.
SUFFIXES = (".parquet", ".csv", ".jsonl", ".json")

#: RouterBench is published as pickles.
PUBLISHED = (*SUFFIXES, ".pkl")

ROUTERBENCH = (
    "RouterBench is withmartian/routerbench on the Hugging Face hub: fetch it with --download, or bring its file "
    "yourself; the published pickles are read as data, and nothing in them is run"
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
OPEN_FORM = (
    "Public logs rarely have log-probabilities; bring answers of your own models as one wide table with the columns "
    "query_id, text, task, <model>|quality, <model>|cost, <model>|answer and <model>|logprobs, the last a vector per "
    "answer: the log-probabilities of its tokens, filled up with NaN to one length"
)

#: Names of RouterBench's file without examples, or of a part of it; not of the file with five.
ZERO_SHOT = ("routerbench_0shot", "routerbench_[!5]*")


@dataclass(frozen=True, kw_only=True)
class Protocol:
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
    read : callable
        Reads a file.
    suffixes : tuple of str
        Endings of the files that are looked for in a folder.
    download : callable, optional
        Fetches the file, and gives its path.
    n_draws : int
        Draws unless told otherwise.
    """

    about: str
    run: Callable[..., Results]
    files: tuple[str, ...] = ()
    source: str = ""
    read: Callable[[Path], Outcomes] = Outcomes.from_file
    suffixes: tuple[str, ...] = SUFFIXES
    download: Callable[[], Path] | None = None
    n_draws: int = 5

    def table(self, data: Path | None, *, download: bool = False) -> Outcomes | None:
        """Read the file that is given, or found in the folder that is given, or downloaded.

        Raises
        ------
        ValueError
            It isn't there; the message says what is missing and where it comes from.
        OSError, ImportError
            It can't be downloaded; see `headrace.datasets.download_routerbench`.
        """
        if download:
            if self.download is None:
                raise ValueError(f"--download: this benchmark has no file to fetch. {self.source}".rstrip())
            return self.read(self.download())
        return self.read(self._path(data)) if self.files else None

    def _path(self, data: Path | None) -> Path:
        wanted = f"{self.files[0]}{self.suffixes[0]}"
        if data is None:
            raise ValueError(f"--data: expected a file, or a folder with {wanted}. {self.source}")
        if data.is_file():
            return data
        for pattern in self.files:
            for suffix in self.suffixes:
                if found := sorted(data.glob(pattern + suffix)):
                    return found[0]
        raise ValueError(
            f"{data}: expected a file, or a folder with {wanted} (or {', '.join(self.suffixes[1:])}). {self.source}"
        )


#: The benchmarks by name.
PROTOCOLS = {
    "routerbench": Protocol(
        about="The paper's table 1: its noise protocol on RouterBench, for 3, 5 and 11 models.",
        run=routerbench,
        files=ZERO_SHOT,
        source=ROUTERBENCH,
        read=load_routerbench,
        suffixes=PUBLISHED,
        download=download_routerbench,
    ),
    "routerbench-5shot": Protocol(
        about="The same on RouterBench's prompts with five examples.",
        run=partial(routerbench, shots=5),
        files=("routerbench_5shot",),
        source=ROUTERBENCH,
        read=load_routerbench,
        suffixes=PUBLISHED,
        download=partial(download_routerbench, 5),
    ),
    "simulated": Protocol(
        about="The same protocol at full size, 36,000 queries and 11 models, on simulated queries: needs no data.",
        run=simulated,
        n_draws=1,
    ),
    "swe-bench": Protocol(
        about="Agents on SWE-bench Verified: whether a run solved the issue is known after it.",
        run=swe_bench,
        files=("swebench*",),
        source=SWE_BENCH,
        read=partial(Outcomes.from_file, verified=True),
        n_draws=10,
    ),
    "livecodebench": Protocol(
        about="Code that is tested after a run, at assumed costs.",
        run=livecodebench,
        files=("livecodebench*",),
        source=LIVECODEBENCH,
        read=partial(Outcomes.from_file, cost="response_len", verified=True),
    ),
    "classification": Protocol(
        about="Multiple choice with the agreement of answers: MMLU-Pro.",
        run=classification,
        files=("mmlu_pro*",),
        source=MMLU_PRO,
    ),
    "open-form": Protocol(
        about="Answers in words, with the log-probabilities of their tokens: a table of your own.",
        run=open_form,
        files=("open_form*",),
        source=OPEN_FORM,
    ),
    "ablation": Protocol(
        about="Cascade routing without pruning, search, expected maximum or depth, in the protocol of routerbench.",
        run=ablation,
        files=ZERO_SHOT,
        source=ROUTERBENCH,
        read=load_routerbench,
        suffixes=PUBLISHED,
        download=download_routerbench,
        n_draws=2,
    ),
    "scaling": Protocol(
        about="Time of one decision for 2 to 100 models: needs no data.",
        run=scaling,
    ),
    "robustness": Protocol(
        about="Size of the fit, noise, miscalibration and changed prices, on simulated queries: needs no data.",
        run=robustness,
        n_draws=3,
    ),
}
