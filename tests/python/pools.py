"""A small router for the runner's tests, and functions that stand for its models."""

from __future__ import annotations

from typing import Any

import numpy as np

import headrace as hr

MODELS = ("small", "medium", "large")
COSTS = {"small": 1.0, "medium": 3.0, "large": 10.0}


def table(n: int = 240, seed: int = 0) -> hr.Outcomes:
    """Questions, and how hard they look; models that sound unsure where they are wrong."""
    rng = np.random.default_rng(seed)
    difficulty = rng.uniform(size=n)
    looks = np.clip(difficulty + rng.normal(0.0, 0.4, size=n), 0.0, 1.0)
    right = rng.uniform(size=(n, 3)) < np.clip(1.2 - np.outer(difficulty, [1.2, 0.8, 0.3]), 0.0, 1.0)
    return hr.Outcomes(
        models=MODELS,
        quality=right.astype(float),
        cost=[*COSTS.values()] * rng.uniform(0.9, 1.1, size=(n, 3)),
        queries={"difficulty": looks, "text": np.array([f"Question {i}?" for i in range(n)], dtype=object)},
        responses={
            "answer": np.where(right, "42", rng.integers(10, 99, size=(n, 3)).astype(str)).astype(object),
            "logprob": np.where(right, -0.2, -1.0) * rng.uniform(0.5, 1.5, size=(n, 3)),
        },
    )


def fitted(budget: float = 4.0) -> hr.Decider:
    return hr.Router(quality="linear").fit(table(), budget=budget).decider_


def query(row: int, difficulty: float | None = None) -> dict[str, Any]:
    hard = (row * 0.37) % 1.0 if difficulty is None else difficulty
    return {"difficulty": hard, "text": f"Question {row}?"}


def reply(model: str, *, sure: bool = True) -> dict[str, Any]:
    """What a model returns; one that is unsure makes the cascade go on."""
    return {"answer": f"of {model}", "logprob": -0.1 if sure else -1.5, "cost": COSTS[model]}
