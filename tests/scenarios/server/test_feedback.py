"""Feedback over HTTP and at the command line: whose it is, what is refused, and that a killed recorder loses none."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.scenarios.conftest import Gateway, Upstream
from tests.scenarios.test_nothing_lost import recorder_pid

from headgate.stores.catchup import catch_up
from headgate.stores.data import DataDir
from headgate.stores.query import CallStore

from .desk import Desk
from .stage import LIVELY

MESSAGES = {"model": "fast", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20}


@pytest.fixture(scope="module")
def gate(up: Upstream, fresh: Callable[[str], pathlib.Path]) -> Iterator[Gateway]:
    """A gateway whose calls are judged."""
    one = Gateway(fresh("judged"), LIVELY.format(port=up.port))
    yield one
    if one.process.poll() is None:
        one.stop(signal.SIGKILL)


def give(gate: Gateway, id: str, headers: dict[str, str] | None = None, **said: Any) -> tuple[int, Any]:
    """Posts feedback; returns status and body."""
    status, _, body = gate.post("/v1/feedback", {"id": id, **said}, headers=headers)
    return status, json.loads(body)


def judged(gate: Gateway, id: str) -> list[tuple[float | None, str | None]]:
    """Returns what the call's story says was thought of it."""
    data = DataDir(gate.data)
    engine = data.open_engine()
    try:
        assert catch_up(data, engine, 10)
        story = CallStore(engine).find(id)
    finally:
        engine.dispose()
    assert story is not None
    return [(said["score"], said["label"]) for said in story["feedback"]]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("stream", [False, True])
def test_every_answer_can_be_judged_by_its_header(gate: Gateway, path: str, stream: bool) -> None:
    """`x-headgate-id` names the call, whole or streamed, in either dialect; a failed one, too; the story shows it."""
    model = "steady" if stream else "fast"
    status, headers, _ = gate.post(path, {**MESSAGES, "model": model, "stream": stream})
    assert status == 200
    status, taken = give(gate, headers["x-headgate-id"], score=0.5, label="so-so", comment="meh")
    assert status in (200, 202)
    assert (taken["score"], taken["label"], taken["replayed"]) == (0.5, "so-so", False)
    status, again = give(gate, headers["x-headgate-id"], score=0.5, label="so-so", comment="meh")
    assert (again["id"], again["replayed"]) == (taken["id"], True)
    assert judged(gate, headers["x-headgate-id"]) == [(0.5, "so-so")]
    if stream:
        assert "score 0.5 [so-so] meh" in gate.run("record", headers["x-headgate-id"])
    status, headers, _ = gate.post(path, {**MESSAGES, "model": "nobody"})
    assert status == 404
    assert give(gate, headers["x-headgate-id"], score=0)[0] in (200, 202)


def test_wrong_feedback_is_told(gate: Gateway) -> None:
    """Unknown calls, scores out of range, nothing said, unknown fields, another method: each says what is wrong."""
    id = gate.chat()[1]["x-headgate-id"]
    old = "hg_0000000000000000000000000aa"
    for call, said, status, code in (
        (old, {"score": 1}, 404, "record_not_found"),
        ("chatcmpl-1", {"score": 1}, 404, "record_not_found"),
        (id + "'; DROP TABLE calls; --", {"score": 1}, 404, "record_not_found"),
        (id, {"score": 1.5}, 400, "invalid_feedback"),
        (id, {"score": "good"}, 400, "invalid_feedback"),
        (id, {"stars": 5}, 400, "invalid_feedback"),
        (id, {}, 400, "invalid_feedback"),
        (id, {"comment": "x" * 4001}, 400, "invalid_feedback"),
        (id, {"comment": "x" * 70_000}, 413, "body_too_large"),
    ):
        found, body = give(gate, call, **said)
        assert (found, body["error"]["code"]) == (status, code), said
    assert gate.post("/v1/feedback", b"[1]")[0] == 400
    assert gate.post("/v1/feedback", b'{"id": "a", "id": "b"}')[0] == 400
    assert gate.post("/v1/feedback", {"id": id, "score": 1}, headers={"authorization": "Bearer hg-wrong"})[0] == 401
    assert b"405 " in gate.raw(b"GET /v1/feedback HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert judged(gate, id) == []


def test_feedback_comes_from_the_calls_own_key(gate: Gateway) -> None:
    """Another key is refused, an admin's is not; a reviewer judges any call by the admin API, a viewer none."""
    keys = {
        role: gate.run("keys", "create", "--name", f"other {role}", "--role", role, "--quiet").strip()
        for role in ("viewer", "developer", "admin")
    }
    id = gate.chat()[1]["x-headgate-id"]
    while gate.post("/v1/feedback", {}, headers={"authorization": f"Bearer {keys['admin']}"})[0] == 401:
        time.sleep(0.02)
    status, body = give(gate, id, {"authorization": f"Bearer {keys['developer']}"}, score=0)
    assert (status, body["error"]["code"]) == (403, "not_your_call")
    assert give(gate, id, {"authorization": f"Bearer {keys['admin']}"}, score=0.25)[0] == 200
    reviewer, viewer = Desk(gate, keys["developer"]), Desk(gate, keys["viewer"])
    assert reviewer.post("/feedback", id=id, score=0.75, comment="read it")["pending"] is False
    assert viewer.call("POST", "/feedback", {"id": id, "score": 0}).status == 403
    assert judged(gate, id) == [(0.25, None), (0.75, None)]
    (page,) = [one for one in reviewer.get("/feedback?limit=1")["data"] if one["call_id"] == id]
    assert (page["source"], page["comment"]) == ("review", "read it")
    assert viewer.get("/feedback?limit=1")["data"][0]["comment"] is None
    assert viewer.get(f"/records/{id}")["data"]["feedback"][1]["comment"] is None


def test_an_idempotency_key_makes_one_feedback_of_many_posts(gate: Gateway) -> None:
    """Sent again with the same words it is kept once; with others it is a conflict; another key may mean the same."""
    id = gate.chat()[1]["x-headgate-id"]
    for _ in range(3):
        assert give(gate, id, {"idempotency-key": "a"}, score=1)[0] in (200, 202)
    status, body = give(gate, id, {"idempotency-key": "a"}, score=0)
    assert (status, body["error"]["code"]) == (409, "idempotency_conflict")
    assert give(gate, id, {"idempotency-key": "b"}, score=1)[0] in (200, 202)
    assert give(gate, id, {"idempotency-key": "no spaces"}, score=1)[0] == 400
    assert judged(gate, id) == [(1.0, None), (1.0, None)]


@pytest.mark.skipif(not pathlib.Path("/proc/self/cmdline").exists(), reason="finds the recorder through /proc")
def test_a_killed_recorder_loses_no_feedback(gate: Gateway) -> None:
    """Given while the recorder stands still it is pending; the recorder is killed, and all of it is there once."""
    data = DataDir(gate.data)
    pid = recorder_pid(data)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    ids = [gate.chat(headers={"x-headgate-feature": "killed"})[1]["x-headgate-id"] for _ in range(2)]
    for id in ids:
        status, taken = give(gate, id, score=1, label="kept")
        assert (status, taken["pending"]) == (202, True)
        assert give(gate, id, score=1, label="kept")[1]["replayed"] is True
    os.kill(pid, signal.SIGKILL)
    assert [judged(gate, id) for id in ids] == [[(1.0, "kept")]] * 2
    (row,) = json.loads(gate.run("feedback", "summary", "--by", "feature", "--feature", "killed", "--format", "json"))[
        "rows"
    ]
    assert (row["feedback"], row["score"], row["calls"]) == (2, 1.0, 2)
    assert gate.run("feedback", "summary", "--by", "day,model").startswith("DAY")
    listed = [json.loads(line) for line in gate.run("feedback", "list", "--format", "jsonl").splitlines()]
    assert {line["call_id"] for line in listed if line["label"] == "kept"} == set(ids)
    assert gate.run("feedback", "list", "--label", "kept").count("hg_") == 2
