"""Spoils a good answer: turns it into one with a wire fault in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from headgate.sim.fault import Fault
from headgate.sim.play import Act, Answer, Hit, Piece

_LINGER = 0.02
"""Seconds between the last bytes and a reset, which would overtake them."""

_HEAD: dict[str, tuple[Act, ...]] = {
    "refuse": (Act.RESET,),
    "tls-failure": (Act.RESET,),
    "reset-before-headers": (Act.RESET,),
    "reset-in-headers": (Act.TORN_HEAD, Act.RESET),
    "reset-after-headers": (Act.HEAD, Act.RESET),
    "close-before-headers": (Act.CLOSE,),
    "hang-before-headers": (Act.HANG,),
}
_HITS = {"refuse": Hit.REFUSE, "tls-failure": Hit.BREAK_TLS}
HTML = b"<!doctype html>\n<html><head><title>Sign in</title></head><body><h1>Welcome to our WLAN</h1></body></html>\n"


class Spoiler(msgspec.Struct, kw_only=True):
    """What faults need of the dialect: its ping, its error as event and as body, and another answer to splice in."""

    ping: bytes
    error_event: bytes
    error_body: bytes
    other: Callable[[], Answer]


def spoil(fault: Fault, answer: Answer, spoiler: Spoiler) -> Answer:
    """Returns ``answer`` with ``fault`` in it; faults that change what is said, not how, leave it as it is."""
    answer.fault = answer.fault or fault.kind
    steps = _HEAD.get(fault.kind)
    if steps is not None:
        if fault.kind in _HITS:
            answer.hit, answer.hit_s = _HITS[fault.kind], fault.for_s
        answer.length = answer.announced
        answer.body = None
        answer.pieces = iter([Piece(index * _LINGER, act) for index, act in enumerate(steps)])
        return answer
    if fault.kind == "html":
        answer.headers = {b"content-type": b"text/html; charset=utf-8"}
        answer.body, answer.pieces = HTML, None
        return answer
    if answer.body is None:
        return _spoil_stream(fault, answer, spoiler)
    return _spoil_body(fault, answer, answer.body, spoiler)


def _spoil_stream(fault: Fault, answer: Answer, spoiler: Spoiler) -> Answer:
    pieces = answer.steps()
    after = max(1, answer.content // 2) if fault.after is None else fault.after
    end = _ENDS.get(fault.kind)
    if end is not None:
        answer.pieces = _stop(pieces, after, end(fault, spoiler))
    elif fault.kind == "hang-before-content":
        answer.pieces = _stop(pieces, 0, _hang(fault, spoiler))
    elif fault.kind == "no-marker":
        answer.pieces = (piece for piece in pieces if piece.act is not Act.MARKER)
    elif fault.kind in ("malformed-json", "malformed-sse"):
        answer.pieces = _tear(pieces, after, _torn_json if fault.kind == "malformed-json" else _torn_sse)
    elif fault.kind == "duplicate":
        answer.pieces = (piece for piece in pieces for _ in range(2 if piece.act is Act.CONTENT else 1))
    elif fault.kind == "splice":
        answer.pieces = _splice(pieces, spoiler.other().steps())
    elif fault.kind == "slow-drip":
        answer.pieces = _drip(pieces, fault.rate)
    return answer


def _spoil_body(fault: Fault, answer: Answer, body: bytes, spoiler: Spoiler) -> Answer:
    half = body[: len(body) // 2]
    whole = _BODIES.get(fault.kind)
    if whole is not None:
        answer.body = whole(body, spoiler)
        return answer
    end: Iterator[Piece]
    sent, length = half, len(body)
    if fault.kind == "slow-drip":
        answer.pieces, answer.length, answer.body = _drip(answer.steps(), fault.rate), length, None
        return answer
    if fault.kind == "malformed-chunk":
        end, length = iter((Piece(0, Act.RAW, b"zz\r\n"), Piece(_LINGER, Act.CLOSE))), -1
    elif fault.kind == "hang-before-content":
        end, sent = iter((Piece(0, Act.HANG),)), b""
    elif fault.kind == "hang-mid-stream":
        end = iter((Piece(0, Act.HANG),))
    elif fault.kind == "reset-mid-stream":
        end = iter((Piece(_LINGER, Act.RESET),))
    elif fault.kind in ("close-mid-stream", "cut"):
        end = iter((Piece(0, Act.CLOSE),))
    else:
        return answer
    start = [Piece(answer.at, Act.HEAD), Piece(answer.at, Act.BODY, sent)]
    answer.pieces, answer.body, answer.length = _follow(start, end), None, None if length < 0 else length
    return answer


_BODIES: dict[str, Callable[[bytes, Spoiler], bytes]] = {
    "malformed-json": lambda body, _: body[: len(body) // 2],
    "malformed-sse": lambda body, _: b"%% not json %%",
    "no-marker": lambda body, _: body[:-1],
    "error-event": lambda _, spoiler: spoiler.error_body,
    "duplicate": lambda body, _: body + body,
    "splice": lambda body, spoiler: body[: len(body) // 2] + _second_half(spoiler.other().body or b""),
}


def _second_half(body: bytes) -> bytes:
    return body[len(body) // 2 :]


def _hang(fault: Fault, spoiler: Spoiler) -> Iterator[Piece]:
    if not fault.pings:
        yield Piece(0, Act.HANG)
    at = 0.0
    while True:
        at += fault.pings
        yield Piece(at, Act.PREAMBLE, spoiler.ping)


_ENDS: dict[str, Callable[[Fault, Spoiler], Iterator[Piece]]] = {
    "hang-mid-stream": _hang,
    "reset-mid-stream": lambda fault, spoiler: iter((Piece(_LINGER, Act.RESET),)),
    "close-mid-stream": lambda fault, spoiler: iter((Piece(0, Act.CLOSE),)),
    "malformed-chunk": lambda fault, spoiler: iter((Piece(0, Act.RAW, b"zz\r\n"), Piece(_LINGER, Act.CLOSE))),
    "cut": lambda fault, spoiler: iter(()),
    "error-event": lambda fault, spoiler: iter((Piece(0, Act.FINISH, spoiler.error_event),)),
}


def _follow(start: list[Piece], end: Iterator[Piece]) -> Iterator[Piece]:
    yield from start
    at = start[-1].at
    for piece in end:
        yield piece._replace(at=at + piece.at)


def _stop(pieces: Iterator[Piece], after: int, end: Iterator[Piece]) -> Iterator[Piece]:
    """Lets ``after`` content events through, then plays ``end``, its times counted from there."""
    seen, at = 0, 0.0
    for piece in pieces:
        if piece.act is Act.FINISH or piece.act is Act.MARKER or (piece.act is Act.CONTENT and seen >= after):
            break
        seen += piece.act is Act.CONTENT
        at = piece.at
        yield piece
    for piece in end:
        yield piece._replace(at=at + piece.at)


def _tear(pieces: Iterator[Piece], after: int, torn: Callable[[bytes], bytes]) -> Iterator[Piece]:
    """Spoils the content event number ``after`` (from 0), or the finish where there are fewer."""
    seen, done = 0, False
    for piece in pieces:
        if not done and (piece.act is Act.FINISH or (piece.act is Act.CONTENT and seen >= after)):
            done = True
            piece = piece._replace(data=torn(piece.data))
        seen += piece.act is Act.CONTENT
        yield piece


def _torn_json(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3].rstrip() + b"\n\n"


def _torn_sse(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + b"\n\n%% garbage without a field name\r\n" + data[middle:]


def _splice(pieces: Iterator[Piece], others: Iterator[Piece]) -> Iterator[Piece]:
    foreign = (piece for piece in others if piece.act is Act.CONTENT)
    for piece in pieces:
        yield piece
        if piece.act is Act.CONTENT:
            other = next(foreign, None)
            if other is not None:
                yield other._replace(at=piece.at)


def _drip(pieces: Iterator[Piece], rate: float) -> Iterator[Piece]:
    """Cuts the body into crumbs of a twentieth of a second each, never earlier than they would have come."""
    size = max(1, int(rate / 20))
    due = 0.0
    for piece in pieces:
        if not piece.data:
            yield piece
            continue
        due = max(due, piece.at)
        for start in range(0, len(piece.data), size):
            crumb = piece.data[start : start + size]
            due += len(crumb) / rate
            yield Piece(due, piece.act, crumb)
