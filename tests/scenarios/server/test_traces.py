"""Traces: a gateway, an upstream and a collector of OpenTelemetry's, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
from tests.receivers import Collector, attributes_of, eventually
from tests.scenarios.conftest import Gateway, Script, Upstream, Write, completion, free_port, response

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
CONFIG = """
providers:
  up: {{dialect: openai_chat, url: "http://127.0.0.1:{port}/v1", key: "env:UP_KEY"}}
models:
  fast: {{route: [up/broken, up/m-1]}}
defaults: {{retry: {{attempts: 0}}, breaker: {{enabled: false}}}}
data: {{payloads: redacted}}
traces: {{endpoint: "http://127.0.0.1:{collector}", every: 0.1, timeout: 2, {more}}}
"""


async def play(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
    """One model is down, the other one answers."""
    if json.loads(body)["model"] == "broken":
        await write(response(b'{"error": {"message": "down"}}', b"503 Service Unavailable"))
    else:
        await write(response(completion("Paris, ask ann@example.com.")))


@pytest.fixture
def start(gateway: Callable[..., Gateway], upstream: Callable[[Script], Upstream]) -> Callable[..., Gateway]:
    """Starts a gateway that exports to a port."""
    up = upstream(play)

    def begin(collector: int, more: str = "", **settings: Any) -> Gateway:
        return gateway(CONFIG.format(port=up.port, collector=collector, more=more), **settings)

    return begin


def by_call(collector: Collector) -> dict[str, list[Any]]:
    """Spans by their call's id."""
    found: dict[str, list[Any]] = {}
    for span in collector.spans:
        found.setdefault(attributes_of(span)["headgate.call.id"], []).append(span)
    return found


def test_a_callers_trace_goes_on(start: Callable[..., Gateway]) -> None:
    """The call is a child of the caller's span, its two attempts are children of the call; nothing said is in them."""
    with Collector() as collector:
        gate = start(collector.port, "headers: {x-tenant: t1, authorization: 'env:TOKEN'}", env={"TOKEN": "Basic abc"})
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "x-headgate-session": "chat-7", "x-headgate-user": "ann"}
        status, answer, _ = gate.chat(headers=headers)
        assert status == 200
        eventually(lambda: len(collector.spans) >= 3)
        first, sent = collector.requests[0]
        assert first == "POST /v1/traces HTTP/1.1"
        assert (sent["content-type"], sent["content-encoding"]) == ("application/x-protobuf", "gzip")
        assert (sent["x-tenant"], sent["authorization"]) == ("t1", "Basic abc")
        call, lost, won = collector.spans
        assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
        assert call.parent_span_id.hex() == SPAN
        assert lost.parent_span_id == won.parent_span_id == call.span_id
        assert [span.name for span in collector.spans] == ["chat fast", "chat broken", "chat m-1"]
        assert [span.kind for span in collector.spans] == [2, 3, 3]
        assert [span.status.code for span in collector.spans] == [0, 2, 0]
        about = attributes_of(call)
        assert about["headgate.call.id"] == answer["x-headgate-id"]
        assert (about["gen_ai.conversation.id"], about["session.id"], about["user.id"]) == ("chat-7", "chat-7", "ann")
        assert attributes_of(won)["gen_ai.usage.input_tokens"] == 10
        assert attributes_of(won)["server.address"] == "127.0.0.1"
        assert not [body for body in collector.bodies if b"Paris" in body or b"capital" in body or b"Basic" in body]
        story = gate.record(answer["x-headgate-id"])
        assert (story["trace"], story["session"]) == (TRACE, "chat-7")
        assert story["parent"] == f"{TRACE}-{SPAN}-01"
        resource = {
            one.key: one.value.string_value for one in collector.batches[0].resource_spans[0].resource.attributes
        }
        assert resource["service.name"] == "headgate"
        assert resource["service.instance.id"]


def test_calls_of_one_run_share_a_trace(start: Callable[..., Gateway]) -> None:
    """By the name that the caller gave it, and each call without one has its own."""
    with Collector() as collector:
        gate = start(collector.port)
        ids = [
            gate.chat(headers=headers)[1]["x-headgate-id"]
            for headers in ({"x-headgate-trace": "run-7"}, {"x-headgate-trace": "run-7"}, {}, {})
        ]
        eventually(lambda: len(by_call(collector)) == 4)
        one, two, three, four = (by_call(collector)[id][0].trace_id for id in ids)
        assert one == two
        assert len({one, three, four}) == 3


def test_content_goes_along_where_it_is_wanted_and_redacted(start: Callable[..., Gateway]) -> None:
    """As the store keeps it: what is private is not in it."""
    with Collector() as collector:
        gate = start(collector.port, "content: true")
        gate.chat(messages=[{"role": "user", "content": "Where is bob@example.com?"}], temperature=0.5)
        eventually(lambda: len(collector.spans) >= 3)
        call, lost, won = (attributes_of(span) for span in collector.spans)
        asked = json.loads(won["gen_ai.input.messages"])
        said = json.loads(won["gen_ai.output.messages"])
        assert asked[0]["role"] == "user"
        assert asked[0]["parts"][0]["content"].startswith("Where is [EMAIL:")
        assert said[0]["parts"][0]["content"].startswith("Paris, ask [EMAIL:")
        assert said[0]["finish_reason"] == "stop"
        assert won["gen_ai.request.temperature"] == 0.5
        assert not [key for key in {**call, **lost} if "messages" in key]
        assert not [body for body in collector.bodies if b"@example.com" in body]


def test_a_collector_that_is_away_costs_nothing(start: Callable[..., Gateway]) -> None:
    """Calls go on; whatever is killed meanwhile, every call arrives once the collector is back."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # it does not listen: who calls is refused, and nobody else gets the port
        port = held.getsockname()[1]
        gate = start(port)
        ids = {gate.chat()[1]["x-headgate-id"] for _ in range(5)}
        eventually(lambda: b"headgate_traces_pending_calls 5" in metrics(gate))
        kill_recorder(gate)
        ids |= {gate.chat()[1]["x-headgate-id"] for _ in range(5)}
        eventually(lambda: b"headgate_traces_pending_calls 10" in metrics(gate))
        assert b"headgate_traces_failures_total 0" not in metrics(gate)
    with Collector(port=port) as collector:
        eventually(lambda: len(by_call(collector)) == 10, 60)
        assert set(by_call(collector)) == ids
        assert {len({span.span_id for span in spans}) for spans in by_call(collector).values()} == {3}
        assert len(collector.spans) == 30, "each of them once, where nothing was lost on the way"
        eventually(lambda: b"headgate_traces_pending_calls 0" in metrics(gate))


def test_traces_are_switched_on_while_it_runs(start: Callable[..., Gateway]) -> None:
    """By a change of the configuration; off again, nothing more comes."""
    with Collector() as collector:
        gate = start(free_port())
        on = gate.config.read_text()
        wrong = on.index("traces:")
        gate.config.write_text(on[:wrong])
        eventually(lambda: not (gate.data / "traces.json").exists(), 30)
        gate.chat()
        gate.config.write_text(f"{on[:wrong]}traces: {{endpoint: '{collector.url}', every: 0.1, service: other}}\n")
        eventually(lambda: (gate.data / "traces.json").exists(), 30)
        eventually(lambda: gate.chat()[0] == 200 and bool(collector.spans), 30)
        assert attributes_of(collector.batches[0].resource_spans[0].resource)["service.name"] == "other"


def metrics(gate: Gateway) -> bytes:
    """The page of metrics."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        return connection.getresponse().read()


def kill_recorder(gate: Gateway) -> None:
    """Ends the recorder at once; the gateway starts another one."""
    import os
    import signal

    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"headgate.stores.recorder_process" in words and str(gate.data).encode() in words:
                os.kill(int(path.parent.name), signal.SIGKILL)
