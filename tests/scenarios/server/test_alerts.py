"""Alerts of a real server: what goes wrong upstream reaches the receivers, once, and so does its end."""

from __future__ import annotations

import asyncio
import json
import pathlib
import signal
from collections.abc import Callable, Iterator

import pytest
from tests.receivers import Hook, MailServer, eventually
from tests.scenarios.conftest import Gateway, Upstream, Write, completion, response

from .desk import Desk

CONFIG = """
providers:
  up: {{dialect: openai_chat, url: "http://127.0.0.1:{port}/v1", key: "env:UP_KEY"}}
  spare: {{dialect: openai_chat, url: "http://127.0.0.1:{port}/v1", key: "env:UP_KEY"}}
defaults: {{retry: {{attempts: 0}}, breaker: {{min_calls: 3, window: 60, open: 60}}}}
models:
  good: {{route: [up/good], price: {{input: 1000, output: 1000}}}}
  bad: {{route: [up/bad]}}
  slow: {{route: [up/slow]}}
  mute: {{route: [up/mute]}}
  long: {{route: [up/long]}}
  both: {{route: [up/broken, spare/good]}}
alerts:
  every: 0.2
  receivers:
    hook: {{type: webhook, url: "http://127.0.0.1:{hook}/", allow_private: true, timeout: 2}}
    mail: {{type: email, host: 127.0.0.1, port: {mail}, tls: none, sender: g@x.example, to: [a@x.example]}}
    log: {{type: log}}
  rules:
    errors: {{kind: error_rate, above: 0.5, by: model, window: 4s, min_calls: 3, receivers: [hook, mail, log]}}
    slow: {{kind: latency, above: 0.2, by: model, window: 4s, min_calls: 3, receivers: [hook]}}
    empty: {{kind: empty, above: 0.5, by: model, window: 4s, min_calls: 3, receivers: [hook]}}
    length: {{kind: length, above: 0.5, by: model, window: 4s, min_calls: 3, receivers: [hook]}}
    fallback: {{kind: fallback, above: 0.5, by: model, window: 4s, min_calls: 3, receivers: [hook]}}
    breaker: {{kind: breaker, window: 4s, receivers: [hook]}}
    money: {{kind: budget, amount: 0.1, per: month, by: model, levels: [50%], projected: false, receivers: [hook]}}
"""


async def play(path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
    """An upstream that does what the model's name says."""
    model = json.loads(body)["model"]
    if model in ("bad", "broken"):
        await write(response(b'{"error":{"message":"gone fishing"}}', b"503 Service Unavailable"))
        return
    if model == "slow":
        await asyncio.sleep(0.25)
    answer = completion("" if model == "mute" else "Paris.", 10, 0 if model == "mute" else 5)
    await write(response(answer.replace(b'"stop"', b'"length"') if model == "long" else answer))


@pytest.fixture
def hook() -> Iterator[Hook]:
    # The very first delivery is refused: it must come again.
    with Hook(lambda n: 503 if n == 0 else 200) as server:
        yield server


def told(hook: Hook) -> list[tuple[str, str, str]]:
    return [(one["rule"], one["subject"], one["event"]) for one in hook.taken]


def test_what_goes_wrong_is_told_once_and_so_is_its_end(hook: Hook, fresh: Callable[[str], pathlib.Path]) -> None:
    """Seven things go wrong: each is told, a delivery that was refused is made again, each recovers but the money.

    The server is restarted while all of it is wrong: nothing is told again.
    """
    upstream = Upstream(play)
    with MailServer() as mail:
        config = CONFIG.format(port=upstream.port, hook=hook.port, mail=mail.port)
        gate = Gateway(fresh("alerts"), config)
        try:
            _go_wrong(gate)
            expected = {
                *(("errors", "bad"), ("slow", "slow"), ("empty", "mute"), ("length", "long"), ("fallback", "both")),
                *(("breaker", "up/broken"), ("breaker", "up/bad"), ("money", "good")),
            }
            eventually(lambda: {(rule, subject) for rule, subject, _ in told(hook)} >= expected)
            gate.stop(signal.SIGKILL)
            gate.start()
            recovering = {(*place, "recovered") for place in expected if place[0] != "money"}
            eventually(lambda: set(told(hook)) >= recovering)
            fired = {(*place, "fired") for place in expected}
            assert sorted(told(hook)) == sorted(fired | recovering)
            assert len(hook.requests) == len(hook.taken) + 1
            eventually(lambda: len(mail.mails) == 2)
            assert "[firing] errors" in mail.mails[0][2]
            assert "gone fishing" not in mail.mails[0][2]
            _look_around(gate, hook)
        finally:
            gate.stop(signal.SIGKILL)
            upstream.close()


def _go_wrong(gate: Gateway) -> None:
    for model in ("bad", "slow", "mute", "long", "both", "good"):
        for _ in range(5):
            gate.chat(model=model)


def _look_around(gate: Gateway, hook: Hook) -> None:
    """Verbs and admin API tell the same, silence, and try the receivers out."""
    gate.key = gate.run("keys", "create", "--name", "boss", "--role", "admin", "--quiet").strip()
    desk, viewer = Desk(gate, gate.key), Desk(gate, "")
    viewer.key = gate.run("keys", "create", "--name", "eye", "--role", "viewer", "--quiet").strip()
    eventually(lambda: desk.call("GET", "/alerts").status == 200)
    rules = {one["rule"]: one for one in viewer.get("/alerts")["data"]}
    assert [breach["subject"] for breach in rules["money"]["breaches"]] == ["good"]
    assert rules["errors"]["breaches"] == []
    page = viewer.get("/alerts/history?limit=2&rule=errors")
    assert [one["event"] for one in page["data"]] == ["recovered", "fired"]
    assert {to["state"] for to in page["data"][1]["told"]} == {"delivered"}
    assert "errors: error rate of model bad" in gate.run("alerts", "history")
    assert viewer.call("POST", "/alerts/silences", {"rule": "errors", "until": "1h"}).status == 403
    silence = desk.post("/alerts/silences", rule="errors", until="1h", reason="known")
    assert desk.call("POST", "/alerts/silences", {"rule": "eror", "until": "1h"}).code == "alert_rule_not_found"
    listed = gate.run("alerts", "list", "--config", str(gate.config))
    assert silence["id"] in listed
    assert "money" in listed
    assert [one["rule"] for one in viewer.get("/alerts/silences")["data"]] == ["errors"]
    gate.run("alerts", "unsilence", "errors")
    assert desk.call("DELETE", f"/alerts/silences/{silence['id']}").code == "silence_not_found"
    assert "silenced" in gate.run("alerts", "silence", "money", "--config", str(gate.config), "--until", "2h")
    before = len(hook.taken)
    answer = desk.call("POST", "/alerts/test", {"rule": "slow"})
    assert answer.status == 202
    eventually(lambda: [one["id"] for one in hook.taken[before:]] == [answer.body["id"]])
    said = gate.run("alerts", "test", "errors", "--config", str(gate.config), "--receiver", "hook")
    assert "hook: delivered" in said
    assert hook.taken[-1]["event"] == "test"
    hook.script = lambda n: 500
    assert "answered with status 500" in gate.run("alerts", "test", "slow", "--config", str(gate.config), code=1)
    assert "given up" in gate.run("alerts", "history", "--limit", "1"), "who made the test was told; nobody waits"
    actions = [entry["action"] for entry in desk.get("/audit?limit=20")["data"]]
    assert {"alert.silence", "alert.unsilence", "alert.test"} <= set(actions)
