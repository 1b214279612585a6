"""Offline replay of calls that were retried, skipped, sent elsewhere or answered late, from their records alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headgate.compose import every_dialect
from headgate.core.errors import BadRequest
from headgate.core.record import AttemptRecord, Record
from headgate.core.tape import Tape, TapedError, decode_tapes, encode_tapes
from headgate.core.usage import Usage
from headgate.observe.replay.offline import Reproduction, reproduce
from headgate.observe.replay.recorded import Recorded
from headgate.stores.rows import COLUMNS, to_row, to_story

ASK = b'{"model":"fast","messages":[{"role":"user","content":"Hi"}]}'
ANSWER = msgspec.json.encode(
    {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
)
REFUSAL = b'{"error":{"message":"gone fishing","type":"server_error"}}'
FAILED = {"outcome": "failed", "status": 500, "error": "server_error", "error_message": "gone fishing"}
OPEN = {"outcome": "skipped", "error": "breaker_open", "error_message": "it is tried again in 1 s", "fault": "upstream"}
WON = {"outcome": "completed", "status": 200, "finish": "stop", "usage": Usage(1, 2)}


def attempt(name: str, **fields: Any) -> AttemptRecord:
    """Makes one attempt at up/NAME."""
    return AttemptRecord(f"up/{name}", "up", name, 0, **{"fault": "upstream", **fields})


def recorded(attempts: list[AttemptRecord], tapes: list[Tape], *, response: bytes = b"", **fields: Any) -> Recorded:
    """Makes a call as the store gives it."""
    base: dict[str, Any] = {"model": "fast", "dialect": "openai_chat", "attempts": attempts, "winner": -1}
    if response:
        base |= {"outcome": "completed", "winner": len(attempts) - 1, "finish": "stop", "usage": Usage(1, 2)}
    else:
        last = attempts[-1] if attempts else AttemptRecord("", "", "", 0, error="forbidden")
        base |= {"outcome": "failed", "error": last.error, "error_message": last.error_message}
    record = Record("hg_1", 1, **{**base, **fields})
    story = to_story(dict(zip(COLUMNS, to_row(record), strict=True)))
    return Recorded(story, ASK, response, False, decode_tapes(encode_tapes(tapes)))


def refused(number: int) -> Tape:
    """A tape of a 500."""
    return Tape(number, "openai_chat", b"/v1", 500, [(b"content-type", b"application/json")], 1, [(2, REFUSAL)], 3)


async def play(call: Recorded) -> Reproduction:
    """Plays it."""
    return await reproduce(call, every_dialect())


async def test_retries_and_fallbacks_are_played_in_their_order() -> None:
    """Two tries at one deployment, a third that its breaker turned away, then another's answer."""
    attempts = [attempt("a", **FAILED), attempt("a", **FAILED), attempt("a", **OPEN), attempt("b", **WON)]
    found = await play(recorded(attempts, [refused(0), refused(1)], response=ANSWER))
    assert (found.differs, found.told) == ([], [2])
    assert (found.after.text, found.after.deployment) == ("Hi.", "up/b")


async def test_the_error_of_the_last_retry_is_the_deployments() -> None:
    """A retry that a breaker turned away has the last word at its deployment, as when it happened."""
    found = await play(recorded([attempt("a", **FAILED), attempt("a", **OPEN)], [refused(0)]))
    assert (found.differs, found.after.error) == ([], "breaker_open")


async def test_a_caller_s_fault_that_was_sent_elsewhere_goes_on() -> None:
    """A model's `on` had another deployment for it: the record says so, whatever the configuration says now."""
    long = {"outcome": "failed", "status": 400, "error": "context_length", "fault": "caller"}
    body = b'{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}'
    tape = Tape(0, "openai_chat", b"/v1", 400, [], 1, [(2, body)], 3)
    attempts = [attempt("a", **long, error_message="too long"), attempt("b", **WON)]
    assert (await play(recorded(attempts, [tape], response=ANSWER))).differs == []


async def test_a_hedge_that_lost_is_left_out() -> None:
    """What was given up for another's answer has no end of its own to play."""
    attempts = [attempt("a", outcome="cancelled"), attempt("b", **WON)]
    found = await play(recorded(attempts, [], response=ANSWER))
    assert (found.differs, len(found.after.attempts)) == ([], 1)


@pytest.mark.parametrize("code", ["total_timeout", "headers_timeout"])
async def test_a_bound_in_time_is_not_waited_for(code: str) -> None:
    """It comes at once, with the words that it had; after the pieces that had come."""
    error = TapedError("Timeout", code, "up/a took longer than 60 s", "upstream", True)
    head = 200 if code == "total_timeout" else 0
    tape = Tape(0, "openai_chat", b"/v1", head, [], 1, [(2, ANSWER[:9])] if head else [], error=error)
    failed = attempt("a", outcome="failed", error=code, error_message=error.message, status=head)
    found = await play(recorded([failed], [tape]))
    assert (found.differs, found.after.error) == ([], code)


async def test_another_outcome_is_told() -> None:
    """Where the tape gives something else than the record says, that is named: the exit code goes by it."""
    found = await play(recorded([attempt("a", **{**FAILED, "error_message": "gone hunting"})], [refused(0)]))
    assert found.differs == ["error_message"]


async def test_a_call_that_no_upstream_saw_can_not_be_played() -> None:
    """It is an error that says what to do instead."""
    with pytest.raises(BadRequest, match="without --offline"):
        await play(recorded([], []))


async def test_a_call_whose_caller_left_has_no_failure_to_play() -> None:
    """That is not said to be a refusal of the gateway's: an upstream was at it, and nothing was wrong with it."""
    left = recorded([attempt("a", outcome="cancelled", status=200, fault="")], [], outcome="cancelled", error="")
    with pytest.raises(BadRequest, match="who asked left before the upstream had answered") as caught:
        await play(left)
    assert caught.value.code == "nothing_to_play"
