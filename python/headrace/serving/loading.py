"""Reading a decider from its file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from headrace.errors import ArtefactError
from headrace.policy import Policy
from headrace.policy.budget_path import BudgetPath, PathPoint
from headrace.serving.artefact import read_artefact
from headrace.serving.decider import Decider
from headrace.serving.promised import Promised

__all__ = ["load"]


def load(path: str | os.PathLike[str]) -> Decider:
    """Read the decider that `Decider.save` or `Router.save` wrote; it decides, bit for bit, as the one saved.

    Reading runs no code of the file, and needs neither the labelled queries nor scikit-learn. A checksum is no
    signature: take files from whom you trust to choose your models.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Decider
        Its arrays are read-only.

    Raises
    ------
    ArtefactError
        Of kind "corrupt" (damaged, cut off, or another file), "newer" (from a later version), "tampered" (changed
        since it was written) or "unsupported" (it needs an estimator or a function that isn't installed).
    OSError
        The file can't be opened.

    Examples
    --------
    See `Decider.save`.
    """
    values = read_artefact(path).values
    try:
        values["policy"] = Policy.from_json(json.dumps(values["policy"]))
        values["path"] = BudgetPath(**values["path"])
        values["point"] = PathPoint(**values["point"])
        values["promised"] = None if values["promised"] is None else Promised(**values["promised"])
        if (values.pop("models"), values.pop("costs")) != (values["policy"].models, values["policy"].costs):
            raise ValueError("models and costs differ from those of the policy")
        return Decider(**values)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        message = f"path: {Path(path).name}: its values aren't those of a router ({error})"
        raise ArtefactError(message, kind="tampered") from error
