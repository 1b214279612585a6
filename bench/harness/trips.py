"""Counts a worker's round trips to its store from outside: by what passes between it and Postgres."""

from __future__ import annotations

import contextlib
import pathlib
import select
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit


class TripCounter:
    """A relay before a Postgres, in a thread. A round trip is a question (in however many packets) and what answers it.

    Attributes:
        port: where it listens, on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._trips: Counter[int] = Counter()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def url(self, url: str) -> str:
        """Returns a database's URL through this relay."""
        return url.replace(f":{urlsplit(url).port}/", f":{self.port}/")

    def trips(self, pids: Sequence[int]) -> int:
        """Returns how many round trips the connections have made that these processes have open."""
        ports = {port for pid in pids for port in _ports(pid)}
        return sum(count for port, count in list(self._trips.items()) if port in ports)

    def close(self) -> None:
        """Ends it, and all connections."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        pairs: dict[socket.socket, socket.socket] = {}
        asking: dict[socket.socket, int] = {}  # by the client's end: its port
        questions: set[socket.socket] = set()
        with contextlib.ExitStack() as stack:
            stack.callback(self._listener.close)
            stack.callback(lambda: [one.close() for one in pairs])
            while not self._closed.is_set():
                for ready in select.select([self._listener, *pairs], [], [], 0.2)[0]:
                    if ready is self._listener:
                        client, address = self._listener.accept()
                        server = socket.create_connection(("127.0.0.1", self._target))
                        for one in (client, server):
                            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        pairs |= {client: server, server: client}
                        asking[client] = address[1]
                        continue
                    if ready not in pairs:
                        continue  # its other end has just gone
                    data = _take(ready)
                    other = pairs[ready]
                    if not data or not _give(other, data):
                        for one in (ready, other):
                            del pairs[one]
                            one.close()
                            asking.pop(one, None)
                            questions.discard(one)
                        continue
                    if ready in asking:
                        questions.add(ready)
                    elif other in questions:
                        questions.discard(other)
                        self._trips[asking[other]] += 1


def _take(ready: socket.socket) -> bytes:
    try:
        return ready.recv(1 << 18)
    except OSError:
        return b""


def _give(other: socket.socket, data: bytes) -> bool:
    try:
        other.sendall(data)
    except OSError:
        return False
    return True


def _ports(pid: int) -> Iterator[int]:
    """The local TCP ports of a process's connections."""
    sockets = set()
    with contextlib.suppress(OSError):
        for file in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                sockets.add(str(file.readlink()))
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if f"socket:[{fields[9]}]" in sockets:
            yield int(fields[1].rpartition(":")[2], 16)
