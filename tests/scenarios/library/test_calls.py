"""Whole answers from the library: what goes up, what comes back, many at once, errors and their words."""

from __future__ import annotations

import asyncio
import json
import pathlib
from typing import Any

import pytest
from tests.scenarios.conftest import Write, completion, response

from headgate import Answer, BadRequest, Timeout, Unavailable, UnknownModel, UpstreamError

from .play import ASK, Make, Start, either, gone, stored, until, until_closed

pytestmark = pytest.mark.usefixtures("no_recorder")


async def test_a_traceparent_is_the_calls_parent(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """As OpenTelemetry's API writes it; what only looks like one is a name."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with make(upstream(either)) as gateway:
        await gateway.complete("fast", ASK, trace=f"00-{trace}-b7ad6b7169203331-01")
        await gateway.complete("fast", ASK, trace=f"00-{'0' * 32}-b7ad6b7169203331-01")
    found = {(record["trace"], record["parent"]) for record in stored(data)}
    assert found == {
        (trace, f"{trace}-b7ad6b7169203331-01"),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None),
    }


async def test_a_whole_answer(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """``complete`` gives text, finish, usage and who answered; its record has every per-call argument."""
    async with make(upstream(either)) as gateway:
        answer = await gateway.complete(
            "fast",
            ASK,
            temperature=0,
            timeout=30,
            priority="batch",
            trace="t-1",
            session="s-1",
            user="ann",
            feature="maps",
            tags={"step": "one"},
        )
        assert (answer.text, answer.finish, answer.deployment, answer.attempts) == ("Paris.", "stop", "up/m-1", 1)
        assert answer.usage is not None
        assert (answer.usage.input, answer.usage.output, answer.model) == (10, 5, "m-1")
        assert answer.latency > 0
        assert answer.message == {"role": "assistant", "content": "Paris."}
        assert answer.raw == completion("Paris.")
    (record,) = stored(data)
    assert (record["id"], record["outcome"], record["model"]) == (answer.id, "completed", "fast")
    assert (record["priority"], record["trace"], record["session"]) == ("batch", "t-1", "s-1")
    assert (record["user"], record["feature"], record["tags"]) == ("ann", "maps", {"step": "one"})
    assert (record["status"], record["usage"]["output"]) == (0, 5)


async def test_what_goes_upstream(upstream: Start, make: Make) -> None:
    """A text is one user message; None is left out; other fields go up as they are, objects with ``model_dump`` too."""

    class Turn:
        def model_dump(self, **how: Any) -> dict[str, Any]:
            return {"role": "assistant", "content": "Yes?"}

    up = upstream(either)
    async with make(up) as gateway:
        await gateway.complete("fast", "Hello", temperature=0.5, top_p=None, max_tokens=7)
        await gateway.complete("fast", [*ASK, Turn(), {"role": "user", "content": "Go on"}])
    first, second = (json.loads(body) for _, _, body in up.requests)
    assert first == {
        "model": "m-1",
        "messages": [{"role": "user", "content": "Hello"}],
        "temperature": 0.5,
        "max_tokens": 7,
    }
    assert second["messages"][1] == {"role": "assistant", "content": "Yes?"}


async def test_map_keeps_order_bound_and_errors_in_place(make: Make, data: pathlib.Path, upstream: Start) -> None:
    """``map`` has at most ``concurrency`` calls under way, results in order, failures as values, priority batch."""
    under_way, most = 0, 0

    async def count(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        word = json.loads(body)["messages"][0]["content"]
        await asyncio.sleep(0.02 if int(word) % 2 else 0.001)
        under_way -= 1
        if word == "3":
            await write(response(b'{"error":{"message":"no","type":"server_error"}}', b"500 Internal Server Error"))
        else:
            await write(response(completion(word)))

    requests: list[dict[str, Any]] = [{"model": "fast", "messages": str(number)} for number in range(12)]
    requests += [{"messages": "no model"}, {"model": "nope", "messages": "?"}, {"model": "fast", "messages": {1j}}]
    seen: list[int] = []
    async with make(upstream(count)) as gateway:
        results = await gateway.map(
            (request for request in requests), concurrency=3, on_done=lambda index, result: seen.append(index)
        )
        assert await gateway.map([]) == []
    assert most == 3
    assert sorted(seen) == list(range(15))
    told = [result.text if isinstance(result, Answer) else type(result) for result in results]
    expected: list[Any] = [str(number) for number in range(12)]
    expected[3] = UpstreamError
    assert told == [*expected, BadRequest, UnknownModel, BadRequest]
    assert {record["priority"] for record in stored(data)} == {"batch"}


async def test_map_ends_all_when_its_callback_raises(upstream: Start, make: Make) -> None:
    """What ``on_done`` raises comes out as it is, and no call goes on behind it."""

    def stop(index: int, result: object) -> None:
        raise LookupError("enough")

    async def stall(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        if json.loads(body)["messages"][0]["content"] == "0":
            await write(response(completion("now")))
        else:
            await until(lambda: gone(writer))

    up = upstream(stall)
    async with make(up) as gateway:
        with pytest.raises(LookupError, match="enough"):
            await gateway.map([{"model": "fast", "messages": text} for text in "0ab"], on_done=stop)
    await until_closed(up)


async def test_embeddings(make: Make) -> None:
    """Vectors come in the order of the input."""
    async with make() as gateway:
        both = await gateway.embed("sim/echo", ["one", "two"], dimensions=4)
        one = await gateway.embed("sim/echo", "two", dimensions=4, tags={"a": "b"})
    assert [len(vector) for vector in both.vectors] == [4, 4]
    assert both.vectors[1] == one.vectors[0] != both.vectors[0]
    assert both.usage is not None
    assert both.usage.input == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_the_anthropic_shape(make: Make, data: pathlib.Path, stream: bool) -> None:
    """With ``dialect="anthropic"`` messages, fields and the answer's message have Anthropic's shape."""
    tool = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    ask: dict[str, Any] = {"dialect": "anthropic", "max_tokens": 100, "tools": [tool], "system": "Be brief."}
    async with make() as gateway:
        if stream:
            async with gateway.stream("sim/tools-1", ASK, **ask) as frames:
                async for _ in frames:
                    pass
            answer = frames.answer()
        else:
            answer = await gateway.complete("sim/tools-1", ASK, **ask)
        assert answer.finish == "tool_calls"
        (call,) = answer.tool_calls
        assert (call.name, call.parsed()) == ("get_weather", json.loads(call.arguments or "{}"))
        (block,) = [block for block in answer.message["content"] if block["type"] == "tool_use"]
        assert (block["id"], block["name"]) == (call.id, "get_weather")
        result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "Rain."}]}
        last = await gateway.complete("sim/echo", [*ASK, answer.message, result], **ask)
        assert last.finish == "stop"
    assert {record["dialect"] for record in stored(data)} == {"anthropic"}


async def test_a_tool_loop_in_the_openai_shape(make: Make) -> None:
    """``answer.message`` is the turn to append, tool calls included; reasoning and choices are there."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    async with make() as gateway:
        answer = await gateway.complete("sim/tools-2", ASK, tools=tools)
        turns = [*ASK, answer.message]
        assert [call["id"] for call in answer.message["tool_calls"]] == [call.id for call in answer.tool_calls]
        turns += [{"role": "tool", "tool_call_id": call.id, "content": "42"} for call in answer.tool_calls]
        last = await gateway.complete("sim/echo", turns, tools=tools, n=2)
        assert (len(last.choices), last.choices[1].finish) == (2, "stop")


async def test_errors_are_typed_and_say_what_to_do(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """Each failure has its class, code, fault and blame; the record has the same code."""

    async def limited(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        if b"wait" in body:
            await asyncio.sleep(0.5)
        headers = b"content-type: application/json\r\nretry-after: 70\r\n"
        await write(response(b'{"error":{"message":"slow down"}}', b"429 Too Many Requests", headers))

    async with make(upstream(limited)) as gateway:
        with pytest.raises(UnknownModel, match="did you mean 'fast'") as unknown:
            await gateway.complete("fsat", ASK)
        with pytest.raises(Timeout) as late:
            await gateway.complete("fast", "wait", timeout=0.05)
        with pytest.raises(UpstreamError) as limit:
            await gateway.complete("fast", ASK)
        with pytest.raises(Unavailable, match="asked to be left alone"):
            async with gateway.stream("fast", ASK):
                pytest.fail("a stream that has not begun gives no block")
    assert (unknown.value.code, unknown.value.fault, unknown.value.param) == ("model_not_found", "caller", "model")
    assert (limit.value.code, limit.value.status, limit.value.retry_after) == ("rate_limited", 429, 70)
    assert (limit.value.fault, limit.value.sent) == ("upstream", True)
    assert late.value.code == "deadline_exceeded"
    codes = [record["error"] for record in stored(data)]
    assert sorted(codes) == ["deadline_exceeded", "deployment_paused", "model_not_found", "rate_limited"]


WRONG: list[tuple[dict[str, Any], str | None]] = [
    ({"dialect": "openai"}, "dialect"),
    ({"priority": "soon"}, "priority"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": "5"}, "timeout"),
    ({"tags": {"n": 1}}, "tags['n']"),
    ({"tags": "env=prod"}, "tags"),
    ({"tags": ["env"]}, "tags"),
    ({"tags": {str(n): "" for n in range(33)}}, "tags"),
    ({"trace": 17}, "trace"),
    ({"session": "a\nb"}, "session"),
    ({"user": "x" * 257}, "user"),
    ({"feature": None}, "feature"),
    ({"stream": True}, "stream"),
    ({"messages": [{"role": "user", "content": object()}]}, None),
    ({"messages": "\ud800"}, None),
]


async def test_wrong_arguments_are_told_at_once(make: Make, data: pathlib.Path) -> None:
    """An argument that makes no sense is a BadRequest that names it, not a surprise in the records."""
    async with make() as gateway:
        for arguments, param in WRONG:
            with pytest.raises(BadRequest) as refused:
                await gateway.complete("sim/echo", **{"messages": "Hi", **arguments})
            assert (refused.value.param, refused.value.fault) == (param, "caller")
        with pytest.raises(BadRequest, match="concurrency"):
            await gateway.map([], concurrency=0)
