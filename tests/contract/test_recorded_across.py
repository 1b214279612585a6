"""Every recorded exchange translates to the other dialect: text, tool calls, finish and usage equal the recording's.

``python tests/contract/across.py [DATA]`` prints the counts that this asserts on.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
import sys
from typing import Any

import pytest

# What a target wire has no counterpart for; anything else that turns up as lost is a bug or wants a line here.
LOUD_ANSWERS = {
    "choices[N]",
    "refusal",
    "annotations",
    "audio",
    "tool_calls[N].custom",
    "tool_calls[N].arguments",
    "logprobs",
    "finish_reason",
    "citations",
    "thinking.signature",
    "redacted_thinking",
    "server_tool_use",
    "web_search_tool_result",
    "tool_search_tool_result",
}


def _load(name: str) -> Any:
    """Loads a helper module from beside this file: pytest's importlib mode has no package to import it from."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, pathlib.Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


recordings = _load("recordings")
across = _load("across")


@pytest.fixture(scope="module")
def table(shared_data: pathlib.Path) -> dict[tuple[str, str], Any]:
    """The counts by route and provider."""
    counts: dict[tuple[str, str], Any] = across.tally(shared_data, recordings)
    return counts


def test_none_failed(table: dict[tuple[str, str], Any]) -> None:
    """No translation drops or changes anything without saying so, and the SDKs' types take every result."""
    failures = [f"{route}, {provider}: {why}" for (route, provider), row in table.items() for why in row.failures]
    assert failures == []
    assert sum(row.passed + row.loud for row in table.values()) > 1500


def test_losses_are_only_what_has_no_counterpart(table: dict[tuple[str, str], Any]) -> None:
    """What answers lose is on the list of things that the other wire has no place for."""
    lost = {field for (route, _), row in table.items() if " answer as " in route for field in row.fields}
    assert lost <= LOUD_ANSWERS


def test_most_pass_without_loss(table: dict[tuple[str, str], Any]) -> None:
    """Loud is the exception: nine of ten answers cross whole."""
    answers = [row for (route, _), row in table.items() if " answer as " in route]
    assert sum(row.passed for row in answers) > 9 * sum(row.loud for row in answers)


def test_openai_results_pass_the_openapi_file(shared_data: pathlib.Path) -> None:
    """Anthropic answers as OpenAI bodies and chunks, and Anthropic requests as OpenAI ones, fit OpenAI's own file."""
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("yaml")
    with open(shared_data / "specs" / "openai.openapi.yaml", "rb") as file:
        components = nullable(yaml.load(file, yaml.CSafeLoader)["components"])
    schemas = {
        name: jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": components})
        for name in (
            "CreateChatCompletionResponse",
            "CreateChatCompletionStreamResponse",
            "CreateChatCompletionRequest",
        )
    }
    for one in recordings.messages_exchanges(shared_data):
        if one.status != 200:
            continue
        events = across.events_of(across.ANTHROPIC, one.body, one.stream)
        body, _ = across.rendered(across.OPENAI, events, False)
        schemas["CreateChatCompletionResponse"].validate(json.loads(body))
        body, _ = across.rendered(across.OPENAI, events, True)
        for chunk in [*across.sse(body)][:3] + [*across.sse(body)][-3:]:
            schemas["CreateChatCompletionStreamResponse"].validate(chunk)
        conversation = across.ANTHROPIC.read_request(across.ANTHROPIC.view(one.request))
        encoded = across.OPENAI.write_request(conversation, max_tokens_field="max_completion_tokens", stream_usage=True)
        schemas["CreateChatCompletionRequest"].validate(json.loads(encoded.body))


def nullable(value: Any) -> Any:
    """Rewrites OpenAPI 3.0's ``nullable``, which the file still uses, as JSON Schema."""
    if isinstance(value, list):
        return [nullable(item) for item in value]
    if not isinstance(value, dict):
        return value
    tidy = {key: nullable(item) for key, item in value.items() if key != "nullable"}
    return {"anyOf": [tidy, {"type": "null"}]} if value.get("nullable") is True else tidy
