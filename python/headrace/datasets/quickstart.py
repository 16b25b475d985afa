"""The bundled quickstart table: five classifiers of rising cost on 3,600 digits that are hard to read."""

from __future__ import annotations

from importlib import resources

import numpy as np

from headrace.outcomes import Outcomes

__all__ = ["load_quickstart"]

DIGIT_NAMES = np.array([str(digit) for digit in range(10)], dtype=object)


def load_quickstart() -> Outcomes:
    """Load the bundled table: real outputs of five real classifiers on digits that are hard to read.

    The queries are 1,200 handwritten digits (8 x 8 pixels, from scikit-learn's ``digits``) in three versions
    each: shifted by a fraction of a pixel, blurred, faded, and captured 16 times under noise whose level
    differs from query to query. The models were trained on 597 other digits, treated in the same way.

    ============  ================  ======================================  ========  =========
    model         captures it sees  what it is                              accuracy  cost (us)
    ============  ================  ======================================  ========  =========
    ``centroid``  1, pooled to 4x4  nearest class mean                      0.571     6.4
    ``logistic``  1                 multinomial logistic regression         0.713     10.2
    ``network``   2, averaged       two hidden layers of 256 units          0.837     23.0
    ``svm``       8, averaged       RBF support vector machine              0.941     208.0
    ``ensemble``  16, averaged      four RBF support vector machines        0.961     1039.1
    ============  ================  ======================================  ========  =========

    Returns
    -------
    Outcomes
        3,600 queries x 5 models, cheapest first.

        - `quality`: 1.0 if the answer is right, else 0.0.
        - `cost`: microseconds that one call for one query took on one thread; one median per model.
        - `ids`: ``"digit-0017-b"`` is the second version of image 17.
        - `groups`: the image, so that its three versions stay on one side of a split.
        - `queries`: 14 columns of shape (3600,), statistics of the first capture: "brightness",
          "contrast", "darkest", "brightest", "ink_share", "noise", "margin_noise", "horizontal_change",
          "vertical_change", "local_variation", "uneven_variation", "row_centre", "column_centre" and
          "asymmetry".
        - `responses`: "probabilities", shape (3600, 5, 10), the model's probability of each digit, and
          "answer", shape (3600, 5), the likeliest digit as str.

    Notes
    -----
    A costlier model is better both because it computes more and because it sees more captures. Only the models'
    own time is charged. Taking the captures is free, and so are the query's statistics, which take about 70
    microseconds for one query at a time in NumPy. The statistics are rounded to half precision, the
    probabilities to 1 / 4095, then brought back to sum 1. Made by
    ``scripts/make_quickstart.py``.

    References
    ----------
    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
    1998: the digits. By the same authors, on the same digits: "Cascading Classifiers", Kybernetika, 1998.

    Examples
    --------
    >>> from headrace.datasets import load_quickstart
    >>> table = load_quickstart()
    >>> table.models
    ('centroid', 'logistic', 'network', 'svm', 'ensemble')
    >>> table.mean_quality.round(3).tolist()
    [0.571, 0.713, 0.837, 0.941, 0.961]
    >>> table.ids[1], table.responses["answer"][1].tolist(), table.quality[1].tolist()
    ('digit-0001-b', ['8', '1', '3', '1', '1'], [0.0, 1.0, 0.0, 1.0, 1.0])
    """
    source = resources.files("headrace.datasets").joinpath("quickstart.npz")
    with source.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        stored = {name: archive[name] for name in archive.files}
    steps = stored["probabilities"].astype(np.float64)
    # Linear algebra wants double precision.
    features = stored["features"].T.astype(np.float64)
    return Outcomes(
        models=stored["models"].tolist(),
        quality=stored["quality"],
        cost=stored["cost"],
        ids=[f"digit-{image:04d}-{'abc'[row % 3]}" for row, image in enumerate(stored["image"].tolist())],
        queries=dict(zip(stored["feature_names"].tolist(), features, strict=True)),
        responses={
            "probabilities": steps / steps.sum(axis=2, keepdims=True),
            "answer": DIGIT_NAMES[steps.argmax(axis=2)],
        },
        groups=stored["image"],
    )
