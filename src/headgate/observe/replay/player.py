"""A Player: stands in the place of an upstream and answers one attempt as its Tape says."""

from __future__ import annotations

from collections.abc import Mapping

from headgate.core.errors import ConnectFailed
from headgate.core.tape import Tape
from headgate.transport.local import LocalResponse, LocalTransport


class Player:
    """An application for ``LocalTransport``. It answers once; time is not played, only order."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    async def __call__(self, method: str, target: bytes, headers: Mapping[bytes, bytes], body: bytes) -> LocalResponse:
        """Returns the head as it was heard, or raises what came instead of one."""
        tape = self._tape
        if not tape.status:
            raise tape.error.again() if tape.error is not None else ConnectFailed("the tape is empty")
        return LocalResponse(tape.status, dict(tape.headers), _Body(tape))


class _Body:
    """The pieces as they came, then the end as it came."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._next = 0

    async def __anext__(self) -> bytes:
        tape = self._tape
        if self._next < len(tape.pieces):
            self._next += 1
            return tape.pieces[self._next - 1][1]
        if tape.error is not None:
            raise tape.error.again()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Nothing is held."""


def playing(tape: Tape) -> LocalTransport:
    """Returns a transport that plays this tape."""
    return LocalTransport(Player(tape))
