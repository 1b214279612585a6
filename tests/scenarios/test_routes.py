"""Where a call goes: by kind of failure, by key, by group, by hedge, and to the static text in the end."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable

import pytest
from tests.receivers import eventually

from .conftest import ASK, SSE_HEAD, Gateway, Script, Upstream, Write, completion, delta, response, sse

Start = Callable[[Script], Upstream]
Gate = Callable[..., Gateway]


async def good(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
    if json.loads(body).get("stream"):
        await write(SSE_HEAD + sse(delta({"content": "Paris."}), delta({}, "stop"), b"[DONE]") + b"0\r\n\r\n")
    else:
        await write(response(completion("Paris.")))


def failing(status: bytes, code: str, headers: bytes = b"") -> Script:
    async def script(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        answer = json.dumps({"error": {"message": "no", "type": "error", "code": code}}).encode()
        await write(response(answer, status, b"content-type: application/json\r\n" + headers))

    return script


def config(models: str, **upstreams: Upstream) -> str:
    providers = "".join(
        f'  {name}: {{dialect: openai_chat, url: "http://127.0.0.1:{up.port}/v1", key: "env:UP_KEY"}}\n'
        for name, up in upstreams.items()
    )
    return f"providers:\n{providers}models:\n{models}"


def test_a_kind_of_failure_has_a_place_to_go(upstream: Start, gateway: Gate) -> None:
    """Too long for one model goes to the larger one, not along the route; a filter's refusal goes where it was told."""
    long = upstream(failing(b"400 Bad Request", "context_length_exceeded"))
    filtered = upstream(failing(b"400 Bad Request", "content_filter"))
    other, large = upstream(good), upstream(good)
    models = (
        "  fast: {route: [a/m, b/m], on: {context_length: [large/m]}}\n"
        "  kept: {route: [filtered/m, b/m]}\n"
        "  freed: {route: [filtered/m, b/m], on: {content_filter: [large/m]}}\n"
    )
    gate = gateway(config(models, a=long, b=other, large=large, filtered=filtered))
    found = {}
    for model in ("fast", "kept", "freed"):
        status, headers, _ = gate.chat(model=model)
        found[model] = (status, headers.get("x-headgate-deployment"), headers["x-headgate-attempts"])
    assert found == {"fast": (200, "large/m", "2"), "kept": (400, None, "1"), "freed": (200, "large/m", "2")}
    assert other.requests == []


def test_a_refused_key_is_followed_by_the_next_one(upstream: Start, gateway: Gate) -> None:
    """401 and 429 turn to the next key in the same call, at once; later calls begin with that key."""
    seen: list[str] = []

    async def picky(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        key = next(line for line in up.requests[-1][1].split(b"\r\n") if line.lower().startswith(b"authorization"))
        seen.append(key.decode().split()[-1])
        if seen[-1] == "bad-key-1":
            await failing(b"401 Unauthorized", "invalid_api_key")(path, body, write, writer)
        elif seen[-1] == "busy-key-2":
            await failing(b"429 Too Many Requests", "rate_limit_exceeded", b"retry-after: 30\r\n")(
                path, body, write, writer
            )
        else:
            await good(path, body, write, writer)

    up = upstream(picky)
    text = config("  fast: {route: [up/m]}\n", up=up).replace(
        'key: "env:UP_KEY"', 'keys: ["env:K1", "env:K2", "env:K3"]'
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"K1": "bad-key-1", "K2": "busy-key-2", "K3": "good-key-3"}.items():
            patch.setenv(name, value)
        gate = gateway(text)
    status, headers, _ = gate.chat()
    assert (status, headers["x-headgate-attempts"]) == (200, "3")
    assert gate.chat()[0] == 200
    assert seen == ["bad-key-1", "busy-key-2", "good-key-3", "good-key-3"]
    record = gate.record(headers["x-headgate-id"])
    assert [attempt["error"] for attempt in record["attempts"]] == ["auth", "rate_limited", ""]
    assert "key-1" not in json.dumps(record)


def test_a_group_shares_its_load_and_keeps_conversations_together(upstream: Start, gateway: Gate) -> None:
    """By weight, two calls in three go to the heavier; a sticky session always meets the same deployment."""
    a, b = upstream(good), upstream(good)
    models = (
        "  shared: {route: [{of: [a/m, {use: b/m, weight: 2}], balance: weighted}]}\n"
        "  sticky: {route: [{of: [a/m, b/m], sticky: true}]}\n"
    )
    gate = gateway(config(models, a=a, b=b))
    counts = Counter(gate.chat(model="shared")[1]["x-headgate-deployment"] for _ in range(90))
    assert 40 < counts["b/m"] < 78
    homes = {}
    for session in range(8):
        met = {
            gate.chat(model="sticky", headers={"x-headgate-session": f"s{session}"})[1]["x-headgate-deployment"]
            for _ in range(4)
        }
        assert len(met) == 1
        homes[session] = met.pop()
    assert set(homes.values()) == {"a/m", "b/m"}


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])
def test_the_static_answer_is_whole_and_marked(upstream: Start, gateway: Gate, stream: bool) -> None:
    """In either dialect a client gets a whole answer that says in its headers, and in the record, what it is."""
    text = "We are overloaded; try again."
    gate = gateway(
        config(
            f'  fast: {{route: [a/m], answer: "{text}", retry: {{attempts: 0}}}}\n',
            a=upstream(failing(b"500 Oops", "x")),
        )
    )
    status, headers, body = gate.chat(stream=stream)
    assert (status, headers["x-headgate-degraded"]) == (200, "static")
    assert text in body.decode()
    assert (b"data: [DONE]" in body) is stream
    asked = {"model": "fast", "max_tokens": 9, "messages": ASK["messages"], "stream": stream}
    status, headers, body = gate.post("/v1/messages", asked)
    assert (status, headers["x-headgate-degraded"]) == (200, "static")
    assert text in body.decode()
    assert (b"message_stop" in body) is stream
    record = gate.record(headers["x-headgate-id"])
    assert (record["outcome"], record["winner"], record["finish"]) == ("completed", -1, "stop")
    assert record["notes"] == {"degraded": "static", "degraded_for": "server_error"}
    assert record["usage"]["output"] == 0


def test_what_the_caller_got_wrong_stays_an_error(upstream: Start, gateway: Gate) -> None:
    """A request that no deployment could answer gets no static text."""
    up = upstream(failing(b"400 Bad Request", "bad"))
    gate = gateway(config("  fast: {route: [a/m], answer: Later.}\n", a=up))
    assert gate.chat()[0] == 400


def test_a_slow_start_is_hedged(upstream: Start, gateway: Gate) -> None:
    """Once it is known what is usual, a call that is slower gets its answer from the next deployment, and the slow
    attempt is ended at its upstream."""

    async def mostly_quick(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60 if b"slow" in body else 0.03)
        await good(path, body, write, writer)

    a, b = upstream(mostly_quick), upstream(good)
    gate = gateway(config("  fast: {route: [a/m, b/m], hedge: {min_delay: 10ms, budget: 0.05}}\n", a=a, b=b))
    for _ in range(25):
        assert gate.chat()[1]["x-headgate-deployment"] == "a/m"
    status, headers, _ = gate.chat(messages=[{"role": "user", "content": "slow"}])
    assert (status, headers["x-headgate-deployment"], headers["x-headgate-attempts"]) == (200, "b/m", "2")
    record = gate.record(headers["x-headgate-id"])
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["cancelled", "completed"]
    assert record["winner"] == 1
    eventually(lambda: len(a.left) >= 1)


def test_a_full_deployment_queues_and_sheds(upstream: Start, gateway: Gate) -> None:
    """One place, one waiter: the third call at once is told to come back, and when."""
    release = asyncio.Event()

    async def slow(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        await asyncio.wait_for(release.wait(), 60)
        await good(path, body, write, writer)

    up = upstream(slow)
    gate = gateway(config("  fast: {route: [up/m], limit: {concurrency: 1, queue: 1, wait: 60s}}\n", up=up))

    async def play() -> list[tuple[int, dict[str, str], bytes]]:
        # Whichever comes third is told so; the other two wait until they are let go.
        calls = [asyncio.ensure_future(asyncio.to_thread(gate.chat)) for _ in range(3)]
        (shed,), others = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        up._loop.call_soon_threadsafe(release.set)
        return [*(await asyncio.gather(*others)), await shed]

    first, second, shed = asyncio.run(play())
    assert (first[0], second[0], shed[0]) == (200, 200, 503)
    assert int(shed[1]["retry-after"]) >= 1
    assert b"queue_full" in shed[2]
    assert len(up.requests) == 2
