"""What a row's ``detail`` leaves out is read back from the row: nothing of a Record is lost on the way."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.price import Rates
from headgate.core.record import AttemptRecord, Record, sum_costs
from headgate.core.usage import Usage
from headgate.stores.detail import attempts_of, paid_elsewhere, tries_of
from headgate.stores.rows import COLUMNS, is_erased, strip, to_record, to_row

_IDS = [
    *("", "req_1", "req_0123456789abcdef0123456789abcdef", "req_0123456789ABCDEF0123456789abcdef", "req_" + "x" * 32),
    *("01234567-89ab-cdef-0123-456789abcdef", "01234567-89AB-cdef-0123-456789abcdef", "ü" * 36),
    *("01234567-89ab-cdef-0123-456789abcde ", "12345678-12345678-12345678-123456789"),
    *("01234567-8-9ab-cdef-0123456789abcdef", "abc_01234567-89abcdef0123456789abcde"),
]
_counts = st.integers(0, 1 << 40)
_us = st.integers(-1, 1 << 40)
_words = st.sampled_from(["", "stop", "length", "~x", "gpt-4.1", "gpt-4.1-2025-04-14", "~gpt-4.1"])
_usages = st.none() | st.builds(
    Usage, _counts, _counts, _counts, st.integers(0, 3), reasoning=st.integers(0, 3), estimated=st.booleans()
)
_rates = st.none() | st.builds(Rates, _counts, _counts, st.none() | _counts, request=st.integers(0, 2))
_attempts = st.builds(
    AttemptRecord,
    st.sampled_from(["openai/gpt-4.1", "openai/gpt-4.1#eu", "vllm/team/model"]),
    st.sampled_from(["openai", "vllm"]),
    st.sampled_from(["gpt-4.1", "team/model"]),
    _counts,
    _us,
    _us,
    st.sampled_from(["completed", "completed", "completed", "failed", "skipped"]),
    st.sampled_from([200, 200, 200, 503]),
    sent=st.booleans(),
    upstream_id=st.sampled_from(_IDS),
    upstream_model=_words,
    finish=_words,
    usage=_usages,
    reused_connection=st.booleans(),
    max_tokens=_counts,
    lost=st.sampled_from([[], ["top_k"]]),
    rates=_rates,
)
_records = st.builds(
    Record,
    st.just("call"),
    _counts,
    key_name=st.sampled_from(["", "service"]),
    trace=st.sampled_from(["", "a" * 32]),
    parent=st.sampled_from(["", "a" * 32 + "-b-01", "-c-00", "d-e-f"]),
    priority=st.sampled_from(["interactive", "interactive", "batch"]),
    outcome=st.sampled_from(["completed", "completed", "failed"]),
    status=st.sampled_from([200, 200, 502]),
    error=st.sampled_from(["", "", "timeout"]),
    finish=_words,
    wire_finish=_words,
    attempts=st.lists(_attempts, max_size=2) | st.lists(_attempts, min_size=1, max_size=1),
    winner=st.integers(-1, 1),
    first_content_us=_us,
    duration_us=_us,
    request_bytes=_counts,
    response_bytes=_counts,
    max_tokens=_counts,
    lost=st.sampled_from([[], ["top_k"]]),
    payloads=st.sampled_from(["none", "redacted", "full"]),
    notes=st.sampled_from([{}, {"cache": "hit"}]),
)


def _row(record: Record) -> dict[str, Any]:
    return dict(zip(COLUMNS, to_row(record), strict=True))


def _plain() -> Record:
    usage = Usage(1200, 80, 1000, reasoning=30)
    attempt = AttemptRecord(
        "openai/gpt-4.1", "openai", "gpt-4.1", 210, 300_100, 900_000, "completed", 200, sent=True,
        upstream_id=_IDS[2], upstream_model="gpt-4.1-2025-04-14", finish="stop", usage=usage, max_tokens=4096,
    )  # fmt: skip
    attempt.rates = Rates(2_000_000_000, 8_000_000_000, cached=500_000_000)
    attempt.cost = attempt.rates.cost(usage)
    return Record(
        "hg_1", 10**18, key_name="service", outcome="completed", status=200, finish="stop", wire_finish="stop",
        dialect="openai_chat", model="fast", usage=usage, attempts=[attempt], winner=0, first_content_us=300_200,
        duration_us=900_050, request_bytes=1800, response_bytes=900, cost=attempt.cost,
    )  # fmt: skip


@given(_records, st.booleans(), st.booleans())
def test_a_record_comes_back_as_it_was(record: Record, shared: bool, costs: bool) -> None:
    for attempt in record.attempts:
        if attempt.usage is not None and attempt.rates is not None and costs:
            attempt.cost = attempt.rates.cost(attempt.usage)
    if record.attempts:
        record.winner = min(record.winner, len(record.attempts) - 1)
        record.cost = record.attempts[0].cost if len(record.attempts) == 1 else sum_costs(record.attempts)
        if record.winner >= 0:
            answer = record.attempts[record.winner]
            record.usage = answer.usage if shared else Usage(7, 5)
            record.lost = answer.lost if shared else record.lost
    else:
        record.winner = -1
    if record.parent.startswith("-"):
        record.parent = record.trace + record.parent  # what a trace's own parent looks like
    assert msgspec.json.encode(to_record(_row(record))) == msgspec.json.encode(record)


def test_a_call_that_went_as_most_do_takes_little_room() -> None:
    record = _plain()
    row = _row(record)
    assert len(row["detail"]) < 80
    assert to_record(row) == record


@pytest.mark.parametrize("change", [{"error": "timeout"}, {"deployment": "openai/gpt-4.1#eu"}, {"status": 201}])
def test_a_call_with_more_to_tell_is_written_whole(change: dict[str, Any]) -> None:
    record = _plain()
    record.attempts[0] = msgspec.structs.replace(record.attempts[0], **change)
    row = _row(record)
    assert to_record(row) == record
    assert [one.deployment for one in attempts_of(row["detail"])] == [record.attempts[0].deployment]


def test_what_sums_ask_of_a_detail_is_told_by_both_forms() -> None:
    short = _row(_plain())
    assert tries_of(short["detail"], "openai/gpt-4.1") == (1, 0)
    assert attempts_of(short["detail"]) == paid_elsewhere(short["detail"], "openai/gpt-4.1") == []
    record = _plain()
    failed = AttemptRecord("vllm/m", "vllm", "m", 10, -1, 200, "failed", 503, cost=7)
    skipped = AttemptRecord("azure/m", "azure", "m", 5, -1, 6, "skipped", error="breaker_open")
    record.attempts = [skipped, failed, record.attempts[0]]
    record.winner, record.cost = 2, sum_costs(record.attempts)
    whole = _row(record)
    assert tries_of(whole["detail"], "openai/gpt-4.1") == (2, 1)
    assert paid_elsewhere(whole["detail"], "openai/gpt-4.1") == [("vllm/m", 7)]


def test_a_stripped_call_is_known_as_one_in_either_form() -> None:
    for attempts in (1, 2):
        record = _plain()
        record.attempts = record.attempts * attempts
        assert not is_erased(_row(record)["detail"])
        strip(record)
        assert is_erased(_row(record)["detail"])


def test_rows_of_earlier_releases_are_read() -> None:
    old = (
        b"\xdc\x00\x10\x01\xa0\xabinteractive\xa0\xa0\xa4stop\xc0\x91\xdc\x00\x15\xb3openai/gpt-4.1-mini\xa0\xa0"
        b"\xcd\x01>\xcd\t\xd3\xcd\nn\xa9completed\xcc\xc8\xa0\xa0\xa0\xc3\xbcreq_feebed6ca229f48c8b1e6cdf"
        b"\xacgpt-4.1-mini\xa4stop\x9f\x08\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\xc2\xa0\x00\x00\xc2\xcd\x10\x00"
        b"\x90\xc0\xc0\x00M\xcd\x055\x00\x90\xa4none\x80\xa0"
    )
    row = {**_row(_plain()), "deployment": "openai/gpt-4.1-mini", "detail": old}
    record = to_record(row)
    assert (record.priority, record.wire_finish, record.usage) == ("interactive", "stop", Usage(8, 1))
    attempt = record.attempts[0]
    assert (attempt.provider, attempt.model, attempt.started_us) == ("openai", "gpt-4.1-mini", 318)
    assert (attempt.ended_us, attempt.max_tokens, attempt.upstream_id) == (2670, 4096, "req_feebed6ca229f48c8b1e6cdf")
    assert (record.request_bytes, record.response_bytes) == (77, 1333)
    assert tries_of(old, "openai/gpt-4.1-mini") == (1, 0)
