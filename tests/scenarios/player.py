"""Plays recorded exchanges as an upstream over real sockets, and asks a gateway for them on keep-alive connections."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import itertools
import json
import pathlib
import random
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from tests.contract.recordings import Exchange, chat_exchanges, exchanges, messages_exchanges

from .conftest import Gateway, Write

THREADS = 4
PATHS = {"openai_chat": "/v1/chat/completions", "anthropic": "/v1/messages"}
_FRAMING = (b"content-length", b"content-encoding", b"transfer-encoding", b"connection", b"keep-alive")


class Case(NamedTuple):
    """One recording by its number; ``wire`` names the dialect that its provider spoke."""

    number: int
    wire: str
    one: Exchange

    @property
    def key(self) -> str:
        """What the upstream is asked for as a model."""
        return f"rec-{self.number}"


class Ask(NamedTuple):
    """One request to the gateway: which recording, by which client's dialect, in what words."""

    case: Case
    client: str
    body: bytes


class Served(NamedTuple):
    """What a client got for an Ask, and what the upstream was asked for it."""

    ask: Ask
    status: int
    headers: dict[str, str]
    body: bytes
    asked: bytes


def find_cases(data: pathlib.Path) -> list[Case]:
    """Returns every recording of the two wires by URL, and those answers that differ in nothing but the URL.

    Of those that only look alike, Bedrock's streams are binary and Writer's end without ``[DONE]``: wires of their own.
    """
    chat, messages = chat_exchanges(data), messages_exchanges(data)
    for path in ("/v1/chat", "/completions", "/invoke"):
        for one in exchanges(data, path):
            if one.status != 200 or one.stream:
                continue
            answer = load_object(one.body)
            if answer.get("object") == "chat.completion" and one not in chat:
                chat.append(one)
            if answer.get("type") == "message":
                messages.append(one)
    found = [("openai_chat", one) for one in chat] + [("anthropic", one) for one in messages]
    return [Case(number, wire, one) for number, (wire, one) in enumerate(found)]


class Player:
    """An upstream's script: the model asked for says which recording is played.

    The bytes of each answer are cut at random places, HTTP framing included, the same ones for the same seed.

    Attributes:
        asked: the request body that the upstream got, by the model's name in it.
    """

    def __init__(self, cases: Sequence[Case], seed: int) -> None:
        self._cases = {case.key: case.one for case in cases}
        self._seed = seed
        self.asked: dict[str, bytes] = {}

    async def __call__(self, path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        model = json.loads(body)["model"]
        self.asked[model] = body
        one = self._cases[model.partition("/")[0]]
        draw = random.Random(f"{self._seed} {model}")
        for piece in cut(wire_bytes(one, draw), draw):
            await write(piece)
            await asyncio.sleep(0)


def wire_bytes(one: Exchange, draw: random.Random) -> bytes:
    """Returns the whole HTTP response: recorded status and headers, the body content-encoded as it was."""
    head = b"HTTP/1.1 %d Recorded\r\n" % one.status
    for name, value in one.headers.items():
        if name not in _FRAMING and b"\n" not in value and b"\r" not in value:
            head += b"%b: %b\r\n" % (name, value)
    if b"content-type" not in one.headers:  # the recorder left it out
        head += b"content-type: %b\r\n" % (b"text/event-stream" if one.stream else b"application/json")
    body = one.body
    if one.headers.get(b"content-encoding") == b"gzip":
        head += b"content-encoding: gzip\r\n"
        body = gzip.compress(body, 1, mtime=0)
    if not one.stream and one.headers.get(b"transfer-encoding") != b"chunked":
        return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut(body, draw))
    return head + b"transfer-encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks


def cut(data: bytes, draw: random.Random) -> list[bytes]:
    """Cuts bytes at up to 40 random places."""
    places = sorted({0, len(data), *(draw.randrange(len(data) + 1) for _ in range(draw.randrange(40)))})
    return [data[start:end] for start, end in itertools.pairwise(places)]


class Clients:
    """Keep-alive connections to one gateway, one for each thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._mine = threading.local()
        self._all: list[http.client.HTTPConnection] = []

    def ask(self, some: Sequence[Ask], player: Player) -> list[Served]:
        """Sends every Ask; returns what came, in order."""
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda one: self._ask(one, player), some))

    def close(self) -> None:
        """Closes every connection."""
        for connection in self._all:
            connection.close()

    def _ask(self, ask: Ask, player: Player) -> Served:
        connection = getattr(self._mine, "connection", None)
        if connection is None:
            connection = self._mine.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            self._all.append(connection)
        connection.request("POST", PATHS[ask.client], ask.body, {"content-type": "application/json"})
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        body = answer.read()
        return Served(ask, answer.status, headers, body, player.asked.get(name_of(ask), b""))


def records_of(gateway: Gateway, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Returns the Records of these calls by id, once all are in the store; after 60 s, those that are."""
    wanted, end = set(ids) - {""}, time.monotonic() + 60
    while True:
        found = gateway.records()
        if wanted <= {record["id"] for record in found} or time.monotonic() > end:
            assert len(found) == len({record["id"] for record in found}), "a call was recorded twice"
            return {record["id"]: record for record in found}


def name_of(ask: Ask) -> str:
    """Returns the upstream's name for the model of an Ask."""
    return f"{ask.case.key}/{ask.client}"


def model_of(ask_case: Case, client: str) -> str:
    """Returns what a client of this dialect asks the gateway for to get this recording."""
    return f"rec_{ask_case.wire}/{ask_case.key}/{client}"


def load_object(body: bytes) -> dict[str, Any]:
    """Returns a JSON object, {} for anything else."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
