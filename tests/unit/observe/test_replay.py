"""Replay: what may be changed of a call, what two outcomes show side by side, and runs that go on where they were."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headgate.compose import every_dialect
from headgate.core.errors import BadRequest, UnknownModel
from headgate.observe.replay.changes import Changes, read_set
from headgate.observe.replay.many import Done, open_run, replay_many, total
from headgate.observe.replay.outcome import Comparison, Outcome, compare, diff_text, read_text, wire_of
from headgate.stores.where import read_where

DIALECTS = every_dialect()
ASK = b'{"model": "fast",  "stream": true, "stream_options": {"include_usage": true}, "messages": [], "x": 1.0}'
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def outcome(text: str | None, **fields: Any) -> Outcome:
    """Makes an outcome with this answer."""
    return Outcome("hg_1", "fast", "up/m", "completed", text=text, duration_us=1000, cost=10, **fields)


def test_changes_leave_all_else_byte_for_byte() -> None:
    """No change is the very bytes; a model, a parameter, or no stream touches those fields alone."""
    face = DIALECTS["openai_chat"]
    assert Changes().apply(face, ASK) is ASK
    assert not Changes()
    changed = Changes(model="up/other", set={"temperature": 0, "x": None}).apply(face, ASK)
    assert msgspec.json.decode(changed) == {
        "model": "up/other",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [],
        "temperature": 0,
    }
    assert msgspec.json.decode(Changes(stream=False).apply(face, ASK)).keys() == {"model", "messages", "x"}
    assert Changes(stream=True).apply(face, ASK) is ASK
    with pytest.raises(BadRequest, match="--model"):
        Changes(set={"model": "x"}).apply(face, ASK)
    assert read_set({"a": "0.5", "b": "words", "c": "null", "d": '["x"]'}) == {
        "a": 0.5,
        "b": "words",
        "c": None,
        "d": ["x"],
    }


@pytest.mark.parametrize(
    ("response", "wire", "text"),
    [
        (
            msgspec.json.encode(
                {**CHUNK, "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}}]}
            ),
            "openai_chat",
            "Hi.",
        ),
        (
            b'{"id":"m","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hi."},'
            b'{"type":"tool_use","id":"t","name":"look","input":{"b":1,"a":2}}],"stop_reason":"tool_use",'
            b'"usage":{"input_tokens":1,"output_tokens":1}}',
            "anthropic",
            'Hi.\n[calls] look({"a":2,"b":1})',
        ),
        (
            b"".join(
                b"data: "
                + msgspec.json.encode({**CHUNK, "choices": [{"index": 0, "delta": {"content": word}}]})
                + b"\n\n"
                for word in ("Cut ", "off")
            )
            + b'data: {"torn',
            "openai_chat",
            "Cut off",
        ),
        (b'event: message_start\ndata: {"type":"message_start","message":{"id":"m"}}\n\n', "anthropic", ""),
        (b'{"object":"list","data":[{"index":0,"embedding":[1.0,2.0]}],"model":"m"}', "embeddings", "1 vectors of 2"),
        (b"<html>", "openai_chat", ""),
        (b"{broken", "openai_chat", ""),
    ],
)
def test_an_answer_is_read_by_what_is_in_it(response: bytes, wire: str, text: str) -> None:
    """Whole or streamed, in any wire, cut or no answer at all: what a person would read of it."""
    assert wire_of(response) == wire
    assert read_text(response, DIALECTS).startswith(text)


def test_outcomes_are_compared_by_their_words() -> None:
    """The same, some alike, or unknown; cost and time by their difference; a diff breaks long lines."""
    same = compare(outcome("a b c"), outcome("a b c"))
    assert (same.same_answer, same.similarity, same.cost_change, same.latency_change_us) == (True, 1.0, 0, 0)
    other = compare(outcome("a b c d"), outcome("a b c e"))
    assert (other.same_answer, other.similarity) == (False, 0.75)
    unknown = compare(outcome(None), msgspec.structs.replace(outcome("x"), cost=None))
    assert (unknown.same_answer, unknown.similarity, unknown.cost_change) == (None, None, None)
    assert list(diff_text("same", "same")) == []
    words = " ".join(f"word{number}" for number in range(60))
    diff = list(diff_text(words, words.replace("word30", "other")))
    assert [line for line in diff if line.startswith("+") and "other" in line]
    assert max(map(len, diff)) < 80


def run_of(folder: Path, changes: Changes, ids: list[str], **more: Any) -> Any:
    """Opens a run of these calls."""
    return open_run(folder, "model=fast", changes, lambda: ids, **more)


async def test_a_run_that_was_broken_off_goes_on(tmp_path: Path) -> None:
    """What is done is not done again, also after a torn line; other changes are another run, fresh a new one."""
    ids = [f"hg_{number}" for number in range(5)]
    sent: list[str] = []

    async def send(id: str) -> Comparison:
        sent.append(id)
        if id == "hg_1":
            raise UnknownModel("no such model", param="model")
        if len(sent) == 4:
            raise RuntimeError
        return compare(msgspec.structs.replace(outcome("x"), id=id), outcome("y"))

    changes = Changes(model="other")
    run = run_of(tmp_path, changes, ids)
    with pytest.raises(ExceptionGroup):
        await replay_many(run, send, concurrency=1)
    run.close()
    with run.path.open("ab") as file:
        file.write(b'{"type":"done","id":"hg_3"')
    again = run_of(tmp_path, changes, ["hg_new"])
    assert again.left == ["hg_3", "hg_4"]
    assert again.done["hg_1"].failed == "model_not_found: no such model"
    before = len(sent)
    await replay_many(again, send, concurrency=2)
    again.close()
    assert sent[before:] == ["hg_3", "hg_4"]
    sums = total(list(again.done.values()))
    assert (sums.replays, sums.failed, sums.same_answers, sums.compared_answers) == (4, 1, 0, 4)
    assert (os.stat(run.path).st_mode & 0o777, os.stat(run.path.parent).st_mode & 0o777) == (0o600, 0o700)
    broken_off = run_of(tmp_path, changes, ["hg_new", "hg_newer"])
    broken_off.note(Done("hg_new"))
    broken_off.close()
    for more, wanted in (({}, ["hg_newer"]), ({"fresh": True}, ["hg_newest"])):
        later = run_of(tmp_path, changes, ["hg_newest"], **more)
        assert later.left == wanted
        later.close()
    elsewhere = run_of(tmp_path, Changes(), ["hg_9"])
    assert elsewhere.left == ["hg_9"]
    elsewhere.close()
    elsewhere.path.write_bytes(b"not a run\n")
    with pytest.raises(BadRequest, match="--fresh"):
        run_of(tmp_path, Changes(), [])


def test_a_finished_run_is_begun_anew(tmp_path: Path) -> None:
    """The same command means the calls of now: neither yesterday's figures again, nor none because there were none."""
    for ids in ([], ["hg_1"], ["hg_2"]):
        run = run_of(tmp_path, Changes(), ids)
        assert (run.left, run.done) == (ids, {})
        for id in ids:
            run.note(Done(id))
        run.close()
        assert run.path.read_bytes().count(b"\n") == 1 + len(ids)


def test_one_run_is_open_once(tmp_path: Path) -> None:
    """A second process with the same command is told to wait, also with --fresh; the first one goes on."""
    run = run_of(tmp_path, Changes(), ["hg_1", "hg_2"])
    for fresh in (False, True):
        with pytest.raises(BadRequest, match="another process is at these replays"):
            run_of(tmp_path, Changes(), ["hg_1", "hg_2"], fresh=fresh)
    run.note(Done("hg_1"))
    run.close()
    again = run_of(tmp_path, Changes(), ["hg_3"])
    assert again.left == ["hg_2"]
    again.close()


async def test_no_more_are_sent_at_once_than_allowed(tmp_path: Path) -> None:
    """A run of many has at most so many under way."""
    open_now, most = 0, 0

    async def send(id: str) -> Comparison:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0)
        open_now -= 1
        return compare(msgspec.structs.replace(outcome("x"), id=id), outcome("x"))

    run = run_of(tmp_path, Changes(), [f"hg_{number}" for number in range(20)])
    seen: list[Done] = []
    await replay_many(run, send, concurrency=3, on_done=seen.append)
    run.close()
    assert (most, len(seen), total(seen).same_answers) == (3, 20, 20)


def test_filters_on_one_line() -> None:
    """Pairs with space between them, quoted as in a shell; a wrong one is named, with the nearest."""
    found = read_where(
        "model=fast since=1h outcome=failed status=5 tag:team='red ones' id=hg_1", 3_600_000_000_000
    ).filters
    assert (found.model, found.since_ns, found.outcome, found.status) == ("fast", 0, "failed", 5)
    assert (found.tags, found.id_prefix) == ({"team": "red ones"}, "hg_1")
    assert read_where("") == read_where("  ")
    for text, said in (
        ("modle=x", "'model'"),
        ("fast", "NAME=VALUE"),
        ("model=", "NAME=VALUE"),
        ("model='x", "quot"),
        ("status=bad", "an HTTP status"),
        ("status=99999999999999999999", "an HTTP status"),
        ("model=a model=b", "'model' stands twice"),
        ("since=1h until=2h", "must lie before"),
        ("since=soon", "no time"),
    ):
        with pytest.raises(BadRequest, match=said):
            read_where(text)
