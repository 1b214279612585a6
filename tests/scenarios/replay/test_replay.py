"""Replays over real sockets: sent again by the command line and the admin API, recorded, charged, compared, resumed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import pathlib
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.scenarios.conftest import (
    ASK,
    SSE_HEAD,
    Gateway,
    Upstream,
    Write,
    completion,
    delta,
    response,
    sse,
)
from tests.scenarios.server.desk import Desk

from headgate.cli.main import main

CONFIG = """
providers:
  up: {{dialect: openai_chat, url: "http://127.0.0.1:{port}/v1", key: "env:UP_KEY"}}
defaults: {{retry: {{attempts: 0}}}}
models:
  fast: {{route: [up/m-1], price: {{input: 1, output: 2}}}}
  other: {{route: [up/m-2], price: {{input: 3, output: 4}}}}
  slow: {{route: [up/slow]}}
  sick: {{route: [up/sick]}}
  torn: {{route: [up/torn]}}
data: {{dir: data, payloads: full}}
"""
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
WORDS = {"m-1": "The capital is Paris.", "m-2": "The capital is Lyon.", "slow": "At last."}
SHAPES = [(path, stream) for path in ("/v1/chat/completions", "/v1/messages") for stream in (False, True)]


async def play(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> str | None:
    """Does what the model's name says."""
    ask = json.loads(body)
    model = ask["model"]
    if model == "sick":
        await write(
            response(b'{"error":{"message":"gone fishing with eve@example.org","type":"server_error"}}', b"500 Oh No")
        )
        return None
    if model == "slow":
        await asyncio.sleep(0.3)
    words = WORDS.get(model, "The capital is")
    if not ask.get("stream"):
        await write(response(completion(words)))
        return None
    await write(SSE_HEAD + sse(delta({"role": "assistant", "content": ""}), delta({"content": words})))
    if model == "torn":
        return "close"
    await write(sse(delta({}, "stop"), {**delta({}, usage=USAGE), "choices": []}, b"[DONE]") + b"0\r\n\r\n")
    return None


@pytest.fixture(scope="module")
def up() -> Iterator[Upstream]:
    one = Upstream(play)
    yield one
    one.close()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verbs that run in this process find the upstream's key as the gateway does."""
    monkeypatch.setenv("UP_KEY", "sk-upstream-secret")


@pytest.fixture(scope="module")
def gate(up: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that keeps what is asked and answered."""
    one = Gateway(tmp_path_factory.mktemp("replayed"), CONFIG.format(port=up.port))
    yield one
    if one.process.poll() is None:
        one.stop(signal.SIGKILL)


def call(
    gate: Gateway, model: str = "fast", path: str = "/v1/chat/completions", stream: bool = False, **more: Any
) -> str:
    """Makes a call; returns its id."""
    return str(gate.post(path, {**ASK, "model": model, "stream": stream, **more})[1]["x-headgate-id"])


def run(gate: Gateway, *arguments: str) -> tuple[int, str, str]:
    """Runs a verb here, on the gateway's data; a process of its own takes longer than most of these tests."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*arguments, "--data", str(gate.data)])
    return code, out.getvalue(), err.getvalue()


def again(gate: Gateway, *arguments: str, expected: int = 0) -> Any:
    """Replays; returns what the verb says as JSON."""
    code, out, err = run(gate, "replay", *arguments, "--format", "json", "--config", str(gate.config))
    assert code == expected, err
    return json.loads(out)


def record_of(gate: Gateway, id: str) -> Any:
    """Returns a call's story."""
    return json.loads(run(gate, "record", id, "--format", "json")[1])


@pytest.mark.parametrize(("path", "stream"), SHAPES)
def test_a_call_is_sent_again_as_it_was_and_changed(gate: Gateway, up: Upstream, path: str, stream: bool) -> None:
    """The same bytes go upstream again; another model, parameter and shape change only those; answers are compared."""
    id = call(gate, path=path, stream=stream, seed=7) if "chat" in path else call(gate, path=path, stream=stream)
    first = up.requests[-1][2]
    same = again(gate, id)
    assert up.requests[-1][2] == first
    assert (same["same_answer"], same["before"]["text"]) == (True, "The capital is Paris.")
    changed = again(gate, id, "--model", "other", "--set", "temperature=0", "--no-stream" if stream else "--stream")
    sent = json.loads(up.requests[-1][2])
    assert (sent["model"], sent["temperature"], bool(sent.get("stream"))) == ("m-2", 0, not stream)
    after = changed["after"]
    assert (after["deployment"], after["text"], after["finish"]) == ("up/m-2", "The capital is Lyon.", "stop")
    assert (changed["same_answer"], changed["similarity"]) == (False, 0.75)
    assert changed["cost_change"] == (10 * 3000 + 5 * 4000) - (10 * 1000 + 5 * 2000)
    assert "+The capital is Lyon." in changed["diff"]
    record = record_of(gate, after["id"])
    assert (record["tags"], record["key_name"]) == ({"replay_of": id}, "replay")
    assert record["user"].startswith("cli:")
    assert record["notes"]["changed"]["model"] == "other"


def test_the_two_answers_stand_side_by_side(gate: Gateway) -> None:
    """A table of figures and a diff of the words, for people; --deployment addresses one."""
    id = call(gate)
    _, shown, _ = run(gate, "replay", id, "--deployment", "up/m-2", "--config", str(gate.config))
    for part in ("RECORDED", "up/m-1", "up/m-2", "-The capital is Paris.", "+The capital is Lyon.", "75% alike"):
        assert part in shown


def test_a_redacted_call_is_sent_with_pseudonyms(gate: Gateway, up: Upstream) -> None:
    """What was private never leaves the store again: pseudonyms go in its place, and the replay says so."""
    careful = gate.run("keys", "create", "--name", "careful", "--payloads", "redacted", "--quiet").strip()
    ask = [{"role": "user", "content": "Write to eve@example.org about France."}]
    while (answer := gate.chat(messages=ask, headers={"authorization": f"Bearer {careful}"}))[0] == 401:
        time.sleep(0.05)
    code, out, err = run(gate, "replay", answer[1]["x-headgate-id"], "--config", str(gate.config))
    assert code == 0, err
    assert "pseudonyms were sent" in err
    sent = json.loads(up.requests[-1][2])["messages"][0]["content"]
    assert "eve@example.org" not in sent
    assert sent.startswith("Write to ")
    assert sent.endswith(" about France.")
    assert "the answers are the same" in out


def test_what_can_not_be_replayed_is_told(gate: Gateway) -> None:
    """No such call, a call that is not kept, a model that is not there: what it is, and what to do."""

    def fails(*arguments: str) -> str:
        code, out, err = run(gate, "replay", *arguments, "--config", str(gate.config))
        assert code in (1, 2), out
        return err

    quiet = gate.run("keys", "create", "--name", "quiet", "--payloads", "none", "--quiet").strip()
    while (answer := gate.chat(headers={"authorization": f"Bearer {quiet}"}))[0] == 401:
        time.sleep(0.05)
    assert "payloads: full" in fails(answer[1]["x-headgate-id"])
    assert "no call has the id" in fails("hg_nobody")
    assert "--where" in fails()
    assert "--model" in fails(call(gate), "--set", "model=x")
    assert "provider/model" in fails("hg_x", "--deployment", "x")
    gone = again(gate, call(gate), "--model", "nobody", expected=1)
    assert (gone["after"]["error"], gone["after"]["outcome"]) == ("model_not_found", "refused")
    refused = run(gate, "records", "--error", "model_not_found", "--format", "jsonl")[1]
    assert "did you mean 'fast'" in fails("--where", "since=1h", "--model", "fasd")
    assert run(gate, "records", "--error", "model_not_found", "--format", "jsonl")[1] == refused, "no call was made"


def test_the_admin_api_replays_for_the_caller(gate: Gateway) -> None:
    """Charged to the caller's own key, within its models and tags; audited without anybody's words; once a key."""
    keys = {
        name: gate.run("keys", "create", "--name", name, "--quiet", *more).strip()
        for name, more in {
            "dev": ["--payloads", "full", "--models", "fast,other", "--networks", "127.0.0.1"],
            "looker": ["--role", "viewer"],
            "chief": ["--role", "admin"],
        }.items()
    }
    dev, looker, chief = (Desk(gate, keys[name]) for name in ("dev", "looker", "chief"))
    id = call(gate, stream=True)
    while chief.call("GET", "/me").status == 401:
        time.sleep(0.05)
    assert looker.call("POST", f"/calls/{id}/replay", {}).code == "forbidden"
    assert dev.call("POST", "/calls/hg_nobody/replay", {}).status == 404
    assert dev.call("POST", f"/calls/{id}/replay", {"modle": "x"}).code == "unknown_field"
    asked = {"model": "other", "set": {"temperature": 0.5}, "tags": {"why": "look"}}
    answer = dev.call("POST", f"/calls/{id}/replay", asked, idempotency_key="one")
    found = answer.body
    assert (found["after"]["text"], found["before"]["text"]) == ("The capital is Lyon.", "The capital is Paris.")
    told = dev.call("POST", f"/calls/{id}/replay", asked, idempotency_key="one")
    assert told.headers["idempotency-replayed"] == "true"
    assert (told.body["after"]["id"], told.body["after"]["text"]) == (found["after"]["id"], None)
    record = record_of(gate, found["after"]["id"])
    assert (record["key_name"], record["tags"]) == ("dev", {"replay_of": id, "why": "look"})
    refused = dev.post(f"/calls/{id}/replay", model="slow")
    assert refused["after"]["error"] == "model_not_found"
    (entry,) = [one for one in chief.get("/audit")["data"] if one["target"] == id and one["after"]["model"] == "other"]
    assert (entry["action"], entry["actor"], entry["after"]["set"]) == (
        "call.replay",
        record["key_id"],
        ["temperature"],
    )
    assert entry["after"]["replay"] == found["after"]["id"]


@pytest.mark.parametrize(
    ("path", "model", "stream"),
    [(path, "sick", stream) for path, stream in SHAPES]
    + [("/v1/chat/completions", "torn", True), ("/v1/messages", "torn", True)],
)
def test_a_failure_is_played_without_its_upstream(
    gate: Gateway, path: str, model: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without provider, key or configuration the record alone gives the same error; what was heard is shown."""
    id = call(gate, model, path, stream)
    monkeypatch.delenv("UP_KEY")
    code, out, err = run(gate, "replay", id, "--offline")
    assert code == 0, out + err
    assert out.endswith("\nreproduced\n")
    assert ("gone fishing with" if model == "sick" else "body_cut") in out
    if stream:
        dev = Desk(gate, gate.key)
        played = dev.post(f"/calls/{id}/play")
        assert (played["reproduced"], played["differs"]) == (True, [])
        assert played["after"]["error"] == played["before"]["error"] != ""


def test_many_are_replayed_and_a_killed_run_goes_on(gate: Gateway, up: Upstream) -> None:
    """A run killed in the middle loses at most what was under way; the same command does the rest, and adds all up."""
    ids = {call(gate, "slow") for _ in range(6)}
    where = "model=slow since=1h"
    command = ["replay", "--where", where, "--concurrency", "2", "--config", str(gate.config)]
    with subprocess.Popen(
        gate._command(*command), env=gate.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as killed:
        folder = gate.data / "replays"
        until = time.monotonic() + 60
        while not (found := list(folder.glob("*.jsonl")) if folder.exists() else []) or lines(found[0]) < 3:
            assert time.monotonic() < until
            time.sleep(0.02)
        killed.kill()
    kept = lines(found[0])
    before = len(up.requests)
    result = again(gate, "--where", where, "--concurrency", "2")
    assert len(up.requests) - before == 6 - (kept - 1)
    assert {one["id"] for one in result["replays"]} == ids
    assert (result["total"]["replays"], result["total"]["same_answers"]) == (6, 6)
    more = ("--model", "other", "--limit", "2", "--config", str(gate.config))
    _, shown, _ = run(gate, "replay", "--where", where, *more)
    assert "2 REPLAYS" in shown
    assert "0 of 2 answers are the same" in shown
    told = call(gate, messages=[{"role": "user", "content": "a heron on one leg"}])
    call(gate, messages=[{"role": "user", "content": "a stork on two"}])
    until = time.monotonic() + 60
    while told not in run(gate, "records", "--text", "heron", "--format", "jsonl")[1]:
        assert time.monotonic() < until
        time.sleep(0.05)
    said = again(gate, "--where", "text='heron \"one leg\"' since=1h")
    assert [one["id"] for one in said["replays"]] == [told]


def lines(path: pathlib.Path) -> int:
    """Returns how many whole lines a file has."""
    return path.read_bytes().count(b"\n")
