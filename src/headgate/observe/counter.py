"""Counter: counts tokens in a process of its own, so that a worker stays small; ``python -m …`` is that process.

A tokenizer takes 65 MB. The process is started by the first request to count, and ends with its
parent or after a minute without work.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys

import msgspec

from headgate.core.encoding import Encoding
from headgate.core.errors import HeadgateError
from headgate.dialects.anthropic import Anthropic
from headgate.dialects.base import Dialect, View
from headgate.dialects.embeddings import Embeddings
from headgate.dialects.estimating import Estimate, estimate_input
from headgate.dialects.openai_chat import OpenAIChat

IDLE_SECONDS = 60.0
ANSWER_SECONDS = 20.0
LONG_BYTES = 256 * 1024
"""Requests above this are counted there in any case: the event loop has no time for them."""


class _Question(msgspec.Struct, array_like=True):
    dialect: str
    body: bytes
    encoding: Encoding


_encode = msgspec.msgpack.encode
_question = msgspec.msgpack.Decoder(_Question).decode
_estimate = msgspec.msgpack.Decoder(Estimate | None).decode


class Counter:
    """Counts requests, one at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._turn = asyncio.Lock()

    async def count(self, view: View, dialect: Dialect, encoding: Encoding) -> Estimate:
        """Returns the likely number of input tokens; by characters where the tokenizer does not answer.

        Raises:
            BadRequest: the request is malformed.
        """
        found = None
        if encoding.name or len(view.raw) > LONG_BYTES:
            question = _encode(_Question(dialect.name, view.raw, encoding))
            async with self._turn:
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        found = _estimate(await self._ask(question))
                except (OSError, EOFError, TimeoutError, msgspec.DecodeError):
                    self.close()
                except asyncio.CancelledError:
                    self.close()  # its answer would be taken for the next one's
                    raise
        return found or estimate_input(view, dialect, msgspec.structs.replace(encoding, name=""))

    def close(self) -> None:
        """Ends the process. Idempotent; the next count starts another."""
        process, self._process = self._process, None
        line, self._line = self._line, None
        if line is not None:
            line.close()
        if process is not None:
            process.kill()
            process.wait()

    async def _ask(self, question: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        line = self._line
        assert line is not None
        await loop.sock_sendall(line, len(question).to_bytes(4, "big") + question)
        size = int.from_bytes(await _take(loop, line, 4), "big")
        return await _take(loop, line, size)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            command = [sys.executable, "-m", "headgate.observe.counter"]
            self._line = ours
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)


async def _take(loop: asyncio.AbstractEventLoop, line: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = await loop.sock_recv(line, size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def main() -> int:
    """Answers questions on standard input, which is a socket, until it closes or is silent for long."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the parent, whose end ends this too
    line = socket.socket(fileno=sys.stdin.fileno())
    line.settimeout(IDLE_SECONDS)
    faces: dict[str, Dialect] = {face.name: face for face in (OpenAIChat(), Anthropic(), Embeddings())}
    with contextlib.suppress(OSError, EOFError):
        while True:
            answer = _encode(_answer(faces, _receive(line, int.from_bytes(_receive(line, 4), "big"))))
            line.sendall(len(answer).to_bytes(4, "big") + answer)
    line.detach()
    return 0


def _answer(faces: dict[str, Dialect], data: bytes) -> Estimate | None:
    question = _question(data)
    face = faces.get(question.dialect)
    if face is None:
        return None
    try:
        return estimate_input(face.view(question.body), face, question.encoding)
    except HeadgateError:
        return None


def _receive(line: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = line.recv(min(size - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


if __name__ == "__main__":
    sys.exit(main())
