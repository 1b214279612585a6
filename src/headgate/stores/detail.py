"""What of a Record has no column of its own, as the bytes of ``calls.detail``.

Most calls were answered by the only deployment that was tried: nearly all that is to say of that attempt stands in the
row's columns already. Such a call is written as a ``Short``, in about a third of the room; every other one, and what
older releases wrote, is a ``Detail``. Both are MessagePack arrays whose first element says which it is.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headgate.core.price import Rates
from headgate.core.record import RECORD_VERSION, AttemptRecord, Record
from headgate.core.usage import Usage

_POLICIES = {"none": 0, "redacted": 1, "full": 2}
_POLICY = {place: name for name, place in _POLICIES.items()}
_PRIORITIES = frozenset({"interactive", "batch"})
_REQUEST, _UUID, _TEXT = b"r", b"u", b"t"
_HEX = re.compile("[0-9a-f]*")
_GOES_ON = "~"
"""Before what a provider's name for the model has more than the deployment's, as in ``gpt-4.1`` and its dated form."""
_NO_MORE = Usage.__struct_defaults__[3:]


class Detail(msgspec.Struct, array_like=True, tag=1):
    """The story of any call. New fields go at the end with a default: old rows must still be read."""

    key_name: str
    priority: str
    fault: str
    error_message: str
    wire_finish: str
    usage: Usage | None
    attempts: list[AttemptRecord]
    winner: int
    request_bytes: int
    response_bytes: int
    max_tokens: int
    lost: list[str]
    payloads: str
    notes: dict[str, Any]
    parent: str = ""


class _Rest(msgspec.Struct, array_like=True):
    """What few plain calls have, see ``Short``. ``usage``: what follows ``cached``, up to the last that is no default.

    ``parent`` is without the row's trace.
    """

    usage: tuple[Any, ...] = ()
    notes: dict[str, Any] = {}
    lost: list[str] = []
    parent: str = ""


class Short(msgspec.Struct, array_like=True, tag=2):
    """The story of a call whose only attempt answered it; what is left out says the row, or the call's own field.

    Attributes:
        flags: from the lowest bit: whether the request was ``sent``; on a ``reused_connection``; with ``batch``
            priority; then the number of the payloads' policy in ``_POLICIES``.
        started_us: the attempt's.
        first_later_us: how much later than the attempt the call had its first content.
        ended_later_us: how much later the call ended.
        max_more: how many ``max_tokens`` the attempt had above the call's.
        upstream_id: see ``_pack_id``.
        upstream_model: None where it is the deployment's, ``~`` before what it has more than that.
        wire_finish: None where it is the row's ``finish``.
        rates: up to the last that is no default, behind the power of ten that they are multiples of; empty for none.
        rest: None where all of it is as by default.
    """

    key_name: str
    flags: int
    started_us: int
    first_later_us: int
    ended_later_us: int
    request_bytes: int
    response_bytes: int
    max_tokens: int
    max_more: int
    upstream_id: bytes
    upstream_model: str | None
    wire_finish: str | None
    rates: tuple[int | None, ...]
    rest: _Rest | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Detail | Short).decode


def encode_detail(record: Record) -> bytes:
    """Returns what ``calls.detail`` holds of a Record."""
    attempts = record.attempts
    if len(attempts) == 1 and record.outcome == "completed":
        short = _short(record, attempts[0])
        if short is not None:
            return _encode(short)
    return _encode(
        Detail(
            record.key_name,
            record.priority,
            record.fault,
            record.error_message,
            record.wire_finish,
            None if _is_winners(record) else record.usage,
            [_shorten(attempt) for attempt in attempts],
            record.winner,
            record.request_bytes,
            record.response_bytes,
            record.max_tokens,
            record.lost,
            record.payloads,
            record.notes,
            _shorten_parent(record),
        )
    )


def _short(record: Record, attempt: AttemptRecord) -> Short | None:
    """Returns the short story; None where the call has more to tell."""
    policy = _POLICIES.get(record.payloads)
    if (
        record.winner != 0
        or record.status != 200
        or policy is None
        or record.priority not in _PRIORITIES
        or record.error
        or record.error_message
        or record.fault
        or record.version != RECORD_VERSION
        or record.usage != attempt.usage
        or record.cost != attempt.cost
        or record.lost != attempt.lost
        or record.finish != attempt.finish
        or not _is_plain(attempt)
    ):
        return None
    usage = attempt.usage
    tail = () if usage is None else _tail(msgspec.structs.astuple(usage)[3:], _NO_MORE)
    plain = not (tail or record.notes or record.lost or record.parent)
    return Short(
        record.key_name,
        attempt.sent | attempt.reused_connection << 1 | (record.priority == "batch") << 2 | policy << 3,
        attempt.started_us,
        record.first_content_us - attempt.first_content_us,
        record.duration_us - attempt.ended_us,
        record.request_bytes,
        record.response_bytes,
        record.max_tokens,
        attempt.max_tokens - record.max_tokens,
        _pack_id(attempt.upstream_id),
        _shorten_model(attempt),
        None if record.wire_finish == record.finish else record.wire_finish,
        () if attempt.rates is None else _rates_of(attempt.rates),
        None if plain else _Rest(tail, record.notes, record.lost, _shorten_parent(record)),
    )


def _is_plain(attempt: AttemptRecord) -> bool:
    """Whether it answered, under a deployment's usual name, and without a word of trouble."""
    return (
        attempt.outcome == "completed"
        and attempt.status == 200
        and not (attempt.error or attempt.error_message or attempt.fault)
        and not attempt.upstream_model.startswith(_GOES_ON)
        and "/" not in attempt.provider
        and attempt.deployment == f"{attempt.provider}/{attempt.model}"
    )


def _pack_id(id: str) -> bytes:
    """Returns a provider's id of a request, in half of its room where it is ``req_`` and hex digits, or a UUID."""
    if len(id) == 36:
        dashed = id[8] == "-"
        digits = id.replace("-", "") if dashed else id[4:]
        if len(digits) == 32 and _HEX.fullmatch(digits):
            packed = (_UUID if dashed else _REQUEST) + bytes.fromhex(digits)
            if _unpack_id(packed) == id:
                return packed
    return _TEXT + id.encode() if id else b""


def _unpack_id(packed: bytes) -> str:
    kind = packed[:1]
    if kind == _TEXT:
        return packed[1:].decode()
    digits = packed[1:].hex()
    if kind == _REQUEST:
        return f"req_{digits}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}" if digits else ""


def _shorten_model(attempt: AttemptRecord) -> str | None:
    if attempt.upstream_model == attempt.model:
        return None
    if attempt.upstream_model.startswith(attempt.model):
        return _GOES_ON + attempt.upstream_model[len(attempt.model) :]
    return attempt.upstream_model


def _tail(values: tuple[Any, ...], defaults: Sequence[Any]) -> tuple[Any, ...]:
    """Leaves out the last ones that are as by default; there are as many values as defaults."""
    if values == defaults:
        return ()
    end = len(values)
    while values[end - 1] == defaults[end - 1]:
        end -= 1
    return values[:end]


@functools.lru_cache(maxsize=1024)
def _rates_of(rates: Rates) -> tuple[int | None, ...]:
    values = _tail(msgspec.structs.astuple(rates), (None, *Rates.__struct_defaults__))
    power = 6 if all((value or 0) % 10**6 == 0 for value in values) else 0
    return power, *(value if value is None else value // 10**power for value in values)


def _to_rates(values: tuple[int | None, ...]) -> Rates | None:
    if not values:
        return None
    scale = 10 ** (values[0] or 0)
    return Rates(*[None if rate is None else rate * scale for rate in values[1:]])  # type: ignore[arg-type]


def _is_winners(record: Record) -> bool:
    """Whether the call's usage is the answering attempt's, and so need not be kept twice."""
    return 0 <= record.winner < len(record.attempts) and record.usage == record.attempts[record.winner].usage


def _shorten(attempt: AttemptRecord) -> AttemptRecord:
    """Leaves out provider and model where the deployment's name says them: they are 20 bytes of every call."""
    if attempt.deployment != f"{attempt.provider}/{attempt.model}":
        return attempt
    return msgspec.structs.replace(attempt, provider="", model="")


def _shorten_parent(record: Record) -> str:
    """Leaves the trace id out where the call's trace says it."""
    return record.parent.removeprefix(record.trace) if record.trace else record.parent


def read_detail(row: Mapping[str, Any]) -> Detail:
    """Decodes the ``detail`` of a row of ``calls``, and fills in what was left out."""
    detail: Detail | Short = _decode(row["detail"])
    if isinstance(detail, Short):
        return _lengthen(detail, row)
    _fill_in(detail)
    detail.parent = _whole_parent(detail.parent, row)
    return detail


def _whole_parent(parent: str, row: Mapping[str, Any]) -> str:
    return f"{row['trace'] or ''}{parent}" if parent.startswith("-") else parent


def _fill_in(detail: Detail) -> None:
    for attempt in detail.attempts:
        if not attempt.provider and not attempt.model:
            attempt.provider, _, attempt.model = attempt.deployment.partition("/")
    if detail.usage is None and 0 <= detail.winner < len(detail.attempts):
        detail.usage = detail.attempts[detail.winner].usage


def _lengthen(short: Short, row: Mapping[str, Any]) -> Detail:
    deployment, finish, flags = row["deployment"], row["finish"] or "", short.flags
    rest = short.rest or _Rest()
    provider, _, model = deployment.partition("/")
    given = short.upstream_model
    upstream_model = model if given is None else model + given[1:] if given.startswith(_GOES_ON) else given
    tokens = row["input_tokens"]
    usage = None if tokens is None else Usage(tokens, row["output_tokens"], row["cached_tokens"], *rest.usage)
    attempt = AttemptRecord(
        deployment,
        provider,
        model,
        short.started_us,
        row["first_content_us"] - short.first_later_us,
        row["duration_us"] - short.ended_later_us,
        "completed",
        200,
        sent=bool(flags & 1),
        upstream_id=_unpack_id(short.upstream_id),
        upstream_model=upstream_model,
        finish=finish,
        usage=usage,
        reused_connection=bool(flags & 2),
        max_tokens=short.max_tokens + short.max_more,
        lost=list(rest.lost),
        cost=row["cost"],
        rates=_to_rates(short.rates),
    )
    return Detail(
        short.key_name,
        "batch" if flags & 4 else "interactive",
        "",
        "",
        finish if short.wire_finish is None else short.wire_finish,
        usage,
        [attempt],
        0,
        short.request_bytes,
        short.response_bytes,
        short.max_tokens,
        rest.lost,
        _POLICY[flags >> 3],
        rest.notes,
        _whole_parent(rest.parent, row),
    )


def has_note(detail: bytes, note: str) -> bool:
    """Whether a row's ``detail`` has a note of that name."""
    found: Detail | Short = _decode(detail)
    told = found.rest if isinstance(found, Short) else found
    return told is not None and note in told.notes


def attempts_of(detail: bytes) -> list[AttemptRecord]:
    """Returns the attempts in the ``detail`` of a call that was in trouble, or of several that were billed.

    Of a call that its only attempt answered there are none: it was neither.
    """
    found: Detail | Short = _decode(detail)
    if isinstance(found, Short):
        return []
    _fill_in(found)
    return found.attempts


def billed_attempts(detail: bytes) -> list[AttemptRecord]:
    """Returns the ``attempts_of`` a row's ``detail`` that cost something, or may have."""
    return [attempt for attempt in attempts_of(detail) if attempt.cost or attempt.unpriced]


def paid_elsewhere(detail: bytes, deployment: str | None) -> list[tuple[str, int]]:
    """Returns deployment and cost of the attempts that cost something at others than the row's ``deployment``."""
    return [(one.deployment, one.cost) for one in attempts_of(detail) if one.cost and one.deployment != deployment]


class _Try(msgspec.Struct, array_like=True):
    """The beginning of an ``AttemptRecord``."""

    deployment: str
    provider: str
    model: str
    started_us: int
    first_content_us: int
    ended_us: int
    outcome: str


class _Tries(msgspec.Struct, array_like=True, tag=1):
    """The beginning of a ``Detail``."""

    key_name: str
    priority: str
    fault: str
    error_message: str
    wire_finish: str
    usage: msgspec.Raw
    attempts: list[_Try]
    winner: int


class _One(msgspec.Struct, array_like=True, tag=2):
    """The beginning of a ``Short``."""

    key_name: str


_decode_tries = msgspec.msgpack.Decoder(_Tries | _One).decode


def tries_of(detail: bytes, deployment: str | None) -> tuple[int, int]:
    """Returns how many attempts were really made, and 1 where another deployment answered than the first one tried.

    As ``figures.facts_of`` counts them, of a row's ``detail`` and ``deployment``; at a fraction of a Record's cost.
    """
    tries = _decode_tries(detail)
    if isinstance(tries, _One):
        return 1, 0
    made = sum([one.outcome != "skipped" for one in tries.attempts])
    return made, int(0 < tries.winner < len(tries.attempts) and deployment != tries.attempts[0].deployment)
