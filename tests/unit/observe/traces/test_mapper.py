"""The mapper: spans by the pinned convention (golden files; UPDATE_GOLDEN=1 rewrites them)."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from headgate.core.trace import Provider
from headgate.observe.traces import mapper
from headgate.observe.traces.encode import encode_request, encode_spans, read_refusal
from headgate.observe.traces.mapper import map_call, provider_name
from headgate.observe.traces.span import Span, is_sampled, place_of

from .cases import CASES, PARENT, PROVIDERS

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE / "golden"


def convention() -> tuple[dict[str, str], dict[str, set[str]]]:
    """The registry's attributes with their types, and the well-known values of some, as release 1.41.1 has them."""
    lines = (HERE / f"semconv_{mapper.VERSION}.txt").read_text().splitlines()
    types = dict(line.split(" ") for line in lines if line and " = " not in line)
    values: dict[str, set[str]] = {}
    for line in lines:
        name, equals, value = line.partition(" = ")
        if equals:
            values.setdefault(name, set()).add(value)
    return types, values


TYPES, VALUES = convention()
PYTHON = {"string": str, "enum": str, "int": int, "double": float, "boolean": bool, "string[]": list, "any": str}


def plain(span: Span) -> dict[str, Any]:
    """A span as JSON can hold it."""
    data = {name: value.hex() if isinstance(value, bytes) else value for name, value in span._asdict().items()}
    return data | {"events": [event._asdict() for event in span.events]}


@pytest.mark.parametrize("name", CASES)
def test_spans_are_golden(name: str) -> None:
    """Ids, parents, times, kinds, status and attributes of the call and of each of its attempts."""
    spans = [plain(span) for span in map_call(CASES[name](), PROVIDERS)]
    text = json.dumps(spans, indent=1, ensure_ascii=False) + "\n"
    path = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", CASES)
def test_names_and_types_are_those_of_the_convention(name: str) -> None:
    """Every attribute is in the registry, with the registry's type, or is ours; well-known values are spelled so."""
    for span in map_call(CASES[name](), PROVIDERS, {"gen_ai.input.messages": "[]"}):
        for key, value in span.attributes.items():
            if key.startswith("headgate."):
                continue
            assert key in TYPES, key
            assert type(value) is PYTHON[TYPES[key]], (key, value)
            if key == mapper.OPERATION_NAME:
                assert value in VALUES[key], value
        for required in (mapper.OPERATION_NAME, mapper.PROVIDER_NAME):
            assert required in span.attributes
        assert span.name == f"{span.attributes[mapper.OPERATION_NAME]} {span.attributes[mapper.REQUEST_MODEL]}"
        assert (mapper.ERROR_TYPE in span.attributes) == span.failed
        assert (mapper.SERVER_ADDRESS in span.attributes) == (mapper.SERVER_PORT in span.attributes)


def test_every_name_in_the_mapper_is_known() -> None:
    """Also those that no case uses."""
    names = {value for key, value in vars(mapper).items() if key.isupper() and isinstance(value, str) and "." in value}
    foreign = {name for name in names if not name.startswith(("headgate.", "https:"))} - {mapper.VERSION}
    assert len(foreign) > 20
    assert foreign <= TYPES.keys()


@pytest.mark.parametrize(
    ("row", "host", "expected"),
    [
        ("openai", "api.openai.com", "openai"),
        ("anthropic", "api.anthropic.com", "anthropic"),
        ("openai_compatible", "our-own.openai.azure.com", "azure.ai.openai"),
        ("openai_compatible", "us-central1-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("openai_compatible", "generativelanguage.googleapis.com", "gcp.gemini"),
        ("openai_compatible", "bedrock-runtime.eu-west-1.amazonaws.com", "aws.bedrock"),
        ("openai_compatible", "llm-1.eu-west-1.elb.amazonaws.com", "p"),
        ("openai_compatible", "api.mistral.ai", "mistral_ai"),
        ("openai_compatible", "api.groq.com", "groq"),
        ("openai_compatible", "evil-api.groq.com.example.org", "p"),
        ("openai", "10.0.0.8", "openai"),
        ("vllm", "127.0.0.1", "vllm"),
        ("sim", "", "sim"),
    ],
)
def test_a_provider_is_named_by_its_host_or_row(row: str, host: str, expected: str) -> None:
    """Well-known names where there is one, else the row's, else the configured one."""
    assert provider_name("p", Provider(row, host, 443)) == expected
    assert expected in VALUES[mapper.PROVIDER_NAME] or expected in ("p", "vllm", "sim")


def test_a_callers_span_is_the_parent_and_attempts_are_children() -> None:
    """One trace: caller, call, attempts."""
    call, *attempts = map_call(CASES["fallback"](), PROVIDERS)
    trace, parent, _ = PARENT.split("-")
    assert (call.trace_id.hex(), call.parent_id.hex(), call.remote) == (trace, parent, True)
    assert [one.parent_id for one in attempts] == [call.span_id] * 2
    assert {one.trace_id for one in attempts} == {call.trace_id}
    assert len({call.span_id, *(one.span_id for one in attempts)}) == 3
    assert all(call.start_ns <= one.start_ns <= one.end_ns <= call.end_ns for one in attempts)


def test_ids_are_the_same_again_and_others_for_other_calls() -> None:
    """A redelivery repeats its ids; calls of one named trace share it, others do not."""
    first, again = (map_call(CASES["error"](), PROVIDERS) for _ in range(2))
    assert first == again
    one, two = CASES["stream"](), CASES["stream"]()
    two.id = "hg_19a0000000100000000000000009"
    assert place_of(one) == place_of(two)
    assert map_call(one, {})[0].span_id != map_call(two, {})[0].span_id
    one.trace = two.trace = ""
    assert place_of(one) != place_of(two)
    one.trace = "0" * 32
    assert any(place_of(one).trace_id)


def test_tokens_are_counted_once() -> None:
    """Usage stands on attempts only: a sum over spans is what was billed."""
    for build in CASES.values():
        call, *attempts = map_call(build(), PROVIDERS)
        assert not [key for key in call.attributes if "usage" in key or "cost" in key]
        billed = sum(one.usage.input for one in build().attempts if one.usage is not None)
        assert sum(one.attributes.get(mapper.INPUT_TOKENS, 0) for one in attempts) == billed  # type: ignore[misc]


def test_words_of_errors_are_content() -> None:
    """An upstream's message may repeat the prompt: only with content."""
    assert "secret" not in str(map_call(CASES["error"](), PROVIDERS))
    call, attempt = map_call(CASES["error"](), PROVIDERS, {"gen_ai.input.messages": "[…]"})
    assert "secret" in call.message
    assert "secret" in attempt.message
    assert attempt.attributes["gen_ai.input.messages"] == "[…]"
    assert "gen_ai.input.messages" not in call.attributes


def test_a_share_of_traces_is_sampled_by_their_ids() -> None:
    """About that share, the same for every call of a trace, and a larger share holds the smaller one."""
    record = CASES["error"]()
    places = []
    for number in range(4000):
        record.id = f"hg_{number}"
        places.append(place_of(record))
    tenth = {place for place in places if is_sampled(place, 0.1)}
    assert 300 < len(tenth) < 500
    assert tenth < {place for place in places if is_sampled(place, 0.5)}
    assert all(is_sampled(place, 1.0) for place in places)
    assert not any(is_sampled(place, 0.0) for place in places)
    record.parent = PARENT[:-2] + "00"
    assert not is_sampled(place_of(record), 1.0)


def test_the_wire_form_says_the_same() -> None:
    """Parsed again by OpenTelemetry's own messages, every span is as the mapper made it."""
    content = {"gen_ai.input.messages": "ü" * 300}
    spans = [span for build in CASES.values() for span in map_call(build(), PROVIDERS, content)]
    resource = {"service.name": "gate", "n": 300, "big": "x" * 40_000}
    request = ExportTraceServiceRequest.FromString(
        encode_request([encode_spans(spans[:3]), encode_spans(spans[3:])], resource, "1.2.3")
    )
    (group,) = request.resource_spans
    (scope,) = group.scope_spans
    assert group.schema_url == scope.schema_url == "https://opentelemetry.io/schemas/1.41.1"
    assert {one.key: read(one.value) for one in group.resource.attributes} == resource
    assert (scope.scope.name, scope.scope.version) == ("headgate", "1.2.3")
    kinds = {1: "internal", 2: "server", 3: "client"}
    for span, wire in zip(spans, scope.spans, strict=True):
        assert (wire.trace_id, wire.span_id, wire.parent_span_id) == span[:3]
        assert (wire.name, kinds[wire.kind]) == (span.name, span.kind)
        assert (wire.start_time_unix_nano, wire.end_time_unix_nano) == (span.start_ns, span.end_ns)
        assert (wire.status.code == 2) == span.failed
        assert (bool(wire.flags & 0x200), wire.flags & 0x1FF) == (span.remote, 0x101)
        assert wire.status.message == span.message
        assert {one.key: read(one.value) for one in wire.attributes} == span.attributes
        assert [(one.name, one.time_unix_nano) for one in wire.events] == [one[:2] for one in span.events]
        assert [{one.key: read(one.value) for one in event.attributes} for event in wire.events] == [
            event.attributes for event in span.events
        ]


def test_what_a_collector_refused_is_read() -> None:
    """A part, or nothing; what is no answer of this kind is an error."""
    answer = ExportTraceServiceResponse()
    assert read_refusal(answer.SerializeToString()) == (0, "")
    answer.partial_success.rejected_spans = 3
    answer.partial_success.error_message = "too old"
    assert read_refusal(answer.SerializeToString()) == (3, "too old")
    with pytest.raises(ValueError, match="not an export response"):
        read_refusal(b"<html>hello</html>")


def read(value: Any) -> Any:
    """An AnyValue as a plain one."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [one.string_value for one in value.array_value.values]
    return getattr(value, kind)
