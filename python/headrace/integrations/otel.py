"""OpenTelemetry: a span per query, a child per call, and metrics. Never a word of a query or of an answer.

Span ``invoke_workflow headrace``
    ``headrace.decision.id``, ``.policy``, ``.rule``, ``.model``, ``.plan``, ``.n_runs``, ``.stopped`` and
    ``.cost.<name>``; ``error.type`` where nobody got an answer.
Span ``chat <model>``, its children
    ``gen_ai.request.model``, ``gen_ai.usage.*``, ``headrace.cost.<name>``; ``error.type`` = the kind of fault.
Histograms
    ``gen_ai.client.operation.duration`` and ``gen_ai.client.token.usage`` of calls; ``headrace.query.duration`` and
    ``headrace.query.cost`` of queries.
"""

# ruff: noqa: E402

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from headrace.extras import imported

imported("opentelemetry.trace", "OpenTelemetry")  # or say how to get it

from opentelemetry import metrics, trace

from headrace.runner import Attempt, Result

__all__ = ["OpenTelemetry"]

#: Tokens as providers count them, and as OpenTelemetry names them.
TOKENS = {"prompt_tokens": "input", "completion_tokens": "output"}


class OpenTelemetry:
    """Traces what a runner does: its `observer`. Needs opentelemetry-api; where no SDK is set up, nothing happens.

    A query's span is a child of the span in which it was asked. Audits, which run after the answer, have none.

    Parameters
    ----------
    tracer_provider : opentelemetry.trace.TracerProvider, optional
        By default the program's.
    meter_provider : opentelemetry.metrics.MeterProvider, optional
        By default the program's.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.integrations.otel import OpenTelemetry  # doctest: +SKIP
    >>> runner = hr.Runner(decider, targets, observer=OpenTelemetry())  # doctest: +SKIP
    """

    def __init__(self, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        self._tracer = trace.get_tracer("headrace", tracer_provider=tracer_provider)
        meter = metrics.get_meter("headrace", meter_provider=meter_provider)
        self._seconds = meter.create_histogram("gen_ai.client.operation.duration", "s", "Seconds of a call")
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", "{token}", "Tokens of a call")
        self._query_seconds = meter.create_histogram("headrace.query.duration", "s", "Seconds of a query")
        self._query_cost = meter.create_histogram("headrace.query.cost", "1", "What a query cost")
        self._rules: dict[str, str] = {}

    def begin(self, id: str) -> _Traced:
        """Begin the span of a query; see `headrace.runner.Observer`."""
        span = self._tracer.start_span(
            "invoke_workflow headrace",
            kind=trace.SpanKind.INTERNAL,
            attributes={
                "gen_ai.operation.name": "invoke_workflow",
                "gen_ai.workflow.name": "headrace",
                "headrace.decision.id": id,
            },
        )
        return _Traced(self, span)

    def called(self, span: Any, attempt: Attempt, usage: Mapping[str, int], *, begun: int, ended: int) -> None:
        """Make the span of a call, and count it."""
        tags = {"gen_ai.operation.name": "chat", "gen_ai.request.model": attempt.model}
        fault = None if attempt.kind == "ok" else attempt.kind
        told = tags if fault is None else {**tags, "error.type": fault}
        tokens = {kind: usage[name] for name, kind in TOKENS.items() if name in usage}
        child = self._tracer.start_span(
            f"chat {attempt.model}",
            context=trace.set_span_in_context(span),
            kind=trace.SpanKind.CLIENT,
            start_time=begun,
            attributes={
                **told,
                **{f"gen_ai.usage.{kind}_tokens": n for kind, n in tokens.items()},
                **{f"headrace.cost.{name}": value for name, value in attempt.cost.items()},
            },
        )
        if fault is not None:
            child.set_status(trace.StatusCode.ERROR)
        child.end(ended)
        if fault not in ("breaker", "account"):  # not called
            self._seconds.record((ended - begun) / 1e9, told)
        for kind, n in tokens.items():
            self._tokens.record(n, {**tags, "gen_ai.token.type": kind})

    def ended(self, span: Any, result: Result) -> None:
        """End the span of a query, and count it."""
        fault = None
        if result.model is None or result.stopped == "cancelled":
            cut_off = result.stopped == "cancelled" and result.attempts
            fault = result.attempts[-1].kind if cut_off and result.attempts[-1].kind != "ok" else result.stopped
        span.set_attributes(
            {
                "headrace.policy": result.policy,
                **self._rule_of(result),
                "headrace.plan": result.attempts[-1].plan if result.attempts else (),
                "headrace.n_runs": len(result.run),
                "headrace.stopped": result.stopped,
                **({} if result.model is None else {"headrace.model": result.model}),
                **{f"headrace.cost.{name}": value for name, value in result.costs.items()},
                **({} if fault is None else {"error.type": fault}),
            }
        )
        if fault is not None:
            span.set_status(trace.StatusCode.ERROR)
        span.end()
        tags = {"headrace.model": result.model or "", "headrace.stopped": result.stopped}
        self._query_seconds.record(result.seconds, tags)
        for name, value in result.costs.items():
            self._query_cost.record(value, {**tags, "headrace.cost.name": name})

    def _rule_of(self, result: Result) -> dict[str, str]:
        """Name the rule of a policy: an explanation knows it, and one of each policy will do."""
        if result.policy not in self._rules:
            with suppress(Exception):  # without one, the span must end all the same
                self._rules[result.policy] = result.why().rule
        return {"headrace.rule": self._rules[result.policy]} if result.policy in self._rules else {}


class _Traced:
    """One query."""

    def __init__(self, to: OpenTelemetry, span: Any) -> None:
        self._to, self._span = to, span
        self._begun = self._latest = time.time_ns()

    def called(self, attempt: Attempt, usage: Mapping[str, int]) -> None:
        """Take in a call. One that was cut off has taken the time since the one before."""
        now = time.time_ns()
        took = None if math.isnan(attempt.seconds) else now - int(1e9 * attempt.seconds)
        self._to.called(
            self._span, attempt, usage, begun=self._latest if took is None else max(took, self._begun), ended=now
        )
        self._latest = now

    def ended(self, result: Result) -> None:
        """Take in the end."""
        self._to.ended(self._span, result)
