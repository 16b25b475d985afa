"""Build the quickstart table: real classifiers of rising cost on digits that are hard to read.

Every query is one handwritten digit of scikit-learn's bundled ``digits`` data (8 x 8 pixels, scaled to 0..1),
badly photographed: shifted by up to `MAX_SHIFT` pixels, blurred, faded, then captured `N_CAPTURES` times with
fresh Gaussian noise. The noise level is drawn per query, so that queries run from easy to hopeless; one
capture shows a part of it. Of the 1,797 images, `N_TRAIN_IMAGES` train the models (`TRAIN_COPIES`
corrupted copies each); each of the others gives `QUERY_COPIES` queries. No image is on both sides.

What each model is, and what it sees:

============  ===========================  =============================================================
``centroid``  capture 1, pooled to 4 x 4   nearest class mean
``logistic``  capture 1                    multinomial logistic regression on pixels
``network``   mean of captures 1-2         two hidden layers of 256 rectified units
``svm``       mean of captures 1-8         RBF support vector machine on pixels
``ensemble``  mean of all 16 captures      mean of four RBF support vector machines, on pixels or slopes,
                                           as they are or evened out in brightness
============  ===========================  =============================================================

So a more expensive model is better for two reasons: it computes more, and it looks at more captures.

Probabilities are a softmax. Its temperature is chosen on a fifth of the training images while the model is
fitted to the others; then the model is fitted again, to all. The cost of a model is the median time in
microseconds, on one thread, of one call for one query, averaging its captures included: a batch would be
cheaper per query, and neither taking the captures nor computing the query's features is charged. All but the
costs follows from `SEED`, to the bit on one machine; another BLAS may differ in the last digits.

Run by hand; needs scikit-learn::

    python scripts/make_quickstart.py                # measures the costs
    python scripts/make_quickstart.py --keep-costs   # keeps those of the present table: the same file again
"""

from __future__ import annotations

import argparse
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TARGET = Path(__file__).parents[1] / "python" / "headrace" / "datasets" / "quickstart.npz"
SEED = 20
N_TRAIN_IMAGES, TRAIN_COPIES, QUERY_COPIES = 597, 10, 3
N_CAPTURES = 16
N_CLASSES = 10
MAX_SHIFT, MAX_BLUR, MIN_INK = 0.3, 0.5, 0.6
NOISE_FLOOR, NOISE_RANGE = 0.03, 0.55
# Brings the pixels to order one, which the gradient methods need.
PIXEL_MEAN, PIXEL_SCALE = 0.3, 0.4
TEMPERATURES = np.geomspace(0.05, 20.0, 61)
N_WARM_UP_CALLS, N_TIMED_CALLS = 50, 600
# Makes a duel of support vectors closer to a vote than to a sum of distances.
DUEL_SHARPNESS = 3.0
# Keeps blank rows from division by zero.
FADING_FLOOR = 0.05
# Keeps the logarithm finite where every member is certain.
SMALLEST_MEAN = 1e-9
# Probabilities are stored in whole steps of 1 / 4095: 12 bits, which compress to two thirds of float16.
PROBABILITY_STEPS = 4095
# A pixel above it counts as ink.
INK_LEVEL = 0.4


def photograph(images: Floats, copies: int, rng: np.random.Generator) -> Floats:
    """Return `copies` corrupted versions of each image, adjacent: shape (n * copies, N_CAPTURES, 8, 8)."""
    captures = np.empty((len(images) * copies, N_CAPTURES, 8, 8))
    for row in range(len(captures)):
        image = shift(images[row // copies], rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2), order=1)
        image = gaussian_filter(image, rng.uniform(0.0, MAX_BLUR)) * rng.uniform(MIN_INK, 1.0)
        noise = NOISE_FLOOR + NOISE_RANGE * rng.uniform() ** 1.5
        captures[row] = image + rng.normal(0.0, noise, (N_CAPTURES, 8, 8))
    return captures


def softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def pixels(captures: Floats, count: int) -> Floats:
    """Return the mean of the first `count` captures, as rows of 64 scaled pixels."""
    return np.asarray((captures[:, :count].mean(axis=1).reshape(-1, 64) - PIXEL_MEAN) / PIXEL_SCALE)


def slopes(rows: Floats) -> Floats:
    """Return pixels followed by their central differences along both axes: 192 numbers per row."""
    padded = np.pad(rows.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)), mode="edge")
    along_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    along_y = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    return np.concatenate([rows, along_x.reshape(-1, 64), along_y.reshape(-1, 64)], axis=1)


def evened(rows: Floats) -> Floats:
    """Return rows brought to mean zero and standard deviation (almost) one: fading undone."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(centred / (centred.std(axis=1, keepdims=True) + FADING_FLOOR))


class Classifier(ABC):
    """Scores, and the temperature that turns them into probabilities."""

    temperature = 1.0

    @abstractmethod
    def _fit_scores(self, captures: Floats, labels: Ints) -> None:
        """Fit everything but the temperature."""

    @abstractmethod
    def _scores(self, captures: Floats) -> Floats:
        """Return log-probabilities up to the temperature and a constant per row, shape (n, N_CLASSES)."""

    def fit(self, captures: Floats, labels: Ints) -> None:
        """Fit to captures of images with `TRAIN_COPIES` adjacent copies each."""
        # The cut falls between two images.
        cut = len(labels) // TRAIN_COPIES * 4 // 5 * TRAIN_COPIES
        self._fit_scores(captures[:cut], labels[:cut])
        held_out, truth = self._scores(captures[cut:]), labels[cut:]
        losses = [-_mean_log_probability(held_out / t, truth) for t in TEMPERATURES]
        self.temperature = float(TEMPERATURES[int(np.argmin(losses))])
        self._fit_scores(captures, labels)

    def probabilities(self, captures: Floats) -> Floats:
        """Return the probability of each digit, shape (n, N_CLASSES)."""
        return softmax(self._scores(captures) / self.temperature)


def _mean_log_probability(scores: Floats, labels: Ints) -> float:
    chosen = softmax(scores)[np.arange(len(labels)), labels]
    return float(np.log(np.maximum(chosen, 1e-12)).mean())


class Centroid(Classifier):
    """Nearest class mean on capture 1, pooled to 4 x 4; the pooling is folded into the weights."""

    def _fit_scores(self, captures: Floats, labels: Ints) -> None:
        pooled = captures[:, 0].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
        centres = np.array([pooled[labels == digit].mean(axis=0) for digit in range(N_CLASSES)])
        spread = np.kron(centres.reshape(-1, 4, 4), np.full((1, 2, 2), 0.25)).reshape(-1, 64)
        # -|x - c|^2 without |x|^2, which is the same for every class.
        self.weights, self.bias = 2.0 * spread.T, -(centres**2).sum(axis=1)

    def _scores(self, captures: Floats) -> Floats:
        return np.asarray(captures[:, 0].reshape(-1, 64) @ self.weights + self.bias)


class Logistic(Classifier):
    """Multinomial logistic regression on the mean of `count` captures."""

    def __init__(self, count: int) -> None:
        self.count = count

    def _fit_scores(self, captures: Floats, labels: Ints) -> None:
        fitted = LogisticRegression(C=0.01, max_iter=1000).fit(pixels(captures, self.count), labels)
        self.weights, self.bias = fitted.coef_.T, fitted.intercept_

    def _scores(self, captures: Floats) -> Floats:
        return np.asarray(pixels(captures, self.count) @ self.weights + self.bias)


class Network(Classifier):
    """Layers of rectified units on the mean of `count` captures."""

    def __init__(self, count: int, widths: tuple[int, ...], seed: int = SEED, epochs: int = 20) -> None:
        self.count, self.widths, self.seed, self.epochs = count, widths, seed, epochs

    def _fit_scores(self, captures: Floats, labels: Ints) -> None:
        rows, digits = pixels(captures, self.count), np.arange(N_CLASSES)
        fitted = MLPClassifier(self.widths, alpha=0.01, random_state=self.seed)
        for _ in range(self.epochs):
            fitted.partial_fit(rows, labels, classes=digits)
        self.layers = list(zip(fitted.coefs_, fitted.intercepts_, strict=True))

    def _scores(self, captures: Floats) -> Floats:
        values = pixels(captures, self.count)
        for weights, bias in self.layers[:-1]:
            values = np.maximum(values @ weights + bias, 0.0)
        weights, bias = self.layers[-1]
        return np.asarray(values @ weights + bias)


class SupportVectors(Classifier):
    """RBF support vector machine on a view of the mean of `count` captures.

    A digit's score is the sum of log sigmoid(decision value) over its nine duels with the others.
    """

    def __init__(self, count: int, gamma: float, view: Callable[[Floats], Floats] | None = None) -> None:
        self.count, self.gamma, self.view = count, gamma, view
        first, second = np.triu_indices(N_CLASSES, 1)
        self.winner, self.loser = np.eye(N_CLASSES)[first], np.eye(N_CLASSES)[second]

    def _rows(self, captures: Floats) -> Floats:
        rows = pixels(captures, self.count)
        return rows if self.view is None else self.view(rows)

    def _fit_scores(self, captures: Floats, labels: Ints) -> None:
        machine = SVC(C=3.0, gamma=self.gamma, decision_function_shape="ovo")
        self.machine = machine.fit(self._rows(captures), labels)

    def _scores(self, captures: Floats) -> Floats:
        duels = DUEL_SHARPNESS * self.machine.decision_function(self._rows(captures))
        return np.asarray(-np.logaddexp(0.0, -duels) @ self.winner - np.logaddexp(0.0, duels) @ self.loser)


class Ensemble(Classifier):
    """The mean of its members' probabilities."""

    def __init__(self, members: list[Classifier]) -> None:
        self.members = members

    def _fit_scores(self, captures: Floats, labels: Ints) -> None:
        for member in self.members:
            member.fit(captures, labels)

    def _scores(self, captures: Floats) -> Floats:
        mean = np.mean([member.probabilities(captures) for member in self.members], axis=0)
        return np.asarray(np.log(mean + SMALLEST_MEAN))


def classifiers() -> dict[str, Classifier]:
    """Return the models, cheapest first."""
    views: list[tuple[float, Callable[[Floats], Floats] | None]] = [
        (0.04, None),
        (0.024, slopes),
        (0.03, evened),
        (0.02, lambda rows: slopes(evened(rows))),
    ]
    return {
        "centroid": Centroid(),
        "logistic": Logistic(1),
        "network": Network(2, (256, 256)),
        "svm": SupportVectors(8, 0.024),
        "ensemble": Ensemble([SupportVectors(N_CAPTURES, gamma, view) for gamma, view in views]),
    }


def measure_costs(models: list[Classifier], captures: Floats) -> Floats:
    """Return each model's median time for one query, in microseconds; the models take turns."""
    elapsed = np.empty((N_WARM_UP_CALLS + N_TIMED_CALLS, len(models)))
    for call in range(len(elapsed)):
        query = captures[call : call + 1]
        for column, model in enumerate(models):
            start = time.perf_counter_ns()
            model.probabilities(query)
            elapsed[call, column] = time.perf_counter_ns() - start
    return np.asarray(np.median(elapsed[N_WARM_UP_CALLS:], axis=0).round(-2) / 1000)


def describe(captures: Floats) -> dict[str, Floats]:
    """Return statistics of capture 1 that take no model: what is known of a query before any run."""
    first = captures[:, 0]
    left, right = first[:, :, :-1], first[:, :, 1:]
    upper, lower = first[:, :-1], first[:, 1:]
    # No smooth image explains a checkerboard, and digits rarely reach the outer columns: both show the noise.
    checkerboard = first[:, :-1, :-1] - first[:, :-1, 1:] - first[:, 1:, :-1] + first[:, 1:, 1:]
    blocks = first.reshape(-1, 4, 2, 4, 2).std(axis=(2, 4))
    ink = np.clip(first, 0.0, None)
    ink /= ink.sum(axis=(1, 2), keepdims=True)
    position = np.arange(8)
    return {
        "brightness": first.mean(axis=(1, 2)),
        "contrast": first.std(axis=(1, 2)),
        "darkest": first.min(axis=(1, 2)),
        "brightest": first.max(axis=(1, 2)),
        "ink_share": (first > INK_LEVEL).mean(axis=(1, 2)),
        "noise": checkerboard.std(axis=(1, 2)) / 2,
        "margin_noise": first[:, :, [0, 7]].std(axis=(1, 2)),
        "horizontal_change": np.abs(right - left).mean(axis=(1, 2)),
        "vertical_change": np.abs(lower - upper).mean(axis=(1, 2)),
        "local_variation": blocks.mean(axis=(1, 2)),
        "uneven_variation": blocks.std(axis=(1, 2)),
        "row_centre": ink.sum(axis=2) @ position,
        "column_centre": ink.sum(axis=1) @ position,
        "asymmetry": np.abs(first - first[:, :, ::-1]).mean(axis=(1, 2)),
    }


def build(keep_costs: bool) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of the table."""
    rng = np.random.default_rng(SEED)
    digits = load_digits()
    images, labels = digits.images / 16.0, digits.target.astype(np.int64)
    order = rng.permutation(len(images))
    train, kept = order[:N_TRAIN_IMAGES], np.sort(order[N_TRAIN_IMAGES:])
    captures, truth = photograph(images[train], TRAIN_COPIES, rng), np.repeat(labels[train], TRAIN_COPIES)
    queries, label = photograph(images[kept], QUERY_COPIES, rng), np.repeat(labels[kept], QUERY_COPIES)

    models = classifiers()
    for model in models.values():
        model.fit(captures, truth)
    exact = np.stack([model.probabilities(queries) for model in models.values()], axis=1)
    probabilities = np.rint(exact * PROBABILITY_STEPS).astype(np.uint16)
    # The answer is read off the rounded probabilities, so that a reader of the table finds the same one.
    quality = (probabilities.argmax(axis=2) == label[:, None]).astype(np.uint8)
    features = describe(queries)
    return {
        "models": np.array(list(models)),
        "cost": recorded_costs(list(models)) if keep_costs else measure_costs(list(models.values()), queries),
        "quality": quality,
        "probabilities": probabilities,
        "image": np.repeat(kept, QUERY_COPIES).astype(np.int16),
        "label": label.astype(np.uint8),
        "feature_names": np.array(list(features)),
        "features": np.stack(list(features.values()), axis=1).astype(np.float16),
    }


def recorded_costs(models: list[str]) -> Floats:
    """Return the costs of the present table."""
    with np.load(TARGET, allow_pickle=False) as table:
        if table["models"].tolist() != models:
            raise SystemExit(f"{TARGET} holds models {table['models'].tolist()}, not {models}: measure the costs anew")
        return np.asarray(table["cost"])


def save(table: dict[str, NDArray[np.generic]]) -> None:
    """Write the table in one step: a reader finds the old file or the new one, never a part."""
    partial = TARGET.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **table)
    partial.replace(TARGET)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the quickstart table.")
    parser.add_argument("--keep-costs", action="store_true", help="keep the recorded costs: the same file again")
    # One thread: costs are those of one core, and the order of every sum is fixed.
    with threadpool_limits(1):
        table = build(parser.parse_args().keep_costs)
    save(table)
    for name, cost, accuracy in zip(table["models"], table["cost"], table["quality"].mean(axis=0), strict=True):
        print(f"{name:10} accuracy {accuracy:.4f}  cost {cost:8.1f} us")
    print(f"{TARGET.name}: {len(table['image'])} queries, {TARGET.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
