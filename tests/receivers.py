"""Receivers to test against: a webhook, a mail server and a collector of traces on loopback, that do as told."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class _Server:
    """Accepts connections on a free port, each served on a thread."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._open: list[threading.Thread] = []
        self.closing = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        # Wakes the accept.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        self._thread.join(5)
        self._listener.close()
        for thread in self._open:
            thread.join(5)

    def _run(self) -> None:
        while not self.closing.is_set():
            connection, _ = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._open.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        with connection, contextlib.suppress(OSError):
            self.talk(connection)

    def talk(self, connection: socket.socket) -> None:
        raise NotImplementedError


class Hook(_Server):
    """A webhook. ``script`` says of the n-th request (from 0) how it is answered: a status, ``"stall"`` or ``"break"``.

    Attributes:
        requests: what came, whole: headers (lower-case names) and body.
        taken: the bodies, as JSON, that were answered with 2xx.
    """

    def __init__(self, script: Callable[[int], int | str] = lambda n: 200) -> None:
        super().__init__()
        self.script = script
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.taken: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"

    def talk(self, connection: socket.socket) -> None:
        head, body = _read_request(connection)
        if head is None:
            return
        number = len(self.requests)
        self.requests.append((*head, body))
        answer = self.script(number)
        if answer == "stall":
            self.closing.wait(3)
        elif answer != "break":
            connection.sendall(f"HTTP/1.1 {answer} Said\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".encode())
            if isinstance(answer, int) and 200 <= answer <= 299:
                self.taken.append(json.loads(body))


class Collector(_Server):
    """A collector of traces: OTLP over HTTP with protobuf, read by OpenTelemetry's own messages.

    ``script`` says of the n-th request (from 0) how it is answered: a status, ``"stall"``, ``"break"``, or the bytes of
    an export response.

    Attributes:
        requests: first line and headers (lower-case names) of what came.
        batches: what was answered with 2xx, as messages.
        bodies: all that came, as it was before compression.
    """

    def __init__(self, script: Callable[[int], int | str | bytes] = lambda n: 200, *, port: int = 0) -> None:
        super().__init__(port)
        self.script = script
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.batches: list[ExportTraceServiceRequest] = []
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[Any]:
        """Every span that was taken, in the order of their coming."""
        return [
            span
            for batch in self.batches
            for group in batch.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    def talk(self, connection: socket.socket) -> None:
        head, body = _read_request(connection)
        if not head:
            return
        first, headers = head
        number = len(self.requests)
        self.requests.append((first, headers))
        data = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        self.bodies.append(data)
        answer = self.script(number)
        if answer == "stall":
            self.closing.wait(3)
        elif answer != "break":
            said = answer if isinstance(answer, bytes) else b""
            status = answer if isinstance(answer, int) else 200
            if status == 200:
                self.batches.append(ExportTraceServiceRequest.FromString(data))
            lines = f"HTTP/1.1 {status} Said\r\nlocation: /elsewhere\r\nretry-after: 0\r\n"
            lines += f"content-type: application/x-protobuf\r\ncontent-length: {len(said)}\r\n\r\n"
            connection.sendall(lines.encode() + said)


def attributes_of(span: Any) -> dict[str, Any]:
    """A received span's attributes as plain values."""
    return {one.key: _plain(one.value) for one in span.attributes}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_plain(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


def _read_request(connection: socket.socket) -> tuple[tuple[str, dict[str, str]] | None, bytes]:
    """Returns first line and headers (None: nobody said anything), and the body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None, b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65536)
    return (first, headers), body


class MailServer(_Server):
    """An SMTP server without TLS. ``refuse`` says of the n-th mail (from 0) whether it is refused for now.

    Attributes:
        mails: sender, recipients and text of each mail that was taken.
    """

    def __init__(self, refuse: Callable[[int], bool] = lambda n: False) -> None:
        super().__init__()
        self.mails: list[tuple[str, list[str], str]] = []
        self._refuse = refuse
        self._seen = 0

    def talk(self, connection: socket.socket) -> None:
        stream = connection.makefile("rwb", buffering=0)

        def say(line: str) -> None:
            stream.write(f"{line}\r\n".encode())

        sender, to = "", []
        say("220 here")
        while line := stream.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "MAIL":
                sender, to = line, []
                say("250 yes")
            elif verb == "RCPT":
                to.append(line.partition("<")[2].partition(">")[0])
                say("250 yes")
            elif verb == "DATA":
                number, self._seen = self._seen, self._seen + 1
                if self._refuse(number):
                    say("451 later")
                    continue
                say("354 go on")
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    text += stream.readline()
                self.mails.append((sender, to, text.decode()))
                say("250 taken")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 yes")


def eventually(check: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until it is so."""
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.05)
