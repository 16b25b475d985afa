"""What calibration promises of a decider, for a monitor to compare with."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from headrace.arguments import FloatArray

__all__ = ["Promised", "log_ratio"]

#: Ratios beyond this count as this: those of a cost that was expected to be zero, or was.
LARGEST_RATIO = 1000.0


@dataclass(frozen=True, eq=False)
class Promised:
    """What calibration saw under a policy: the values whose means are promised, and the range of each that counts.

    Attributes
    ----------
    values : dict of str to ndarray of shape (n_queries,)
        Each cost, and "quality".
    ends : dict of str to (float, float)
        Values beyond count as these.
    ratios : dict of str to ndarray
        Of each model that ran, the logarithms of its runs' realised over estimated costs; empty where not known.
    """

    values: dict[str, FloatArray]
    ends: dict[str, tuple[float, float]]
    ratios: dict[str, FloatArray] = field(default_factory=dict)


def log_ratio(cost: FloatArray | float, expected: FloatArray | float) -> FloatArray:
    """Give the logarithm of realised over expected costs, within a factor of 1,000; of zero over zero, 0.

    Examples
    --------
    >>> from headrace.serving.promised import log_ratio
    >>> log_ratio([2.0, 0.0, 0.0, 3.0], [2.0, 0.0, 1.0, 0.0]).round(1).tolist()
    [0.0, 0.0, -6.9, 6.9]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.asarray(cost, dtype=np.float64)) - np.log(np.asarray(expected, dtype=np.float64))
    limit = np.log(LARGEST_RATIO)
    return np.asarray(np.clip(np.nan_to_num(logs, nan=0.0), -limit, limit))
