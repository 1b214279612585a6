"""The Record is closed exactly once, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from headgate.core.call import Call, Principal
from headgate.core.clock import FixedClock
from headgate.core.errors import BadRequest, HeadgateError, Timeout, Unauthenticated, Unavailable
from headgate.core.event import FinishReason, Frame, Kind, Summary
from headgate.core.record import AttemptRecord
from headgate.core.reply import Reply
from headgate.core.usage import Usage
from headgate.pipeline.account import Account
from headgate.pipeline.auth import auth

from .conftest import Keys, MemoryJournal


def account(clock: FixedClock, result: object, payloads: str = "none") -> tuple[Account, MemoryJournal]:
    journal = MemoryJournal()

    async def inner(call: Call) -> Reply:
        clock.advance(0.25)
        if isinstance(result, BaseException):
            raise result
        assert isinstance(result, Reply)
        return result

    return Account(inner, journal, clock, payloads), journal


def whole() -> Reply:
    summary = Summary(finish=FinishReason.STOP, wire_finish="stop", usage=Usage(3, 4))
    return Reply((Frame(Kind.CONTENT, b"body"),), None, summary)


async def test_a_whole_answer_is_journalled_at_its_end(make_call: Callable[..., Call], clock: FixedClock) -> None:
    """Nothing is written before the last frame is taken; then usage, finish and times are there."""
    layer, journal = account(clock, whole())
    reply = await layer(make_call())
    assert (journal.records, layer.open) == ([], 1)
    clock.advance(0.5)
    while await reply.batch():
        pass
    record = journal.records[0]
    assert (record.outcome, record.status, record.finish) == ("completed", 200, "stop")
    assert (record.usage, record.first_content_us, record.duration_us) == (Usage(3, 4), 250_000, 750_000)
    assert (len(journal.records), layer.open) == (1, 0)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(BadRequest("no", code="bad"), "refused"), (asyncio.CancelledError(), "cancelled")],
)
async def test_what_fails_before_an_answer_is_recorded_too(
    make_call: Callable[..., Call], clock: FixedClock, error: BaseException, outcome: str
) -> None:
    """Refusals and cancellations close the Record and go on their way."""
    layer, journal = account(clock, error)
    with pytest.raises(type(error)):
        await layer(make_call())
    assert [record.outcome for record in journal.records] == [outcome]
    assert layer.open == 0


DRAIN = Unavailable("bye", code="draining")
SLOW = Timeout("slow", code="slow_client", fault="caller")


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("cut", "told"),
    [
        (DRAIN, ("failed", 500, "draining", "gateway")),
        (SLOW, ("cancelled", 200, "slow_client", "caller")),
        (None, ("cancelled", 200, "", "")),
    ],
)
async def test_what_the_server_cuts_says_why(
    make_call: Callable[..., Call],
    clock: FixedClock,
    begun: bool,
    cut: HeadgateError | None,
    told: tuple[str, int, str, str],
) -> None:
    """A cancelled call that the gateway gave up has failed; one whose client was at fault, or left, is cancelled."""
    layer, journal = account(clock, whole() if begun else asyncio.CancelledError())
    call = make_call()
    call.cut = cut
    if begun:
        await (await layer(call)).aclose()
    else:
        with pytest.raises(asyncio.CancelledError):
            await layer(call)
    (record,) = journal.records
    assert (record.outcome, record.status, record.error, record.fault) == told


async def test_a_failure_after_a_heartbeat_had_its_200(make_call: Callable[..., Call], clock: FixedClock) -> None:
    """The Record's status is the one that went out, and a heartbeat sends 200 before anybody knows better."""
    layer, journal = account(clock, HeadgateError("dead", code="dead", fault="upstream"))
    call = make_call()
    call.begun = True
    with pytest.raises(HeadgateError):
        await layer(call)
    assert (journal.records[0].status, journal.records[0].error) == (200, "dead")


async def test_a_failure_after_tries_is_no_refusal(make_call: Callable[..., Call], clock: FixedClock) -> None:
    """An error after an attempt was made is a failure, with the error's own words."""
    layer, journal = account(clock, HeadgateError("dead", code="dead", fault="upstream"))
    call = make_call()
    call.record.attempts.append(AttemptRecord("a/m", "a", "m", 0))
    with pytest.raises(HeadgateError):
        await layer(call)
    record = journal.records[0]
    assert (record.outcome, record.error, record.error_message, record.fault) == ("failed", "dead", "dead", "upstream")


async def test_the_unauthenticated_are_counted_not_recorded(make_call: Callable[..., Call], clock: FixedClock) -> None:
    """Whoever has no key can not fill the disk."""
    layer, journal = account(clock, Unauthenticated("who?"))
    with pytest.raises(Unauthenticated):
        await layer(make_call())
    assert (journal.records, layer.unauthenticated, layer.open) == ([], 1, 0)


async def test_a_bug_becomes_an_error_that_says_nothing(
    make_call: Callable[..., Call], clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected exception is logged once, recorded, and told without its text."""
    layer, journal = account(clock, ValueError("token hg-secret"))
    with pytest.raises(HeadgateError) as caught:
        await layer(make_call())
    assert "hg-secret" not in caught.value.message
    assert journal.records[0].error == "internal_error"
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("setting", "key", "kept"),
    [("none", "", False), ("full", "", True), ("none", "full", True), ("full", "none", False)],
)
async def test_payloads_are_kept_as_the_key_says(
    make_call: Callable[..., Call], clock: FixedClock, setting: str, key: str, kept: bool
) -> None:
    """The key's policy counts before the gateway's, once it is known whose key it is."""
    layer, journal = account(clock, whole(), setting)
    layer.enclose(auth(layer._next, Keys(), keyless=False))
    call = make_call(principal=Principal("k", "k", payloads=key))
    reply = await layer(call)
    while await reply.batch():
        pass
    assert journal.payloads == ([("hg_1", b"{}", b"body")] if kept else [])
    assert journal.records[0].payloads == ("full" if kept else "none")


async def test_payloads_without_end_are_not_kept(
    make_call: Callable[..., Call], clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer over the limit passes whole, and takes no memory; the Record says that nothing is kept."""
    monkeypatch.setattr("headgate.pipeline.account.PAYLOAD_LIMIT", 3)
    layer, journal = account(clock, whole(), "full")
    reply = await layer(make_call())
    assert [frame.data for frame in await reply.batch()] == [b"body"]
    assert await reply.batch() == ()
    assert (journal.payloads, journal.records[0].payloads) == ([], "none")
