"""The engine and the in-process front: same seed, same bytes; faults as errors; the meter."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.errors import ConnectFailed, UpstreamBroken
from headgate.sim.behaviour import Behaviour
from headgate.sim.engine import Sim
from headgate.sim.fault import CATALOGUE
from headgate.sim.local import LocalBody, LocalResponse, SimApp
from headgate.sim.scenario import parse_scenario
from headgate.sim.testing import running_sim

OPENAI, ANTHROPIC = "/v1/chat/completions", "/v1/messages"


def body_of(stream: bool = True, model: str = "words-20", text: str = "hello") -> bytes:
    """A request that both APIs take."""
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": model, "stream": stream, "max_tokens": 500, "messages": messages}).encode()


def bytes_of(sim: Sim, path: str, body: bytes, headers: dict[bytes, bytes] | None = None) -> bytes:
    """All body bytes of one answer."""
    return b"".join(piece.data for piece in sim.answer("POST", path, headers or {}, body).steps())


async def read(response: LocalResponse) -> bytes:
    """A local answer's body, whole."""
    if isinstance(response.body, bytes):
        return response.body
    return b"".join([part async for part in response.body])


@given(st.integers(0, 2**40), st.text(min_size=1, max_size=40), st.booleans(), st.sampled_from([OPENAI, ANTHROPIC]))
@settings(max_examples=40)
def test_same_seed_same_bytes(seed: int, text: str, stream: bool, path: str) -> None:
    """Two simulators of one seed answer the same calls with the same bytes; a repeated call differs in its id."""
    runs = []
    for _ in range(2):
        sim = Sim(Behaviour(seed=seed))
        runs.append([bytes_of(sim, path, body_of(stream, model, text)) for model in ("words-9", "echo", "echo")])
    assert runs[0] == runs[1]
    assert runs[0][1] != runs[0][2]


def test_order_between_different_requests_does_not_matter() -> None:
    """A call's randomness follows from its own bytes, so concurrency changes nothing."""
    one, two = body_of(text="one"), body_of(text="two")
    first, second = Sim(), Sim()
    a = [bytes_of(first, OPENAI, body) for body in (one, two)]
    b = [bytes_of(second, OPENAI, body) for body in (two, one)]
    assert a == b[::-1]


def test_the_seed_header_pins_a_call() -> None:
    """With x-sim-seed the same request gets the same bytes, however often."""
    sim = Sim()
    made = {bytes_of(sim, OPENAI, body_of(), {b"x-sim-seed": seed}) for seed in (b"7", b"7", b"7", b"8")}
    assert len(made) == 2


def test_pace_is_on_the_pieces() -> None:
    """Tokens come first_token after the request and 1/speed apart; headers by the call's own x-sim-… override."""
    sim = Sim(parse_scenario("speed: 10\nfirst_token: 0.5\nheaders: 0.1", "t").behaviour)
    pieces = list(sim.answer("POST", OPENAI, {}, body_of()).steps())
    assert pieces[0].at == pieces[1].at == 0.1
    content = [piece.at for piece in pieces if piece.act.value == "content"]
    assert content == pytest.approx([0.5 + 0.1 * index for index in range(20)])
    unary = sim.answer("POST", OPENAI, {}, body_of(stream=False))
    assert unary.at == pytest.approx(2.5)
    quick = sim.answer("POST", OPENAI, {b"x-sim-speed": b"0", b"x-sim-first-token-ms": b"20"}, body_of(stream=False))
    assert quick.at == pytest.approx(0.02)


async def test_local_answers_equal_the_engine() -> None:
    """In process, whole and streamed, the bytes are the engine's."""
    for path in (OPENAI, ANTHROPIC):
        for stream in (True, False):
            response = await SimApp()("POST", path.encode() + b"?beta=true", {}, body_of(stream))
            assert response.status == 200
            assert await read(response) == bytes_of(Sim(), path, body_of(stream))


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unary"])
@pytest.mark.parametrize("fault", sorted(CATALOGUE))
async def test_local_faults(fault: str, stream: bool) -> None:
    """Every fault in process: an answer, a raised error, or silence that can be cancelled; the meter ends at rest."""
    app = SimApp()
    outcome = ""
    try:
        async with asyncio.timeout(0.05):
            response = await app("POST", OPENAI, {b"x-sim-fault": fault.encode()}, body_of(stream))
            try:
                await read(response)
            finally:
                if isinstance(response.body, LocalBody):
                    await response.body.aclose()
    except (ConnectFailed, UpstreamBroken) as error:
        outcome = type(error).__name__
    except TimeoutError:
        outcome = "silent"
    wanted = ""
    if fault in ("refuse", "tls-failure"):
        wanted = "ConnectFailed"
    elif fault.startswith(("reset", "close")) or fault == "malformed-chunk" or (fault == "cut" and not stream):
        wanted = "UpstreamBroken"
    elif fault.startswith("hang") or fault == "slow-drip":
        wanted = "silent"
    assert outcome == wanted
    assert app.sim.meter.live_calls == 0


async def test_local_refusal_lasts() -> None:
    """After ``refuse`` further calls find no connection, until its time is over."""
    app = SimApp()
    with pytest.raises(ConnectFailed):
        await app("POST", OPENAI, {b"x-sim-fault": b"refuse; for_s=0.05"}, body_of())
    with pytest.raises(ConnectFailed):
        await app("POST", OPENAI, {}, body_of())
    await asyncio.sleep(0.06)
    assert (await app("POST", OPENAI, {}, body_of(False))).status == 200


def test_bad_requests_are_refused_in_the_dialect() -> None:
    """What the real APIs refuse is a 400, 404 or 405 with the dialect's error."""
    sim = Sim()
    for path, body, param in [
        (OPENAI, b"{", None),
        (OPENAI, b'{"model": "x"}', "messages"),
        (OPENAI, b'{"model": "x", "messages": [{"role": "king", "content": ""}]}', "role"),
        (ANTHROPIC, b'{"model": "x", "messages": [{"role": "user", "content": "a"}]}', "max_tokens"),
        (ANTHROPIC, b'{"model": 3, "max_tokens": 1, "messages": []}', "model"),
        ("/v1/embeddings", b'{"model": "x", "input": []}', "input"),
        ("/v1/embeddings", b'{"model": "x", "input": "a", "dimensions": 0}', "dimensions"),
    ]:
        answer = sim.answer("POST", path, {}, body)
        error = json.loads(answer.body or b"")["error"]
        assert answer.status == 400, body
        assert (param or "JSON") in error["message"], body
    assert sim.answer("GET", OPENAI, {}, b"").status == 405
    assert sim.answer("GET", "/v2", {}, b"").status == 404
    assert sim.meter.statuses == {400: 7, 405: 1, 404: 1}


def test_running_sim_is_a_url_with_a_meter() -> None:
    """The synchronous helper: load, meter and reset from another thread."""

    def call(url: str, data: bytes = body_of(False)) -> int:
        request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    with running_sim("faults: [{fault: 503, when: {first: 1}}]") as url:
        assert [call(f"{url.v1}/chat/completions") for _ in range(2)] == [503, 200]
        meter = url.meter()
        assert (meter.calls, meter.statuses, meter.faults) == (2, {503: 1, 200: 1}, {"503": 1})
        assert meter.models["words-20"].output_tokens == 20
        url.load("flapping")
        assert url.meter().calls == 0
        for control, data, status in [
            ("/sim/scenario", b"calm", 200),
            ("/sim/scenario", b"sped: 3", 400),
            ("/sim/reset", b"", 200),
            ("/sim/else", b"", 404),
        ]:
            assert call(url + control, data) == status
        with urllib.request.urlopen(url + "/sim/meter", timeout=60) as response:
            assert json.loads(response.read())["calls"] == 0
