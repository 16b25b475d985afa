"""The joint belief's own penalty for embeddings and n-grams: chosen by the error of held-out rows."""

import numpy as np
import pytest

import headrace as hr
from headrace.estimators import JointQuality, held_out
from headrace.estimators.gaussian import Strengths, fit_moments

N, K, WIDTH = 160, 3, 24


def table(seed, content):
    """Queries of a difficulty, which an embedding may tell, and models with a confidence after their run."""
    rng = np.random.default_rng(seed)
    difficulty, skill = rng.normal(size=N), np.linspace(-0.5, 0.8, K)
    margin = skill - difficulty[:, None] + 0.5 * rng.normal(size=(N, K))
    embedding = rng.normal(size=(N, WIDTH))
    if content == "telling":
        embedding[:, 0] = difficulty
    columns = {"size": difficulty + rng.normal(size=N)} | ({} if content is None else {"embedding": embedding})
    return hr.Outcomes(
        models=[f"m{j}" for j in range(K)],
        quality=(margin > 0.0).astype(float),
        cost=np.ones((N, K)),
        queries=columns,
        responses={"confidence": margin + 0.8 * rng.normal(size=(N, K))},
    )


def fitted(given):
    return JointQuality().fit(given.queries, given.responses_for([True] * K), given.quality)


def error_before(estimator, given):
    nothing = given.responses_for([False] * K)
    return float(np.mean((estimator.predict(given.queries, nothing).quality - given.quality) ** 2))


@pytest.mark.parametrize("factor", [1.0, 10.0, 1e6])
def test_all_penalties_at_once_are_each_by_itself(factor):
    given = table(1, "noise")
    variables, values = fitted(given)._encode(given.queries, given.responses_for([True] * K), given.quality)
    assert variables.content.sum() == WIDTH
    walks = held_out._walks(values[100:], fit_moments(values[:100], variables), variables, 2, np.random.default_rng(0))
    strengths = Strengths(1.0, 0.3, 0.03, factor)
    for walk in walks:
        together = held_out._errors(walk, strengths, (0.0, 1.0))
        for ridge, error in zip(held_out.QUERY_RIDGES, together, strict=True):
            steps, _ = held_out._steps(walk, strengths._replace(query_ridge=ridge), (0.0, 1.0))
            assert error == pytest.approx(((steps - walk.values) ** 2).sum() / len(walk.ends), rel=1e-6)


def test_noise_is_shrunk_away():
    plain, noisy = (fitted(table(2, content)) for content in (None, "noise"))
    assert noisy.strengths_.content_factor >= 10.0
    fresh = {content: table(3, content) for content in (None, "noise")}
    assert error_before(noisy, fresh["noise"]) < 1.01 * error_before(plain, fresh[None])
    one = JointQuality(strengths=plain.strengths_)
    given = table(2, "noise")
    one.fit(given.queries, given.responses_for([True] * K), given.quality)
    assert error_before(one, fresh["noise"]) > 1.02 * error_before(plain, fresh[None])


def test_what_tells_the_difficulty_is_kept():
    telling, plain = fitted(table(4, "telling")), fitted(table(4, None))
    assert telling.strengths_.content_factor < 1e6
    assert error_before(telling, table(5, "telling")) < 0.9 * error_before(plain, table(5, None))


def test_without_an_embedding_nothing_is_searched(monkeypatch):
    before = fitted(table(6, None)).strengths_
    monkeypatch.setattr(held_out, "CONTENT_FACTORS", (1.0,))
    assert fitted(table(6, None)).strengths_ == before
    assert before.content_factor == 1.0


def test_a_state_keeps_it():
    estimator = fitted(table(7, "noise"))
    again = JointQuality.from_state(estimator.get_state())
    assert again.strengths_ == estimator.strengths_
    given = table(8, "noise")
    for run in ([False] * K, [True, False, False]):
        responses = given.responses_for(run)
        one, other = (e.predict(given.queries, responses).quality for e in (estimator, again))
        np.testing.assert_array_equal(one, other)
