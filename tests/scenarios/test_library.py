"""The library face: the same calls, streams, errors and records as over HTTP, in this process, and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import doctest
import gc
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import headgate
from headgate import Answer, BadRequest, Gateway, HeadgateError, SyncGateway, Timeout, UnknownModel, UpstreamError
from headgate.cli.main import main
from headgate.client import answer as answer_module
from headgate.client import gateway as gateway_module
from headgate.client import sync as sync_module
from headgate.stores.data import DataDir

from .conftest import CONFIG, SSE_HEAD, Script, Upstream, Write, completion, delta, response, sse

Start = Callable[[Script], Upstream]
Make = Callable[..., Gateway]
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
ASK = [{"role": "user", "content": "What is the capital of France?"}]


async def either(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
    """Answers as it is asked: whole or streamed."""
    if json.loads(body).get("stream"):
        events = [delta({"role": "assistant", "content": ""}), delta({"content": "Pa"}), delta({"content": "ris."})]
        usage = {**delta({}, usage=USAGE), "choices": []}
        await write(SSE_HEAD + sse(*events, delta({}, "stop"), usage, b"[DONE]") + b"0\r\n\r\n")
    else:
        await write(response(completion("Paris.")))


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Waits until something holds that another thread brings about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def gone(writer: asyncio.StreamWriter) -> bool:
    """Whether the other side of a connection has left, be it by FIN or by RST."""
    protocol: Any = writer.transport.get_protocol()
    return writer.transport.is_closing() or protocol._stream_reader.at_eof()


async def silent(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> str:
    """Answers a unary request never; streams to others until they leave."""
    if json.loads(body).get("stream"):
        return await endless(path, body, write, writer)
    await until(lambda: gone(writer))
    return "close"


async def endless(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> str:
    """Streams until the other side leaves."""
    await write(SSE_HEAD)
    while not gone(writer):
        await write(sse(delta({"content": "more "})))
        await asyncio.sleep(0.005)
    return "close"


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A data directory whose schema is there; making one takes longer than most tests here."""
    path = tmp_path_factory.mktemp("migrated") / "data"
    DataDir(path).prepare()
    return path


@pytest.fixture
def data(tmp_path: pathlib.Path, migrated: pathlib.Path) -> pathlib.Path:
    """A fresh data directory."""
    return shutil.copytree(migrated, tmp_path / "data")


@pytest.fixture
def make(tmp_path: pathlib.Path, data: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a Gateway before an upstream (or none: on embedded defaults)."""
    monkeypatch.setenv("UP_KEY", "sk-upstream-secret")
    monkeypatch.delenv("HEADGATE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)

    def start(up: Upstream | None = None, extra: str = "", kind: type[Any] = Gateway, **more: Any) -> Any:
        if up is None:
            return kind(data=data, **more)
        config = tmp_path / "before-up.yaml"
        config.write_text(CONFIG.format(port=up.port) + extra)
        return kind(config, **{"data": data, **more})

    return start


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Whatever a test does with its gateways, their threads and sockets are gone at its end."""
    gc.collect()
    before = {thread.name for thread in threading.enumerate()}
    yield
    gc.collect()
    until = time.monotonic() + 5
    while extra := [thread.name for thread in threading.enumerate() if thread.name not in before]:
        assert time.monotonic() < until, extra
        time.sleep(0.01)


@pytest.fixture(autouse=True)
async def no_task_leaks() -> AsyncIterator[None]:
    """No task outlives the test that started it."""
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def stored(data: pathlib.Path) -> list[dict[str, Any]]:
    """What ``headgate records`` shows, run in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["records", "--format", "jsonl", "--data", str(data)]) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


async def until_closed(up: Upstream, seconds: float = 5.0) -> float:
    """Waits until the upstream has no connection open; returns after how long."""
    began = time.monotonic()
    while up.open:
        assert time.monotonic() - began < seconds, "the upstream connection stayed open"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


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


async def test_a_stream(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """Text comes in pieces; afterwards ``answer()`` is as whole as a unary one, usage included."""
    async with make(upstream(either)) as gateway, gateway.stream("fast", ASK, session="s") as frames:
        pieces = [text async for text in frames.text()]
        answer = frames.answer()
        assert frames.id == answer.id
    assert pieces == ["Pa", "ris."]
    assert (answer.text, answer.finish, answer.deployment) == ("Paris.", "stop", "up/m-1")
    assert answer.usage is not None
    assert answer.usage.output == 5
    assert (answer.message["role"], answer.message["content"]) == ("assistant", "Paris.")
    assert answer.body["usage"]["completion_tokens"] == 5
    (record,) = stored(data)
    assert (record["outcome"], record["stream"], record["session"]) == ("completed", True, "s")


async def test_leaving_a_stream_early_stops_the_upstream(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """Breaking out of the block closes the upstream's connection at once; the record says cancelled."""
    up = upstream(endless)
    async with make(up) as gateway:
        async with gateway.stream("fast", ASK) as frames:
            async for text in frames.text():
                assert text == "more "
                break
        assert await until_closed(up) < 1.0
        assert frames.answer().body == {}
    assert [record["outcome"] for record in stored(data)] == ["cancelled"]


async def test_a_dropped_stream_is_ended_by_its_finalizer(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """A stream whose block is never left stops the upstream once nobody holds it."""
    up = upstream(endless)
    async with make(up) as gateway:
        frames = await gateway.stream("fast", ASK).__aenter__()
        await frames.__anext__()
        assert up.open == 1
        del frames
        gc.collect()
        await until_closed(up)
    assert [record["outcome"] for record in stored(data)] == ["cancelled"]


async def test_a_cancelled_task_stops_the_upstream(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """Cancelling the task that waits for an answer, or reads a stream, cancels the call."""
    seen: list[object] = []

    async def read() -> None:
        async with gateway.stream("fast", ASK) as frames:
            async for frame in frames:
                seen.append(frame)

    up = upstream(silent)
    async with make(up) as gateway:
        for work, begun in ((gateway.complete("fast", ASK), up.requests), (read(), seen)):
            task = asyncio.ensure_future(work)
            await until(lambda begun=begun: len(begun) > 0)  # type: ignore[misc]
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until_closed(up)
    assert [record["outcome"] for record in stored(data)] == ["cancelled"] * 2


async def test_closing_ends_open_streams_and_records_them(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """``aclose`` with streams and calls under way ends them; none of their records is lost."""
    up = upstream(silent)
    gateway = make(up)
    frames = await gateway.stream("fast", ASK).__aenter__()
    await frames.__anext__()
    waiting = asyncio.ensure_future(gateway.complete("fast", ASK))
    await until(lambda: len(up.requests) == 2)
    await gateway.aclose()
    await gateway.aclose()
    with pytest.raises(HeadgateError):
        await waiting
    await until_closed(up)
    with pytest.raises(RuntimeError, match="closed"):
        await gateway.complete("fast", ASK)
    assert sorted(record["outcome"] for record in stored(data)) == ["cancelled", "failed"]


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
        headers = b"content-type: application/json\r\nretry-after: 7\r\n"
        await write(response(b'{"error":{"message":"slow down"}}', b"429 Too Many Requests", headers))

    async with make(upstream(limited)) as gateway:
        with pytest.raises(UnknownModel, match="did you mean 'fast'") as unknown:
            await gateway.complete("fsat", ASK)
        with pytest.raises(UpstreamError) as limit:
            await gateway.complete("fast", ASK)
        with pytest.raises(Timeout) as late:
            await gateway.complete("fast", "wait", timeout=0.05)
        with pytest.raises(UpstreamError):
            async with gateway.stream("fast", ASK):
                pytest.fail("a stream that has not begun gives no block")
    assert (unknown.value.code, unknown.value.fault, unknown.value.param) == ("model_not_found", "caller", "model")
    assert (limit.value.code, limit.value.status, limit.value.retry_after) == ("rate_limited", 429, 7)
    assert (limit.value.fault, limit.value.sent) == ("upstream", True)
    assert late.value.code == "deadline_exceeded"
    codes = [record["error"] for record in stored(data)]
    assert sorted(codes) == ["deadline_exceeded", "model_not_found", "rate_limited", "rate_limited"]


WRONG: list[tuple[dict[str, Any], str | None]] = [
    ({"dialect": "openai"}, "dialect"),
    ({"priority": "soon"}, "priority"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": "5"}, "timeout"),
    ({"tags": {"n": 1}}, "tags['n']"),
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


async def test_a_stream_used_wrongly_says_how(make: Make) -> None:
    """``async for`` over, or ``await`` of, what ``stream`` returns is an error that shows the right way."""
    async with make() as gateway:
        with pytest.raises(RuntimeError, match="async with"):
            async for _ in gateway.stream("sim/echo", "Hi"):  # type: ignore[attr-defined]
                pass
        with pytest.raises(RuntimeError, match="async with"):
            await gateway.stream("sim/echo", "Hi")


async def test_two_gateways_in_one_process(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """Each has its own settings; on one data directory both are recorded, and closing one leaves the other be."""
    async with make(upstream(either)) as first:
        async with Gateway(data=data) as second:
            assert first.models() == ["fast"] != second.models()
            assert (await second.complete("sim/echo", "Hi")).text == "Hi"
        with pytest.raises(UnknownModel):
            await first.complete("nope", "Hi")
        assert (await first.complete("fast", "Hi")).text == "Paris."
    assert len(stored(data)) == 3


def test_a_gateway_stays_on_its_loop(make: Make) -> None:
    """Used from another event loop, it says so instead of hanging."""
    gateway = make()
    with asyncio.Runner() as first, asyncio.Runner() as second:
        assert first.run(gateway.complete("sim/echo", "Hi")).text == "Hi"
        with pytest.raises(RuntimeError, match="another event loop"):
            second.run(gateway.complete("sim/echo", "Hi"))
        first.run(gateway.aclose())


async def test_a_gateway_dropped_open_warns(make: Make) -> None:
    """Whoever forgets ``aclose`` is told, as with any other resource."""
    gateway = make()
    await gateway.complete("sim/echo", "Hi")
    core = gateway._core
    with pytest.warns(ResourceWarning, match="without aclose"):
        gateway = None
    await core.aclose()


def test_the_sync_face(upstream: Start, make: Make, data: pathlib.Path) -> None:
    """The same calls without an event loop, from several threads at once; then nothing of it is left."""
    up = upstream(either)
    with make(up, kind=SyncGateway) as gateway:
        assert gateway.complete("fast", ASK, tags={"a": "b"}).text == "Paris."
        with gateway.stream("fast", ASK) as frames:
            assert "".join(frames.text()) == "Paris."
        assert frames.answer().finish == "stop"
        results = gateway.map([{"model": "fast", "messages": "?"}, {"model": "nope", "messages": "?"}])
        assert isinstance(results[0], Answer)
        assert isinstance(results[1], UnknownModel)
        with pytest.raises(UnknownModel):
            gateway.complete("nope", ASK)
        assert gateway.models() == ["fast"]

        answers: list[str] = []

        def work() -> None:
            for _ in range(5):
                answers.append(gateway.complete("fast", ASK).text)
                with gateway.stream("fast", ASK) as inner:
                    answers.append("".join(inner.text()))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == ["Paris."] * 40
    gateway.close()
    with pytest.raises(RuntimeError, match="closed"):
        gateway.complete("fast", ASK)
    assert len(stored(data)) == 45


def test_closing_the_sync_face_frees_a_waiting_thread(upstream: Start, make: Make) -> None:
    """A thread that waits for an answer while another closes the gateway gets an error, and does not hang."""
    up, got = upstream(silent), []
    gateway = make(up, kind=SyncGateway)

    def wait() -> None:
        try:
            gateway.complete("fast", ASK)
        except RuntimeError as error:
            got.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    while not up.requests:
        time.sleep(0.005)
    gateway.close()
    thread.join(5)
    assert got == ["this gateway was closed during the call"]


def test_a_dropped_sync_gateway_ends_its_thread(make: Make) -> None:
    """Nobody has to close a SyncGateway: it ends with its last reference (``nothing_leaks`` looks)."""
    gateway = make(kind=SyncGateway)
    assert gateway.complete("sim/echo", "Hi").text == "Hi"
    assert any(thread.name == "headgate" for thread in threading.enumerate())


def test_a_script_that_closes_nothing_ends_quietly(data: pathlib.Path) -> None:
    """A program with a global SyncGateway ends with exit code 0, says nothing, and its call is recorded."""
    script = (
        "from headgate import SyncGateway\n"
        f"gateway = SyncGateway(data={str(data)!r})\n"
        "frames = gateway.stream('sim/words-50', 'Hi').__enter__()\n"
        "print(gateway.complete('sim/echo', 'Hi').text)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hi\n", "")
    assert sorted(record["outcome"] for record in stored(data)) == ["cancelled", "completed"]


@pytest.mark.parametrize("module", [gateway_module, sync_module, answer_module], ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_run(module: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example in the library's docstrings prints what it says."""
    monkeypatch.chdir(tmp_path)
    for name in ("HEADGATE_CONFIG", "HEADGATE_DATA"):
        monkeypatch.delenv(name, raising=False)
    result = doctest.testmod(module, extraglobs={"asyncio": asyncio})
    assert result.attempted > 0
    assert result.failed == 0


def test_public_names_are_imported_when_used() -> None:
    """Every name in ``__all__`` is there, and importing the package alone imports none of the machinery."""
    for name in headgate.__all__:
        assert getattr(headgate, name) is not None
    assert set(headgate.__all__) <= set(dir(headgate))
    with pytest.raises(AttributeError, match="no attribute 'Gatway'"):
        headgate.Gatway  # noqa: B018
    code = "import sys, headgate; print('sqlalchemy' in sys.modules, 'headgate.compose' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == "False False\n"
