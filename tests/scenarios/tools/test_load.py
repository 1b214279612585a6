"""``headgate load`` over real sockets: what callers would have waited is reported, and a stall is not hidden."""

from __future__ import annotations

import asyncio
import json
import pathlib
import signal
import socket
import time
from collections.abc import Callable

import pytest
from tests.scenarios.conftest import Gateway, Script, Upstream, Write, delta, response, sse

from headgate.core.errors import Forbidden
from headgate.load.arrivals import Arrival, Arrivals
from headgate.load.run import Run
from headgate.load.target import Target

CONFIG = """
models:
  fast: {route: [sim/words-50], price: {input: 2.5, output: 10}}
  down: {route: [sim/fail-503], retry: {attempts: 0}}
data: {dir: data}
"""
HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
WHOLE = sse(delta({"content": "x"}), delta({}, "stop"), b"[DONE]") + b"0\r\n\r\n"
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

Start = Callable[[Script], Upstream]


def steady(count: int, seconds: float, **fields: bool) -> Arrivals:
    """Arrivals at even distances."""
    made = [Arrival(number * seconds / count, 5, 5, **fields) for number in range(count)]
    return Arrivals("test", count, seconds, lambda: iter(made))


def play(port: int, arrivals: Arrivals, **options: float) -> Run:
    """Plays arrivals against an upstream."""
    run = Run(Target(f"http://127.0.0.1:{port}", model="m"), arrivals, **options)  # type: ignore[arg-type]
    asyncio.run(run.play())
    return run


def test_a_load_test_from_a_trace_is_recorded_and_checked(tmp_path: pathlib.Path) -> None:
    """Its cost is the ledger's, the gateway's own share is told, ``check`` finds it; recorded traffic plays again."""
    trace = tmp_path / "trace.csv"
    lines = [f"2023-11-16 18:17:{second:02}.{part}00000,40,20" for second in range(6) for part in range(0, 10, 2)]
    trace.write_text(HEAD + "\n".join(lines))
    gate = Gateway(tmp_path, CONFIG)
    gate.env["HEADGATE_API_KEY"] = gate.key
    try:
        load = ("load", gate.url, "--trace", str(trace), "--model", "fast", "--speed", "10", "--format", "json")
        report = json.loads(
            gate.run(*load, "--html", str(tmp_path / "r.html"), "--json", str(tmp_path / "r.json"), apart=True)
        )
        assert (report["calls"], report["errors"], report["source"]) == (30, 0, "trace trace.csv")
        assert report["output_tokens"] == 30 * 20
        assert report["times"]["first_content"]["count"] == report["times"]["total"]["count"] == 30
        assert report["own"]["calls"] == 30
        assert report["own_p99_ms"] > 0
        spent = json.loads(gate.run("spend", "--format", "json"))
        assert report["cost"] == spent["total"]["cost_usd"]
        assert json.loads((tmp_path / "r.json").read_text()) == report
        assert "<svg" in (tmp_path / "r.html").read_text()
        # Now some traffic of its own, played again at twice its speed.
        for size in (3, 30):
            assert gate.chat(model="fast", max_tokens=size, stream=size == 3)[0] == 200
            time.sleep(0.1)
        again = json.loads(gate.run("load", gate.url, "--from-records", "--speed", "2", "--format", "json"))
        assert (again["calls"], again["errors"], again["model"]) == (2, 0, "as recorded")
        assert again["output_tokens"] == 33
        failing = gate.run("load", gate.url, "--trace", str(trace), "--model", "down", "--calls", "3", code=1)
        assert "3 x 503" in failing
    finally:
        assert gate.stop(signal.SIGTERM) == 0
    checked = json.loads(gate.run("check", "--format", "json", code=1))
    item = next(item for item in checked["items"] if item["id"] == "load-tested")
    assert item["verdict"] == "pass", item
    assert item["figures"]["peak_per_minute"] <= 2  # what was loaded is no traffic


def test_a_stall_of_the_server_counts_for_every_call_that_should_have_begun(upstream: Start) -> None:
    """A server that freezes is asked on: everybody who came meanwhile waited, and is counted so."""
    frozen = 0.4
    until: list[float] = []

    async def script(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        until.append(time.monotonic() + frozen) if not until else None
        await asyncio.sleep(max(0.0, until[0] - time.monotonic()))
        await write(SSE_HEAD + WHOLE)

    run = play(upstream(script).port, steady(100, 0.8))
    tally = run.tally
    assert (tally.started, tally.failed) == (100, 0)
    # All that should have begun in the first half of the freeze waited for the rest of it.
    waited = sum(part - before for (us, part), before in _steps(tally.total) if us > frozen / 2 * 1e6)
    assert waited >= 0.2
    assert tally.total.most_us >= frozen * 1e6 * 0.95


def _steps(histogram: object) -> list[tuple[tuple[float, float], float]]:
    steps = list(histogram.steps())  # type: ignore[attr-defined]
    return list(zip(steps, [0.0, *(part for _, part in steps)], strict=False))


def test_a_load_that_falls_behind_blames_itself_in_the_figures(upstream: Start) -> None:
    """Where the load itself stalls, calls count from when they were meant to start, not from when they were sent."""

    async def script(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        await write(SSE_HEAD + WHOLE)

    run = Run(Target(f"http://127.0.0.1:{upstream(script).port}", model="m"), steady(50, 0.5))
    stalls = iter([0.3])
    asyncio.run(run.play(lambda _: time.sleep(next(stalls, 0))))
    tally = run.tally
    assert tally.total.most_us >= 0.25e6
    assert tally.lag.most_us >= 0.25e6
    assert tally.service.most_us < tally.total.most_us


def test_a_load_of_which_every_call_is_refused_ends_early(upstream: Start) -> None:
    """A wrong key is told after a few calls, not after an hour of them."""

    async def script(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        await write(response(b'{"error":{"code":"invalid_api_key"}}', b"401 Unauthorized"))

    with pytest.raises(Forbidden, match=r"calls were refused: 401 invalid_api_key.*--key"):
        play(upstream(script).port, steady(10_000, 60.0))


async def _hang(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def _cut(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> str:
    await write(SSE_HEAD + sse(delta({"content": "x"})))
    return "close"


async def _close(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> str:
    return "close"


async def _refuse(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
    await write(response(b'{"error":{"code":"rate_limited"}}', b"429 Too Many Requests"))


async def _garbage(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> str:
    await write(b"ICY 200\r\n\r\n")
    return "close"


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (_hang, "timeout after 0.2 s"),
        (_cut, "broken stream: cut"),
        (_close, "connection: ConnectionResetError"),
        (_refuse, "429 rate_limited"),
        (_garbage, "connection: ConnectionResetError"),
    ],
)
def test_errors_are_told_apart(upstream: Start, script: Script, kind: str) -> None:
    """Each call that failed has its kind; one that was given up waited at least until then."""
    run = play(upstream(script).port, steady(4, 0.02), timeout=0.2)
    assert dict(run.tally.errors) == {kind: 4}
    assert run.open == 0
    if script is _hang:
        assert run.tally.total.count == 4
        assert run.tally.total.most_us >= 0.2e6
    elif script is _refuse:
        assert run.tally.total.count == 0  # a quick refusal must not make the times look good


def test_nothing_listens() -> None:
    """Every call fails, and none is lost."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        run = play(closed.getsockname()[1], steady(3, 0.01))
    assert dict(run.tally.errors) == {"connection: ConnectionRefusedError": 3}


def test_too_many_at_once_are_counted_not_made(upstream: Start) -> None:
    """The load's memory is bounded: what would go beyond is a failure that says so."""
    run = play(upstream(_hang).port, steady(10, 0.01), timeout=3.0, most_open=4)
    assert (run.tally.started, run.tally.skipped) == (4, 6)
    assert run.tally.errors["not sent: too many calls under way"] == 6


def test_a_part_of_the_calls_streams(upstream: Start) -> None:
    """``stream_share`` is kept evenly; arrivals that say for themselves are heeded."""
    asked: list[bool] = []

    async def script(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        asked.append(b'"stream":true' in body)
        whole = response(json.dumps({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode())
        await write(SSE_HEAD + WHOLE if asked[-1] else whole)

    server = upstream(script)
    assert play(server.port, steady(20, 0.05), stream_share=0.25).tally.failed == 0
    assert sum(asked) == 5
    asked.clear()
    assert play(server.port, steady(4, 0.02, stream=False)).tally.failed == 0
    assert asked == [False] * 4
