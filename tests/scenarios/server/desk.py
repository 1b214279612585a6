"""What the scenarios of administration share: a caller of the admin API."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import Any

import msgspec
from tests.scenarios.conftest import Gateway


class Answer(msgspec.Struct):
    """What came back; ``body`` is decoded, ``raw`` as it came."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def code(self) -> str:
        """The error's code."""
        error = self.body["error"]
        assert set(error) == {"code", "message", "param"}
        assert error["message"]
        return str(error["code"])


class Desk:
    """Somebody who administers a gateway, with a key or without one; every request on a connection of its own."""

    def __init__(self, gate: Gateway, key: str = "") -> None:
        self.gate, self.key = gate, key

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Sends one request below ``/admin/v1``; underscores in header names stand for hyphens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            sent.setdefault("authorization", f"Bearer {self.key}")
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("content-type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.gate.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, f"/admin/v1{path}", data, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def get(self, path: str) -> Any:
        """Gets what must be there."""
        answer = self.call("GET", path)
        assert answer.status == 200, answer.raw
        return answer.body

    def post(self, path: str, **fields: object) -> Any:
        """Posts what must be taken."""
        answer = self.call("POST", path, fields)
        assert answer.status in (200, 201), answer.raw
        return answer.body

    def chat(self, **headers: str) -> tuple[int, str]:
        """Makes a model call with this key; returns its status and its error's code, "" for an answer."""
        sent = {"authorization": f"Bearer {self.key}", **headers}
        status, _, raw = self.gate.chat(headers=sent)
        return status, json.loads(raw).get("error", {}).get("code", "")
