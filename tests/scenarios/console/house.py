"""What the console's scenarios look at: keys of each role, calls of every outcome, hostile words in every field."""

from __future__ import annotations

import asyncio
import http.client
import json
import pathlib
import re
import time
from typing import Any
from urllib.parse import urlencode

import msgspec
from tests.scenarios.conftest import SSE_HEAD, Gateway, Write, completion, delta, response, sse

from headgate.stores.data import DataDir
from headgate.stores.keys import KeySpec
from headgate.stores.query import Filters
from headgate.stores.registry import Registry
from headgate.stores.satisfaction import FeedbackStore

CONFIG = """
data: {{payloads: full}}
providers:
  up:
    dialect: openai_chat
    url: "http://127.0.0.1:{port}/v1"
    key: "env:UP_KEY"
    retry: {{attempts: 0}}
    breaker: {{enabled: false}}
    prices: {{m-1: {{input: 0.15, output: 0.60}}, m-2: {{input: 3, output: 15}}}}
models:
  fast: {{route: [up/m-1], description: "Quick and cheap"}}
  spare: {{route: [up/broken, up/m-2]}}
  broken: {{route: [up/broken]}}
"""
EMPTY = "models: {fast: {route: [sim/echo]}}"

HOSTILE = (
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    '"><svg onload=window.hit=1>',
    "' onmouseover='window.hit=1' x='",
    "javascript:window.hit=1",
    "</textarea></title></script><script>window.hit=1</script>",
    "{{ 7*7 }}{% raw %}${7*7}<%= 7*7 %>",
    "![x](https://evil.invalid/beacon.png)",
    "<a href=//evil.invalid>click</a><base href=//evil.invalid/>",
    "<style>@import 'https://evil.invalid/x.css'</style>",
    "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "\u202egnp.exe\u202c&#60;script&#62;",
)
"""What people and models may say to do harm, one kind each."""


class House(msgspec.Struct):
    """A furnished gateway.

    Attributes:
        gate: the gateway.
        keys: secrets by role, and ``boss``, the admin's who stays logged in while visitors use up ``admin``'s sessions.
        calls: ids of calls by what they are.
    """

    gate: Gateway
    keys: dict[str, str]
    calls: dict[str, str]

    def visitor(self, key: str = "") -> Visitor:
        """Returns somebody without a browser, logged in where a key is given."""
        visitor = Visitor(self.gate)
        if key:
            assert visitor.log_in(key).status == 303
        return visitor


async def upstream_script(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> str | None:
    """Says again what the last message says; ``broken`` fails with it as its error's message."""
    ask = json.loads(body)
    said = ask["messages"][-1]["content"]
    if ask["model"] == "broken":
        error = json.dumps({"error": {"message": f"no: {said}", "type": "server_error"}}).encode()
        await write(response(error, b"500 Internal Server Error"))
    elif ask.get("stream"):
        pieces = [sse(delta({"content": piece})) for piece in re.findall(r".{1,7}", said, re.DOTALL)]
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        ending = sse(delta({}, "stop"), {**delta({}), "choices": [], "usage": usage}, b"[DONE]") + b"0\r\n\r\n"
        await write(SSE_HEAD + b"".join(pieces) + ending)
    else:
        await write(response(completion(said)))
    return None


def make_keys(data: pathlib.Path) -> dict[str, str]:
    """Makes a house's keys in its data directory, before its gateway starts; returns those that tests use by role."""
    keys: dict[str, str] = {}
    engine = DataDir(data).open_engine()
    registry = Registry(engine, "cli:test")
    for name in ("viewer", "admin", "boss"):
        role = "admin" if name == "boss" else name
        keys[name] = registry.create_key(KeySpec(name=name, role=role)).secret
    for words in HOSTILE:
        if words.isprintable():
            registry.create_key(KeySpec(name=words, user=words, metadata={words[:90]: words}))
    engine.dispose()
    return keys


def furnish(gate: Gateway, keys: dict[str, str]) -> House:
    """Makes calls; returns once they are stored."""
    calls: dict[str, str] = {}
    for name, fields in (("good", {"model": "fast"}), ("retried", {"model": "spare"}), ("failed", {"model": "broken"})):
        headers = {"x-headgate-user": "alice", "x-headgate-session": "s-1", "x-headgate-trace": "t-1"}
        calls[name] = gate.chat(headers=headers, **fields)[1]["x-headgate-id"]
    for number, words in enumerate(HOSTILE):
        said: list[dict[str, Any]] = [{"role": "system", "content": words}, {"role": "user", "content": words}]
        plain = words.encode("ascii", "ignore").decode()
        headers = {f"x-headgate-{name}": plain for name in ("user", "feature", "session", "trace", "prompt")}
        headers["x-headgate-tags"] = "t=" + plain.replace(",", "")
        for model, stream in (("fast", bool(number % 2)), ("broken", False)):
            answer = gate.chat(headers=headers, model=model, messages=said, stream=stream)
            calls[f"hostile {number} {model}"] = answer[1]["x-headgate-id"]
    gate.records()
    _judge(gate, calls)
    return House(gate, {"developer": gate.key, **keys}, calls)


def _judge(gate: Gateway, calls: dict[str, str]) -> None:
    """Has the caller judge each hostile answer, in hostile words; returns once that is stored."""
    for number, words in enumerate(HOSTILE):
        said = {"id": calls[f"hostile {number} fast"], "score": 0, "comment": words}
        answer = gate.post("/v1/feedback", {**said, "label": words if words.isprintable() else ""})
        assert answer[0] in (200, 202), answer
    engine = DataDir(gate.data).open_engine()
    end = time.monotonic() + 30
    while len(FeedbackStore(engine).page(Filters(), 100)) < len(HOSTILE):
        assert time.monotonic() < end, "the feedback is not stored"
        time.sleep(0.05)
    engine.dispose()


class Page(msgspec.Struct):
    """What came back to a visitor."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def proof(self) -> str:
        """What the page's forms carry."""
        found = re.search(r'name="proof" value="([0-9a-f]{64})"', self.text)
        assert found, self.text[:500]
        return found[1]


class Visitor:
    """Somebody who can send whatever they like; keeps the console's cookie as a browser does."""

    def __init__(self, gate: Gateway) -> None:
        self.gate = gate
        self.cookie = ""

    def ask(self, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> Page:
        """Sends one request below the console's root; underscores in header names stand for hyphens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            sent.setdefault("cookie", f"headgate_console={self.cookie}")
        body = None
        if form is not None:
            body = urlencode(form)
            sent.setdefault("content-type", "application/x-www-form-urlencoded")
        connection = http.client.HTTPConnection("127.0.0.1", self.gate.port, timeout=60)
        try:
            connection.request(method, f"/console{path}", body, sent)
            answer = connection.getresponse()
            page = Page(answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read().decode())
        finally:
            connection.close()
        given = re.match(r"headgate_console=([^;]*)", page.headers.get("set-cookie", ""))
        if given:
            self.cookie = given[1]
        return page

    def get(self, path: str, **headers: str) -> Page:
        """Opens a page."""
        return self.ask("GET", path, **headers)

    def post(self, path: str, form: dict[str, str], **headers: str) -> Page:
        """Sends a form as a page of the console's own would."""
        headers.setdefault("origin", self.gate.url)
        return self.ask("POST", path, form, **headers)

    def log_in(self, key: str) -> Page:
        """Logs in by the form."""
        return self.post("/login", {"proof": self.get("/login").proof, "key": key})
