"""Spans and metrics: one parent per query, one child per call, whatever happens; and never a text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

from fake_provider import FakeProvider
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import headrace as hr
from headrace.integrations.otel import OpenTelemetry
from headrace.runner import Breaker, Exhausted, Fault, Result, Retry

#: A text that is in every query, and so in answers and in bodies of errors.
PLANTED = "[id planted-secret]"

Make = Callable[..., hr.Runner]


class Seen:
    """What was exported."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.observer = OpenTelemetry(self.tracers, MeterProvider([self.reader]))

    def spans(self) -> tuple[ReadableSpan, list[ReadableSpan]]:
        """Give the parent and its children, of the one query there was; look for texts in all of them."""
        spans = self.exporter.get_finished_spans()
        assert "planted" not in "".join(span.to_json() for span in spans)
        assert "planted" not in (self.reader.get_metrics_data() or _Nothing()).to_json()
        (parent,) = [span for span in spans if span.name == "invoke_workflow headrace"]
        children = [span for span in spans if span is not parent]
        assert all(child.parent.span_id == parent.context.span_id for child in children)
        assert all(child.kind is trace.SpanKind.CLIENT for child in children)
        assert all(parent.start_time <= child.start_time <= child.end_time <= parent.end_time for child in children)
        assert parent.kind is trace.SpanKind.INTERNAL
        return parent, children

    def metrics(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        found = data.resource_metrics[0].scope_metrics[0].metrics
        return {metric.name: list(metric.data.data_points) for metric in found}


class _Nothing:
    def to_json(self) -> str:
        return ""


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def make(decider: hr.Decider, targets: dict[str, Any], seen: Seen) -> Iterator[Make]:
    made = []

    def runner(**options: Any) -> hr.Runner:
        given = {"retry": Retry(attempts=2, base_s=0.01), "targets": targets} | options
        made.append(hr.Runner(decider, given.pop("targets"), observer=seen.observer, **given))
        return made[-1]

    yield runner
    for one in made:
        one.close()


def faults(children: list[ReadableSpan]) -> list[tuple[str, Any]]:
    return [(child.attributes["gen_ai.request.model"], child.attributes.get("error.type")) for child in children]


def test_a_query_is_a_span_and_each_call_a_child(make: Make, seen: Seen) -> None:
    result = make().run(f"17 + 25 {PLANTED}", strict=False, id="q-1")
    parent, children = seen.spans()
    told = dict(parent.attributes)
    assert told["gen_ai.operation.name"] == "invoke_workflow"
    assert told["headrace.decision.id"] == "q-1"
    assert told["headrace.policy"] == result.policy
    assert told["headrace.rule"] == "cascade-routing"
    assert told["headrace.model"] == result.model
    assert told["headrace.n_runs"] == len(result.run)
    assert told["headrace.cost.cost"] == result.cost
    assert told["headrace.stopped"] == "plan"
    assert set(result.run) <= set(told["headrace.plan"])
    assert "error.type" not in told
    assert [child.name for child in children] == [f"chat {model}" for model in result.run]
    assert all(child.attributes["gen_ai.usage.output_tokens"] > 0 for child in children)
    metrics = seen.metrics()
    assert sum(point.count for point in metrics["gen_ai.client.operation.duration"]) == len(result.run)
    assert sum(point.count for point in metrics["gen_ai.client.token.usage"]) == 2 * len(result.run)
    (cost,), (seconds,) = metrics["headrace.query.cost"], metrics["headrace.query.duration"]
    assert cost.sum == pytest.approx(result.cost)
    assert seconds.sum == pytest.approx(result.seconds, rel=0.5)


def test_it_is_a_child_of_the_span_around_it(make: Make, seen: Seen) -> None:
    with seen.tracers.get_tracer("app").start_as_current_span("app") as outer:
        make().run("Hi", strict=False)
    (found,) = [s for s in seen.exporter.get_finished_spans() if s.name == "invoke_workflow headrace"]
    assert found.parent.span_id == outer.get_span_context().span_id


@pytest.mark.parametrize(
    ("marker", "kind", "calls"),
    [
        ("429 after=0.01", "rate_limited", 2),
        ("500", "server", 2),
        ("400", "bad_request", 1),
        ("cut", "connection", 2),
        ("bad_json", "malformed", 2),
        ("filter", "filtered", 1),
        ("context", "context", 1),
        ("hang", "timeout", 1),
    ],
)
def test_every_call_that_fails_is_a_child(make: Make, seen: Seen, marker: str, kind: str, calls: int) -> None:
    text = f"17 + 25 {PLANTED} [fault all={marker}]"
    with pytest.raises(Exhausted) as raised:
        make(timeout_s=0.3 if marker == "hang" else 30.0).run(text, strict=False)
    parent, children = seen.spans()
    attempts = raised.value.result.attempts
    assert faults(children) == [(attempt.model, kind) for attempt in attempts]
    assert len(children) == 3 * calls
    assert parent.attributes["error.type"] == "exhausted"
    assert parent.status.status_code is trace.StatusCode.ERROR
    assert {child.status.description for child in children} == {None}


def test_retries_are_children_of_their_own(make: Make, seen: Seen) -> None:
    result = make().run("17 + 25 [id retried-once] [fault all=500 times=1]", strict=False, allowed=["small"])
    parent, children = seen.spans()
    assert faults(children) == [("small", "server"), ("small", None)]
    assert result.model == "small"
    assert "error.type" not in parent.attributes


def test_a_model_left_alone_is_seen(make: Make, seen: Seen) -> None:
    runner = make(breaker=Breaker(min_calls=1, share=0.5, cooldown_s=60.0), retry=Retry(attempts=1))
    with pytest.raises(Exhausted):
        runner.run("Hi [fault small=500]", strict=False, allowed=["small"])
    seen.exporter.clear()
    runner.run("Hi", strict=False, allowed=["small", "large"], prices={"large": 1e6})
    _, children = seen.spans()
    assert ("small", "breaker") in faults(children)
    counted = seen.metrics()["gen_ai.client.operation.duration"]
    assert "breaker" not in {point.attributes.get("error.type") for point in counted}


@pytest.mark.parametrize("mode", ["decide-first", "buffer"])
def test_streams_are_spans(make: Make, seen: Seen, mode: str) -> None:
    *_, last = make().iterate(f"17 + 25 {PLANTED}", mode=mode, strict=False)
    assert isinstance(last, Result)
    parent, children = seen.spans()
    assert [child.name for child in children] == [f"chat {model}" for model in last.run]
    assert parent.attributes["headrace.model"] == last.model


def test_a_stream_that_breaks_off_is_a_fault(make: Make, seen: Seen) -> None:
    with pytest.raises(Fault):
        list(make().iterate(f"17 + 25 {PLANTED} [fault all=cut]", strict=False, allowed=["large"]))
    parent, children = seen.spans()
    assert faults(children) == [("large", "connection")]
    assert parent.attributes["error.type"] == "connection"


def test_a_stream_that_nobody_reads_to_its_end_is_cancelled(make: Make, seen: Seen) -> None:
    pieces = make().iterate("17 + 25 [fault all=hang]", strict=False, allowed=["large"])
    next(pieces)
    pieces.close()
    parent, children = seen.spans()
    assert faults(children) == [("large", "cancelled")]
    assert parent.attributes["error.type"] == "cancelled"


async def test_cancelled_queries_end_their_spans(make: Make, seen: Seen, provider: FakeProvider) -> None:
    async with make() as runner:
        task = asyncio.create_task(runner.arun(f"Hi {PLANTED} [fault all=hang]", strict=False, allowed=["small"]))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    parent, children = seen.spans()
    assert faults(children) == [("small", "cancelled")]
    assert parent.attributes["error.type"] == "cancelled"
    assert children[0].end_time - children[0].start_time > 1e8
    assert provider.is_idle()


def test_functions_that_raise_tell_no_text(make: Make, seen: Seen) -> None:
    def raises(query: Any) -> Any:
        raise RuntimeError(f"can't do {query}")

    with pytest.raises(Exhausted):
        make(targets=dict.fromkeys(("small", "medium", "large"), raises)).run(f"Hi {PLANTED}", strict=False)
    assert {kind for _, kind in faults(seen.spans()[1])} == {"error"}


async def test_many_at_once_are_kept_apart(make: Make, seen: Seen) -> None:
    async with make() as runner:
        results = await asyncio.gather(*(runner.arun(f"{i} + 2", strict=False, id="the same") for i in range(30)))
    spans = seen.exporter.get_finished_spans()
    parents = {span.context.span_id for span in spans if span.name == "invoke_workflow headrace"}
    assert len(parents) == 30
    assert len(spans) == 30 + sum(len(result.attempts) for result in results)
    assert {span.parent.span_id for span in spans if span.parent} == parents


def test_an_observer_that_fails_ends_no_query(decider: hr.Decider, targets: dict[str, Any]) -> None:
    class Broken:
        def begin(self, id: str) -> Any:
            if id == "begin":
                raise RuntimeError
            return self

        def called(self, *_: Any) -> None:
            raise RuntimeError

        ended = called

    with hr.Runner(decider, targets, observer=Broken()) as runner:
        assert runner.run("Hi", strict=False, id="begin").answer
        assert runner.run("Hi", strict=False, id="called").answer


def test_without_an_sdk_nothing_happens(decider: hr.Decider, targets: dict[str, Any]) -> None:
    with hr.Runner(decider, targets, observer=OpenTelemetry()) as runner:
        assert runner.run("Hi", strict=False).answer
