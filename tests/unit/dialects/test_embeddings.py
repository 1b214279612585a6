"""The embeddings dialect: its view, policy, answers and errors."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse

from headgate.core.errors import BadRequest, HeadgateError, UpstreamBroken, UpstreamError
from headgate.core.event import Embedding, End, Start, UsageReport
from headgate.core.usage import Usage
from headgate.dialects.embeddings import Embeddings

EMBEDDINGS = Embeddings()
ANSWER = (
    b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1]},'
    b'{"object":"embedding","index":1,"embedding":"AACAPw=="}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}'
)


@pytest.mark.parametrize("given", ["text", ["a", "b"], [1, 2], [[1], [2]]])
def test_view_takes_every_kind_of_input(given: Any) -> None:
    """Strings, arrays of them, and token arrays pass; policy sets nothing but the model."""
    raw = json.dumps({"input": given, "model": "m", "user": "u", "encoding_format": "base64"}).encode()
    view = EMBEDDINGS.view(raw)
    assert (view.model, view.user, view.stream, view.max_tokens) == ("m", "u", False, None)
    policy = {"max_tokens": 9, "max_tokens_field": "max_tokens", "stream_usage": True}
    assert EMBEDDINGS.policy(view, model="m", **policy) == {}
    changes = EMBEDDINGS.policy(view, model="up", **policy)
    assert EMBEDDINGS.patch(view, changes) == raw.replace(b'"model": "m"', b'"model":"up"')


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"input":"x"}', "model"),
        (b'{"model":"m"}', "input"),
        (b'{"model":"m","input":""}', "input"),
        (b'{"model":"m","input":[ ]}', "input"),
        (b'{"model":"m","input":5}', "input"),
        (b'{"model":"m","input":null}', "input"),
        (b'{"model":"m","input":"x","user":1}', "user"),
    ],
)
def test_view_refuses_what_can_not_be_embedded(raw: bytes, param: str) -> None:
    """A missing model or input, or one of the wrong type, is named."""
    with pytest.raises(BadRequest) as caught:
        EMBEDDINGS.view(raw)
    assert caught.value.param == param


def test_an_answer_is_scanned_and_comes_back_from_its_events() -> None:
    """Model and usage are read without the vectors; the vectors on demand, floats or base64 as they came."""
    frame, summary = EMBEDDINGS.read_answer(ANSWER)
    assert (summary.model, summary.usage, summary.complete) == ("e", Usage(8), True)
    assert frame.events == [
        Start(model="e"),
        Embedding(0, [0.5, -1.0]),
        Embedding(1, "AACAPw=="),
        UsageReport(Usage(8)),
        End(),
    ]
    encoder = EMBEDDINGS.encoder(stream=False, model="asked-for")
    assert encoder.feed(frame.events) == b""
    assert json.loads(encoder.end()) == json.loads(ANSWER)


def test_recorded_embeddings_are_read(shared_data: pathlib.Path) -> None:
    """Every recorded OpenAI-shaped embeddings answer keeps its usage and vectors."""
    import gzip

    count = 0
    with gzip.open(shared_data / "cassettes" / "recorded_exchanges.jsonl.gz") as lines:
        for line in lines:
            if b"/embeddings" not in line:
                continue
            row = json.loads(line)
            text, url = row["response"].get("body"), row["request"]["url"].split("?")[0]
            if row["response"]["status"] != 200 or not text or not url.endswith("/embeddings") or "/api/" in url:
                continue
            frame, summary = EMBEDDINGS.read_answer(text.encode())
            wanted = json.loads(text)
            usage = wanted["usage"]
            assert summary.usage is not None
            assert summary.usage.input == usage.get("prompt_tokens", usage["total_tokens"])
            assert sum(isinstance(event, Embedding) for event in frame.events) == len(wanted["data"])
            encoder = EMBEDDINGS.encoder(stream=False, model="m")
            encoder.feed(frame.events)
            out = encoder.end()
            assert json.loads(out)["data"][0]["embedding"] == wanted["data"][0]["embedding"]
            if not isinstance(wanted["data"][0]["embedding"], str):  # the SDK decodes base64 before it validates
                CreateEmbeddingResponse.model_validate_json(out)
            count += 1
    assert count > 20


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"data":5}', b'{"data":[5]}'])
def test_what_is_no_answer_is_broken(raw: bytes) -> None:
    """A 2xx body without vectors is the upstream's fault."""
    with pytest.raises(UpstreamBroken) as caught:
        EMBEDDINGS.read_answer(raw)
    assert caught.value.code == "malformed_answer"


def test_errors_are_openais() -> None:
    """Errors read and look as in chat, inside a 200 too."""
    with pytest.raises(UpstreamError):
        EMBEDDINGS.read_answer(b'{"error":{"message":"busy"}}')
    assert EMBEDDINGS.read_error(429, {}, b'{"error":{"message":"slow"}}').code == "rate_limited"
    assert json.loads(EMBEDDINGS.error_body(BadRequest("no"), 400, ""))["error"]["message"] == "no"
    assert EMBEDDINGS.error_frame(BadRequest("no"), "").startswith(b"data: ")


def test_nothing_translates_and_nothing_streams() -> None:
    """An embeddings request is no conversation, and its answer no stream."""
    view = EMBEDDINGS.view(b'{"model":"m","input":"x"}')
    with pytest.raises(BadRequest):
        EMBEDDINGS.read_request(view)
    with pytest.raises(HeadgateError):
        EMBEDDINGS.stream_decoder()
