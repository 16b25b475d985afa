"""Costs by a price table: what providers charge for tokens, and a regression for the tokens that aren't known yet.

cost = (prompt tokens - cached tokens) * input price + cached tokens * cached price + output tokens * output price

The logarithms of output tokens are regressed, after each run set, on features of the query and of the responses seen.
Their mean is estimated without assuming a distribution, by Duan's smearing (1983): exp(estimate) * mean of
exp(residual), the residuals being leave-one-out ones. Latency works alike: seconds per million tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, checked_numbers
from headrace.estimators.parameters import Parameters
from headrace.estimators.protocol import Queries
from headrace.estimators.query_features import QueryFeatures
from headrace.estimators.response_features import ResponseFeatures
from headrace.estimators.responses import Responses
from headrace.estimators.run_set_regressions import RunSetRegressions
from headrace.estimators.state import Stateful
from headrace.estimators.targets import checked_targets

__all__ = ["PriceTable"]

#: Prices are per this many tokens.
MILLION = 1e6

#: Bytes of UTF-8 text per token: within some 20% for English and code on common tokenizers.
BYTES_PER_TOKEN = 4.0


class PriceTable(
    Parameters,
    Stateful,
    part="price-table",
    kept=("_input", "_output", "_cached", "_range", "_regressions", "_smearing"),
):
    """Cost as tokens times prices; output tokens are predicted.

    Prompt tokens are those of the query column "prompt_tokens", of shape (n_queries,), or of shape
    (n_queries, n_models) where tokenizers differ; without one they are counted from the column "text", a token per 4
    bytes. A query column "cached_tokens" of either shape says how many of them a model has in its prompt cache. Output
    tokens are learned from the response column "output_tokens"; without one, from what the costs imply.

    Parameters
    ----------
    input_price, output_price : sequence of float, one per model
        Dollars per million tokens, in the order of the table's models.
    cached_price : sequence of float, optional
        Dollars per million tokens of the prompt that are cached; the input price by default.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace import Responses
    >>> from headrace.estimators import PriceTable
    >>> queries = {"prompt_tokens": np.array([1000.0, 2000.0] * 3)}
    >>> responses = Responses(np.ones((6, 2), bool), {"output_tokens": np.full((6, 2), 100.0)})
    >>> prices = PriceTable(input_price=[0.5, 5.0], output_price=[1.0, 15.0])
    >>> _ = prices.fit(queries, responses, np.zeros((6, 2)))
    >>> prices.predict(queries, responses.with_run([False, False]))[0].round(6).tolist()
    [0.0006, 0.0065]
    """

    #: Columns of queries that may be there in service without having been in the fit.
    optional_queries: tuple[str, ...] = ("cached_tokens", "prompt_tokens")

    def __init__(
        self,
        input_price: Sequence[float],
        output_price: Sequence[float],
        *,
        cached_price: Sequence[float] | None = None,
    ) -> None:
        self.input_price = input_price
        self.output_price = output_price
        self.cached_price = cached_price

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Learn the numbers of output tokens.

        Raises
        ------
        ValueError
            Prices that aren't one per model and >= 0; queries with neither "prompt_tokens" nor "text"; fewer than two
            labelled queries.
        """
        costs = checked_targets(targets, fewest=2)
        n_models = costs.shape[1]
        self._input = _prices("input_price", self.input_price, n_models)
        self._output = _prices("output_price", self.output_price, n_models)
        cached = self.input_price if self.cached_price is None else self.cached_price
        self._cached = _prices("cached_price", cached, n_models)
        if "output_tokens" in responses.names:
            tokens = checked_numbers("responses: column 'output_tokens'", responses.column("output_tokens"))
            if np.isnan(tokens).any() or tokens.shape != costs.shape:
                raise ValueError("responses: column 'output_tokens': expected a number for every query and model")
        else:
            excess = np.maximum(costs - self._prompt_cost(queries, len(costs)), 0.0)
            tokens = np.divide(MILLION * excess, self._output, out=np.zeros_like(costs), where=self._output > 0.0)
        logs = np.log1p(np.maximum(tokens, 0.0))
        self._range = logs.min(axis=0), logs.max(axis=0)
        self._regressions = RunSetRegressions(
            _without_state(queries),
            responses,
            logs,
            query_features=QueryFeatures(),
            response_features=ResponseFeatures(),
            with_left_out=True,
        )
        self._smearing: dict[bytes, FloatArray] = {}
        return self

    def predict(self, queries: Queries, responses: Responses) -> FloatArray:
        """Estimate the mean cost, for queries in all of which the same models have run."""
        prompt = self._prompt_cost(queries, len(responses))
        logs, run = self._output_logs(queries, responses)
        mean = np.exp(logs) * self._smeared(run) - 1.0
        return np.asarray(prompt + np.maximum(mean, 0.0) * self._output / MILLION)

    def predict_interval(
        self, queries: Queries, responses: Responses, *, coverage: float = 0.9
    ) -> tuple[FloatArray, FloatArray]:
        """Give the bounds between which a share `coverage` of costs lies, equally many below and above.

        Parameters
        ----------
        queries, responses
            As in `predict`.
        coverage : float
            Above 0 and below 1. It holds for prices and prompt tokens that are exact.

        Returns
        -------
        tuple of ndarray of shape (m, n_models)

        Raises
        ------
        ValueError
            If `coverage` is out of its range.
        """
        if not 0.0 < coverage < 1.0:
            raise ValueError(f"coverage: expected a number above 0 and below 1, got {coverage}")
        prompt = self._prompt_cost(queries, len(responses))
        logs, run = self._output_logs(queries, responses)
        residuals = self._residuals(run, keep=True)
        bounds = []
        for share in (0.5 - coverage / 2.0, 0.5 + coverage / 2.0):
            tokens = np.exp(logs + np.quantile(residuals, share, axis=0)) - 1.0
            bounds.append(prompt + np.maximum(tokens, 0.0) * self._output / MILLION)
        return bounds[0], bounds[1]

    def warm(self, runs: BoolArray) -> None:
        """Fit the regressions of run sets, a row each, which otherwise are fitted when first met."""
        for run in runs:
            self._regressions.warm(run)
            self._smeared(run)

    def _output_logs(self, queries: Queries, responses: Responses) -> tuple[FloatArray, BoolArray]:
        """Estimates of log(1 + output tokens), and the run set that they are for."""
        estimates, run = self._regressions.predict(_without_state(queries), responses)
        return np.clip(estimates, *self._range), run

    def _smeared(self, run: BoolArray) -> FloatArray:
        """Duan's factor of each model."""
        key = run.tobytes()
        if key not in self._smearing:
            self._smearing[key] = np.mean(np.exp(self._residuals(run)), axis=0)
        return self._smearing[key]

    def _residuals(self, run: BoolArray, *, keep: bool = False) -> FloatArray:
        """Leave-one-out residuals of fitting rows, on the scale of logarithms."""
        left_out = np.clip(self._regressions.left_out(run, keep=keep), *self._range)
        return np.asarray(self._regressions.estimated_targets - left_out)

    def _prompt_cost(self, queries: Queries, n_queries: int) -> FloatArray:
        prompt = _tokens("prompt_tokens", _prompt_tokens(queries), len(self._input))
        cached = _tokens("cached_tokens", queries.get("cached_tokens", np.zeros(n_queries)), len(self._input))
        cached = np.minimum(cached, prompt)
        return np.asarray(((prompt - cached) * self._input + cached * self._cached) / MILLION)


def _prices(argument: str, values: Sequence[float], n_models: int) -> FloatArray:
    prices = checked_numbers(argument, values)
    if prices.shape != (n_models,):
        raise ValueError(f"{argument}: expected one price for each of the {n_models} models, got shape {prices.shape}")
    if not ((prices >= 0.0) & np.isfinite(prices)).all():
        raise ValueError(f"{argument}: expected finite prices >= 0, got {prices.tolist()}")
    return prices


def _prompt_tokens(queries: Queries) -> Column:
    if "prompt_tokens" in queries:
        return queries["prompt_tokens"]
    if "text" not in queries:
        raise ValueError("queries: expected a column 'prompt_tokens', or 'text' to count them in; got neither")
    texts = queries["text"].tolist()
    return np.array([0.0 if text is None else _n_bytes(str(text)) / BYTES_PER_TOKEN for text in texts])


def _n_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _tokens(name: str, values: Column, n_models: int) -> FloatArray:
    """Numbers of tokens, with one column, or one for each model."""
    tokens = checked_numbers(f"queries: column {name!r}", values)
    if not ((tokens >= 0.0) & np.isfinite(tokens)).all():
        raise ValueError(f"queries: column {name!r}: expected finite numbers >= 0")
    if tokens.ndim > 2 or (tokens.ndim == 2 and tokens.shape[1] != n_models):
        wanted = f"(n_queries,) or (n_queries, {n_models})"
        raise ValueError(f"queries: column {name!r}: expected shape {wanted}, got {tokens.shape}")
    return tokens[:, None] if tokens.ndim == 1 else tokens


def _without_state(queries: Queries) -> Queries:
    """Leave out what says something of the session rather than of the query."""
    if "cached_tokens" not in queries:
        return queries
    return {name: values for name, values in queries.items() if name != "cached_tokens"}
