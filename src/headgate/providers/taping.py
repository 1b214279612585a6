"""TapedExchange: an Exchange that writes down what it hears (``core.tape``), for calls whose payloads are kept."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from headgate.core.call import Attempt
from headgate.core.errors import HeadgateError, UpstreamBroken
from headgate.core.ports import Exchange, Transport
from headgate.core.tape import TAPE_LIMIT, Tape

_monotonic = time.monotonic


class Taping:
    """One attempt's tape while it runs."""

    __slots__ = ("_size", "_start", "tape")

    def __init__(self, attempt: Attempt, dialect: str, target: bytes) -> None:
        self._start = _monotonic()
        self._size = 0
        self.tape = Tape(attempt.position, dialect, target)
        call = attempt.call
        if call.tapes is None:
            call.tapes = []
        call.tapes.append(self.tape)

    def now(self) -> int:
        """Returns the µs since the attempt was dispatched."""
        return int((_monotonic() - self._start) * 1e6)

    def add(self, data: bytes) -> None:
        """A piece of the body came."""
        tape = self.tape
        self._size += len(data)
        if tape.too_long or self._size > TAPE_LIMIT:
            tape.too_long = True
        else:
            tape.pieces.append((self.now(), data))


def taped(transport: Transport, attempt: Attempt, dialect: str) -> Callable[..., Awaitable[Exchange]]:
    """Returns a ``Transport.send`` that writes down what this attempt hears."""

    async def send(method: str, target: bytes, headers: bytes, body: bytes, **more: Any) -> Exchange:
        taping = Taping(attempt, dialect, target)
        try:
            exchange = await transport.send(method, target, headers, body, **more)
        except HeadgateError as error:
            taping.tape.fail(error)
            raise
        return TapedExchange(exchange, taping)

    return send


class TapedExchange:
    """The exchange; see ``core.ports.Exchange`` for its methods."""

    __slots__ = ("_inner", "_taping", "headers", "reused", "status")

    def __init__(self, inner: Exchange, taping: Taping) -> None:
        self._inner = inner
        self._taping = taping
        self.status = inner.status
        self.headers: Mapping[bytes, bytes] = inner.headers
        self.reused = inner.reused
        taping.tape.begin(inner.status, inner.headers, taping.now())

    async def read(self) -> bytes:
        """See ``core.ports.Exchange.read``."""
        try:
            data = await self._inner.read()
        except HeadgateError as error:
            self._taping.tape.fail(error)
            raise
        if data:
            self._taping.add(data)
        else:
            self._taping.tape.end_us = self._taping.now()
        return data

    async def read_all(self, limit: int) -> bytes:
        """See ``core.ports.Exchange.read_all``; piece by piece, so that what came before a cut is kept."""
        inner, taping = self._inner, self._taping
        pieces: list[bytes] = []
        size = 0
        try:
            while data := await inner.read():
                taping.add(data)
                pieces.append(data)
                size += len(data)
                if size > limit:
                    message = f"The upstream's body is over the {limit} bytes allowed."
                    error = UpstreamBroken(message, code="response_too_large", sent=True)
                    inner.abort(error)
                    raise error
        except HeadgateError as error:
            taping.tape.fail(error)
            raise
        taping.tape.end_us = taping.now()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        """See ``core.ports.Exchange.finish``."""
        self._inner.finish()

    def abort(self, error: HeadgateError | None = None) -> None:
        """See ``core.ports.Exchange.abort``."""
        self._inner.abort(error)
