"""RouterBench (Hu et al., 2024): 36,497 queries answered by 11 models, as published or as any table.

Its files are pickles of a pandas DataFrame. They are read as data, see
`headrace.datasets.pickled_frame`: nothing that they name is run, and pandas isn't needed.
"""

from __future__ import annotations

import os
from pathlib import Path

from headrace.datasets.pickled_frame import pickled_columns
from headrace.extras import imported
from headrace.outcomes import Outcomes
from headrace.outcomes.readers import Reading, is_pickle, read_frame

__all__ = ["download_routerbench", "load_routerbench"]

#: Where it is published, on the Hugging Face hub.
REPOSITORY = "withmartian/routerbench"


def load_routerbench(path: str | os.PathLike[str]) -> Outcomes:
    """Read RouterBench: a published file (.pkl), or whatever `Outcomes.from_file` reads.

    Parameters
    ----------
    path : str or path-like
        ``routerbench_0shot.pkl``, ``routerbench_5shot.pkl``, or the same table as Parquet, CSV or the like.

    Returns
    -------
    Outcomes

    Raises
    ------
    FileNotFoundError, ImportError
        As `Outcomes.from_file`.
    ValueError
        The pickle isn't a table of plain columns in RouterBench's layout, or names anything that such a table doesn't
        need: it is refused, and nothing of it has been run.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import headrace as hr
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "some.jsonl"
    >>> hr.datasets.simulate(20, 2).save(path)
    >>> len(hr.datasets.load_routerbench(path))
    20
    """
    path = Path(path)
    if not (path.is_file() and is_pickle(path)):
        return Outcomes.from_file(path)
    return Outcomes(**read_frame(pickled_columns(path), Reading(layout="routerbench"), source=str(path)))


def download_routerbench(shots: int = 0) -> Path:
    """Download a published file of RouterBench to the cache of huggingface_hub, or find it there.

    Parameters
    ----------
    shots : {0, 5}
        Examples in each prompt.

    Returns
    -------
    Path
        For `load_routerbench`.

    Raises
    ------
    ImportError
        huggingface_hub is missing: ``pip install 'headrace[hub]'``.
    ValueError
        Another number of shots.
    OSError
        It can't be had; the message says why, and what to do without a network.
    """
    if shots not in (0, 5):
        raise ValueError(f"shots: expected 0 or 5, got {shots!r}")
    hub = imported("huggingface_hub", "downloading")
    name = f"routerbench_{shots}shot.pkl"
    try:
        return Path(hub.hf_hub_download(repo_id=REPOSITORY, filename=name, repo_type="dataset"))
    except Exception as error:  # its errors have no common class
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise OSError(
            f"{name} can't be downloaded from {REPOSITORY} on the Hugging Face hub: {reason} Without a network, bring "
            "the file by other means, and name it (for headrace bench: --data FILE)"
        ) from error
