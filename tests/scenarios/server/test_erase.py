"""Erasing a user from a gateway at work: calls under way, a recorder that runs, and what is left in rows and bytes."""

from __future__ import annotations

import http.client
import json
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, select
from tests.scenarios.conftest import Gateway, Upstream
from tests.scenarios.test_nothing_lost import recorder_pid

from headgate.stores.data import DataDir
from headgate.stores.query import Filters
from headgate.stores.schema import metadata
from headgate.stores.stats import StatsStore

from .desk import Desk
from .stage import LIVELY

ANN, CANARY = "ann-7Qx2vM", "zanzibarquokka"
CONFIG = LIVELY + ("data: {{payloads: full}}\nlimits: [{{scope: user, unit: requests, per: month, amount: 100}}]\n")


@pytest.fixture(params=["sqlite", "postgres"])
def gate(
    request: pytest.FixtureRequest, up: Upstream, fresh: Callable[[str], pathlib.Path]
) -> Iterator[tuple[Gateway, DataDir]]:
    """A gateway of this test's own, and its data directory."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    directory = fresh("erased")
    data = DataDir(directory / "data", url=url)
    data.prepare()
    one = Gateway(directory, CONFIG.format(port=up.port), env={"HEADGATE_DATABASE_URL": url} if url else None)
    yield one, data
    if one.process.poll() is None:
        one.stop()


def say(word: str) -> list[dict[str, str]]:
    """A question that holds a word."""
    return [{"role": "user", "content": f"Tell me of {word}."}]


def ask_as_ann(gate: Gateway, model: str = "fast", **fields: Any) -> str:
    """Makes a call for ann that holds the canary wherever it can; returns its id."""
    headers = {"x-headgate-user": ANN, "x-headgate-session": CANARY, "x-headgate-tags": f"note={CANARY}"}
    status, found, _ = gate.chat(headers=headers, model=model, messages=say(CANARY), **fields)
    assert status in (200, 404, 503)
    return str(found["x-headgate-id"])


def begin_stream(gate: Gateway) -> http.client.HTTPConnection:
    """Begins a call of ann's whose answer has no end, and reads its first words."""
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=30)
    body = {"model": "endless", "stream": True, "messages": say(CANARY), "user": ANN}
    headers = {"content-type": "application/json", "authorization": f"Bearer {gate.key}"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    assert connection.getresponse().read1(100)
    return connection


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits until something is so."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def rows_with(engine: Engine, *words: str) -> list[str]:
    """Returns the names of tables in which one of these words stands."""
    with engine.connect() as connection:
        return [
            f"{table.name}: {word}"
            for table in metadata.sorted_tables
            for row in connection.execute(select(table))
            for word in words
            if word in repr(row)
        ]


def test_a_user_is_erased_from_a_gateway_at_work(gate: tuple[Gateway, DataDir]) -> None:
    """What was recorded, what is in the journal and what is under way; sums stay, and bob's calls as they were."""
    gateway, data = gate
    boss = Desk(gateway, gateway.run("keys", "create", "--name", "boss", "--role", "admin", "--quiet").strip())
    wait_for(lambda: boss.call("GET", "/me").status == 200)
    known = [ask_as_ann(gateway) for _ in range(3)]
    known += [ask_as_ann(gateway, "nobody"), ask_as_ann(gateway, "steady", stream=True)]
    gateway.post("/v1/feedback", {"id": known[0], "score": 0.5, "comment": CANARY})
    assert gateway.chat(headers={"x-headgate-user": "bob"})[0] == 200
    assert len(gateway.records()) == 6
    engine = data.open_engine()
    assert rows_with(engine, ANN)
    before = StatsStore(engine).total(Filters())
    stream = begin_stream(gateway)
    look = boss.post("/erasures", user=ANN, dry_run=True)
    assert (look["id"], look["done"], look["found"]["calls"]) == (None, False, 5)
    done = boss.post("/erasures", user=ANN)
    assert done["done"]
    assert (done["found"]["calls"], done["found"]["payloads"], done["found"]["feedback"]) == (5, 5, 1)
    assert done["found"]["windows"] == 1
    late = {"id": known[1], "score": 0.1, "comment": f"but {CANARY}"}
    assert gateway.post("/v1/feedback", late)[0] in (200, 202)
    stream.close()
    wait_for(lambda: len(gateway.records()) == 7)
    records = gateway.records()
    assert [record["user"] for record in records if record["user"]] == ["bob"]
    assert [record["notes"].get("erased") for record in records].count(True) == 6
    after = StatsStore(engine).total(Filters(until_ns=None))
    assert (after.calls, after.cost) == (before.calls + 1, before.cost)
    actions = [(entry["action"], entry["target"]) for entry in boss.get("/audit")["data"]]
    assert actions[:2] == [("user.erased", done["id"]), ("user.erase", done["id"])]
    assert gateway.stop() == 0
    wait_for(lambda: recorder_pid(data) is None)
    assert json.loads(gateway.run("erase", "--user", ANN, "--yes", "--format", "json"))["found"]["calls"] == 0
    assert rows_with(engine, ANN, CANARY) == []
    engine.dispose()
    found = [
        (path.name, word)
        for path in data.path.rglob("*")
        if path.is_file()
        for word in (ANN, CANARY)
        if word.lower().encode() in path.read_bytes().lower()
    ]
    assert found == []
