"""Features of queries and responses: against values worked out by hand, and on signals that are known."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace._core import project_texts, text_sizes
from headrace.estimators import (
    JointQuality,
    LinearQuality,
    QueryFeatures,
    ResponseFeatures,
    reduction,
    response_features,
)
from headrace.estimators.reduction import TextReduction, WideReduction, leading_directions
from headrace.estimators.response_features import EncodedResponses, columns_after
from headrace.estimators.signals import class_features, divergences, text_features, token_features

Floats = npt.NDArray[np.float64]

EXACT = 1e-12


def objects(*values: Any) -> npt.NDArray[Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def responses(**columns: Any) -> hr.Responses:
    shape = next(iter(columns.values())).shape[:2]
    return hr.Responses(np.ones(shape, dtype=bool), columns)


# Reductions


@pytest.mark.parametrize("shape", [(60, 20), (20, 60), (50, 50)])
def test_leading_directions_are_those_of_the_decomposition(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=shape) @ np.diag(0.6 ** np.arange(shape[1]))
    found = leading_directions(matrix, 4)
    right = np.linalg.svd(matrix)[2][:4]
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(np.abs(right @ found), np.eye(4), atol=1e-6)


def test_leading_directions_are_as_many_as_the_rank() -> None:
    assert leading_directions(np.zeros((5, 3))).shape == (3, 0)
    assert leading_directions(np.outer(np.arange(5.0), np.arange(3.0))).shape == (3, 1)
    assert leading_directions(np.empty((0, 3))).shape == (3, 0)


def test_similar_texts_are_near_and_others_are_not() -> None:
    sums = [f"What is the sum of {i} and {i + 7}?" for i in range(30)]
    poems = [f"Write a poem about the {word} in winter." for word in ("sea", "hill", "fox", "moon", "bee")] * 6
    reduction = TextReduction().fit(sums + poems)
    fresh = reduction.transform(["What is the sum of 91 and 90?", "Write a poem about the owl in winter."])
    to_sums = fresh @ reduction.transform(sums).mean(axis=0)
    to_poems = fresh @ reduction.transform(poems).mean(axis=0)
    assert to_sums[0] > 3.0 * to_poems[0]
    assert to_poems[1] > 3.0 * to_sums[1]


def test_texts_are_what_numpy_makes_of_them() -> None:
    rng = np.random.default_rng(4)
    texts = ["".join(rng.choice(list("abc \u00e4\u4e2d"), size)) for size in (0, 1, 3, 4, 5, 40, 2000, 30_000)]
    reduction = TextReduction().fit(texts)
    expected = []
    for text in texts:
        data = text.encode()[:20_000]
        runs = [int.from_bytes(data[at : at + 4], "little") for at in range(len(data) - 3)]
        counts = np.bincount([(run * 2_654_435_761) % 2**32 >> 20 for run in runs], minlength=4096)
        frequency = np.log1p(counts)
        length = max(float(np.linalg.norm(frequency * reduction._rarity)), 1e-7)
        expected.append(frequency @ reduction._directions / length)
    np.testing.assert_allclose(reduction.transform(texts), expected, rtol=0.0, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.text("ab\u00e4 ", max_size=30), max_size=6))
def test_hashes_are_counted_text_by_text(texts: list[str]) -> None:
    columns, counts, ends = reduction._counted(texts)
    assert len(ends) == len(texts) + 1
    for number, text in enumerate(texts):
        data, expected = text.encode(), dict[int, float]()
        for at in range(len(data) - 3):
            place = int.from_bytes(data[at : at + 4], "little") * 2_654_435_761 % 2**32 >> 20
            expected[place] = expected.get(place, 0.0) + 1.0
        here = slice(ends[number], ends[number + 1])
        assert list(zip(columns[here].tolist(), counts[here].tolist(), strict=True)) == sorted(expected.items())


@pytest.mark.parametrize(
    ("texts", "rarity", "directions", "message"),
    [
        (["text"], np.ones(4), np.ones((4, 1)), "texts: expected a list of bytes, got str among them"),
        ([b"text"], np.ones(3), np.ones((3, 1)), "rarity: expected as many numbers as a power of two"),
        ([b"text"], np.ones(4), np.ones(4), "directions: expected two axes"),
        ([b"text"], np.ones(4), np.ones((3, 1)), "directions: expected 4 rows, got 3"),
    ],
)
def test_texts_that_cannot_be_projected_are_refused(texts: Any, rarity: Any, directions: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        project_texts(texts, rarity, directions)


def test_vectors_of_texts_are_scalar_products_of_unit_vectors() -> None:
    texts = [f"{i} apples and {i * i} pears" for i in range(12)]
    vectors = TextReduction().fit(texts).transform(texts)
    # Twelve texts span at most twelve directions, so that nothing of them is lost.
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-9)


def test_rare_runs_weigh_more() -> None:
    # At most two runs of 4 bytes each: "same" is in all of them, the other runs in one.
    texts = ["same", "samey", "samex"]
    vectors = TextReduction().fit(texts).transform(texts)
    common, rare = 1.0 + np.log(4.0 / 4.0), 1.0 + np.log(4.0 / 2.0)
    one = common / np.hypot(common, rare)
    np.testing.assert_allclose(vectors @ vectors.T, [[1, one, one], [one, 1, one**2], [one, one**2, 1]], atol=1e-9)


@pytest.mark.parametrize("text", ["", "abc", "日本", "\ud800", "zzzzzzzz", "x" * 100_000])
def test_any_text_can_be_reduced(text: str) -> None:
    reduction = TextReduction().fit(["some text", "other words", "x" * 50])
    vector = reduction.transform([text])
    assert np.isfinite(vector).all()
    if text in ("", "abc", "zzzzzzzz"):
        np.testing.assert_array_equal(vector, 0.0)
    np.testing.assert_array_equal(reduction.transform(["some text", text])[1], vector[0])


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["same words"] * 5])
def test_texts_that_say_nothing(texts: list[str]) -> None:
    assert np.isfinite(TextReduction().fit(texts).transform([*texts, "new words"])).all()


def test_principal_components_keep_distances() -> None:
    rng = np.random.default_rng(2)
    values = 5.0 + rng.normal(size=(80, 3)) @ rng.normal(size=(3, 200))
    reduced = WideReduction().fit(values).transform(values)
    assert reduced.shape == (80, 3)
    distances = np.linalg.norm(values - values[0], axis=1)
    np.testing.assert_allclose(np.linalg.norm(reduced - reduced[0], axis=1), distances, atol=1e-8)
    holes = values[:2].copy()
    holes[0] = np.nan
    np.testing.assert_allclose(WideReduction().fit(values).transform(holes)[0], 0.0, atol=EXACT)


# Features of queries


def test_columns_of_queries_are_told_apart() -> None:
    rng = np.random.default_rng(3)
    n = 200
    queries = {
        "task": objects(*(["code", "prose"] * (n // 2))),
        "text": objects(*(f"Question {i}\nof two lines" for i in range(n))),
        "score": rng.normal(size=n),
        "tokens": np.full(n, 99.0),
        "embedding": rng.normal(size=(n, 20)),
        "wide": rng.normal(size=(n, 300)),
    }
    features = QueryFeatures().fit(queries)
    assert features.widths_ == (2, 2, 1, 1, 20, 32)
    encoded = features.transform(queries, n)
    np.testing.assert_array_equal(encoded[:2, :2], [[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(encoded[5, 2:4], np.log1p([len("Question 5\nof two lines"), 1]))
    np.testing.assert_array_equal(encoded[:, 4], queries["score"])
    np.testing.assert_allclose(encoded[:, 5], np.log(100.0))
    np.testing.assert_array_equal(encoded[:, 6:26], queries["embedding"])
    assert sum(QueryFeatures(n_grams=True).fit(queries).widths_) == encoded.shape[1] + 32
    for row in (0, 7):
        single = features.transform({name: values[[row]] for name, values in queries.items()}, 1)
        np.testing.assert_allclose(single[0], encoded[row], atol=EXACT)


def test_what_a_text_says_matters_with_n_grams() -> None:
    rng = np.random.default_rng(4)
    hard = rng.random(400) < 0.5
    words = np.where(hard, "integral", "addition")
    text = objects(*(f"{rng.integers(1000)} {word} {rng.integers(1000)}" for word in words))
    table = hr.Outcomes(models=["a", "b"], quality=np.column_stack([~hard, hard]), cost=[1, 2], queries={"text": text})
    fitting, fresh = table.take(np.arange(200)), table.take(np.arange(200, 400))
    errors = []
    for n_grams in (False, True):
        estimator = LinearQuality(n_grams=n_grams).fit(
            fitting.queries, fitting.responses_for([True, True]), fitting.quality
        )
        belief = estimator.predict(fresh.queries, fresh.responses_for([False, False]))
        errors.append(np.mean((belief.quality - fresh.quality) ** 2))
    assert errors[0] > 0.2
    assert errors[1] < 0.02


# Features of responses


def test_token_log_probabilities() -> None:
    tokens = -np.arange(11.0)
    mean, lowest, low, count = token_features(tokens)
    assert (mean, lowest, low) == (-5.0, -10.0, -9.0)
    assert count == pytest.approx(np.log(12.0))
    filled = np.append(tokens, [np.nan] * 5)
    np.testing.assert_allclose(token_features(filled), [mean, lowest, low, count], atol=EXACT)
    assert np.isnan(token_features(np.full((2, 3), np.nan))).all()
    assert np.isnan(token_features(np.empty((2, 0)))).all()
    assert np.isfinite(token_features(np.array([-np.inf, -1.0]))).all()


def test_sequences_and_padded_arrays_are_the_same() -> None:
    cells = np.empty((3, 2), dtype=object)
    filled = np.full((3, 2, 4), np.nan)
    for row in range(3):
        for j, length in enumerate((2, 4)):
            logs = -np.linspace(0.1, 1.0 + row, length)
            cells[row, j] = logs.tolist() if row else logs
            filled[row, j, :length] = logs
    cells[2, 1], filled[2, 1] = None, np.nan
    first, second = responses(logprobs=cells), responses(logprobs=filled)
    run = np.array([True, True])
    a, b = (ResponseFeatures().fit(seen).transform(seen, run) for seen in (first, second))
    assert a.shape == (3, 8)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bad", [["x"], [[1.0], [2.0]], "text", 3.0])
def test_a_cell_that_is_no_sequence_is_refused(bad: Any) -> None:
    cells = np.empty((1, 1), dtype=object)
    cells[0, 0] = [-1.0]
    features = ResponseFeatures().fit(responses(logprobs=cells))
    cells[0, 0] = bad
    with pytest.raises(ValueError, match=r"responses: expected .* log-probabilit"):
        features.transform(responses(logprobs=cells), np.array([True]))


def test_surer_answers_are_better_and_this_is_learned() -> None:
    rng = np.random.default_rng(5)
    right = rng.random((400, 2)) < 0.5
    cells = np.empty((400, 2), dtype=object)
    for index in np.ndindex(400, 2):
        cells[index] = (-(0.1 if right[index] else 1.0) * rng.exponential(size=rng.integers(5, 40))).tolist()
    table = hr.Outcomes(models=["a", "b"], quality=right, cost=[1, 2], responses={"logprobs": cells})
    estimator = LinearQuality().fit(table.queries, table.responses_for([True, True]), table.quality)
    quality = estimator.predict(table.queries, table.responses_for([True, False])).quality
    assert np.mean((quality[:, 0] - right[:, 0]) ** 2) < 0.05
    assert np.mean((quality[:, 1] - right[:, 1]) ** 2) > 0.2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, (0, 0, 0)),
        ("", (0, 0, 0)),
        ("B", (1, 1, 0)),
        ("I\u2019m sorry, I won't.", (1, 19, 1)),
        ("As an AI model, no.", (1, 19, 1)),
        ("The sorry state of affairs", (1, 26, 0)),
        ("x" * 500 + "I cannot", (1, 508, 0)),
        (17, (1, 0, 0)),
    ],
)
def test_refusals_and_empty_answers(text: Any, expected: tuple[int, int, int]) -> None:
    there, length, refusal = text_features(objects(text))[0]
    assert (there, refusal) == (expected[0], expected[2])
    assert length == pytest.approx(np.log1p(expected[1]))


def test_sizes_of_texts_are_their_lengths() -> None:
    class Name(str):
        __slots__ = ()

    cells = ["", "a", "\u00e9\U0001f600", "\ud800", None, 0, b"ab", [], Name("abc"), np.str_("abcd"), float("nan")]
    assert text_sizes(cells).tolist() == [0, 1, 2, 1, 0, -1, -1, -1, 3, 4, -1]
    assert text_sizes([]).shape == (0,)
    with pytest.raises(TypeError, match="cells"):
        text_sizes(("a",))  # type: ignore[arg-type]


def test_class_probabilities() -> None:
    largest, margin, entropy = class_features(np.array([0.2, 0.5, 0.3]))
    assert (largest, margin) == (0.5, pytest.approx(0.2))
    assert entropy == pytest.approx(-sum(p * np.log(p) for p in (0.2, 0.5, 0.3)))
    p, q = np.array([0.1, 0.9]), np.array([0.6, 0.4])
    middle = (p + q) / 2
    expected = 0.5 * (p @ np.log(p / middle) + q @ np.log(q / middle)) / np.log(2.0)
    assert divergences(p, q) == pytest.approx(expected)
    assert divergences(q, p) == divergences(p, q)
    assert divergences(np.eye(2)[0], np.eye(2)[1]) == pytest.approx(1.0)


def test_pairs_agree_by_the_equality_given() -> None:
    answers = np.array([["7", " 7.0"], ["7", "8"], ["", ""], [None, None], ["x", None]], dtype=object)
    seen = responses(answer=answers)
    run = np.array([True, True])

    def same_number(a: str, b: str) -> bool:
        return float(a) == float(b)

    plain = ResponseFeatures().fit(seen).transform(seen, run)[:, -1]
    np.testing.assert_array_equal(plain, 0.0)
    numbers = ResponseFeatures(equal=same_number).fit(seen).transform(seen, run)[:, -1]
    # Nothing is asked where an answer is absent: None is no number.
    np.testing.assert_array_equal(numbers, [1.0, 0.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("kind", [LinearQuality, JointQuality])
def test_estimators_take_an_equality(kind: Any) -> None:
    rng = np.random.default_rng(6)
    a, b = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    answers = np.column_stack([[f"{x}.{rng.integers(1000)}" for x in column] for column in (a, b)]).astype(object)
    table = hr.Outcomes(
        models=["a", "b"], quality=np.column_stack([a == b, a == b]), cost=[1, 2], responses={"answer": answers}
    )
    everything = table.responses_for([True, True])
    for equal, error in ((None, 0.25), (lambda x, y: x[0] == y[0], 0.0)):
        estimator = kind(equal=equal).fit(table.queries, everything, table.quality)
        quality = estimator.predict(table.queries, everything).quality
        assert np.mean((quality - table.quality) ** 2) == pytest.approx(error, abs=0.02)


def every_kind(seed: int, n: int = 50) -> hr.Responses:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(3), (n, 4))
    probabilities[0, 1] = np.nan
    return responses(
        answer=rng.choice(np.array(["yes", "no", ""], dtype=object), (n, 4)),
        passed=rng.random((n, 4)) < 0.5,
        tokens=rng.integers(1, 5000, (n, 4)),
        probabilities=probabilities,
        logprobs=-rng.exponential(size=(n, 4, 6)),
        vector=rng.normal(size=(n, 4, 5)),
        embedding=rng.normal(size=(n, 4, 100)),
    )


@pytest.mark.parametrize("models", [[], [2], [0, 3], [0, 1, 2, 3]])
def test_blocks_are_of_models_and_then_of_pairs(models: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = every_kind(7)
    run = np.isin(np.arange(4), models)
    features = ResponseFeatures().fit(seen)
    whole = features.transform(seen.with_run(run), run)
    alone = {j: features.transform(seen, np.arange(4) == j) for j in models}
    parts = list(alone.values())
    for i, j in combinations(models, 2):
        parts.append(features.transform(seen, np.isin(np.arange(4), (i, j)))[:, 2 * alone[i].shape[1] :])
    np.testing.assert_allclose(whole, np.hstack([np.empty((50, 0)), *parts]), rtol=0, atol=EXACT)
    encoded = EncodedResponses(features, seen)
    np.testing.assert_allclose(encoded.after(run), whole, rtol=0, atol=EXACT)
    everything = encoded.after(np.ones(4, dtype=bool))
    np.testing.assert_array_equal(everything[:, columns_after(run, *encoded.widths)], encoded.after(run))
    monkeypatch.setattr(response_features, "BLOCK", 2)
    np.testing.assert_array_equal(np.hstack([*encoded.blocks()]), everything)
    of_one = 3 + 1 + 1 + 3 + 4 + 5 + 32
    assert whole.shape == (50, of_one * len(models) + 3 * (len(models) * (len(models) - 1) // 2))
    none = features.transform(seen.with_run(run).take([]), run)
    assert none.shape == (0, whole.shape[1])


@pytest.mark.parametrize(
    "cells",
    [
        ["7", "8", "7 ", "", None],
        [1, 1.0, True, 2, "1", math.nan, float("nan"), None],
        [frozenset("a"), frozenset("aa"), frozenset("b"), None],
        [["a"], ["a"], ["b"], "a", None],  # a list has no hash
    ],
)
def test_answers_are_numbered_as_they_are_compared(cells: list[Any]) -> None:
    rng = np.random.default_rng(3)
    answers = np.empty((200, 4), dtype=object)
    for place in np.ndindex(answers.shape):
        answers[place] = cells[rng.integers(len(cells))]
    seen, run = responses(answer=answers), np.ones(4, dtype=bool)
    features = ResponseFeatures().fit(seen)
    got = EncodedResponses(features, seen).after(run)[:, -6:]
    pairs = list(combinations(range(4), 2))
    there = [[a is not None and a != "" for a in row] for row in answers]
    agree = [[ok[i] and ok[j] and row[i] == row[j] for i, j in pairs] for row, ok in zip(answers, there, strict=True)]
    np.testing.assert_array_equal(got, np.array(agree, dtype=float))
    assert 0.0 < got.mean() < 1.0
    asked: list[tuple[Any, Any]] = []
    given = ResponseFeatures(equal=lambda a, b: not asked.append((a, b))).fit(seen)  # type: ignore[func-returns-value]
    np.testing.assert_array_equal(
        EncodedResponses(given, seen).after(run)[:, -6:], [[ok[i] and ok[j] for i, j in pairs] for ok in there]
    )
    assert asked


@given(st.integers(0, 15), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_features_of_a_batch_are_those_of_each_query(models: int, seed: int) -> None:
    seen = every_kind(seed, 12)
    run = np.array([bool(models >> j & 1) for j in range(4)])
    rng = np.random.default_rng(seed)
    queries: dict[str, Any] = {
        "task": rng.choice(np.array(["code", "prose", None], dtype=object), 12),
        "text": objects(*[None if rng.random() < 0.1 else "word\n" * rng.integers(200) for _ in range(12)]),
        "tokens": np.where(rng.random(12) < 0.2, np.nan, rng.integers(0, 9000, 12)),
        "vector": rng.normal(size=(12, 3)),
    }
    of_queries, of_responses = QueryFeatures().fit(queries), ResponseFeatures().fit(seen)
    several = of_queries.transform(queries, 12), of_responses.transform(seen.with_run(run), run)
    for row in range(12):
        one = {name: values[row : row + 1] for name, values in queries.items()}
        alone = of_queries.transform(one, 1), of_responses.transform(seen.with_run(run).take([row]), run)
        for whole, single in zip(several, alone, strict=True):
            np.testing.assert_allclose(whole[row], single[0], rtol=EXACT, atol=EXACT)
