"""Several machines on one Postgres: keys and records are shared, and the database may go and come back under load."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tests.postgres import Postgres

from headgate.stores.migrations import migrate

from .conftest import Gateway
from .server.stage import recorders

CONFIG = "models: {fast: {route: [sim/echo]}}\n"
Machines = Callable[[str, int], list[Gateway]]


@pytest.fixture
def machines(tmp_path: pathlib.Path) -> Iterator[Machines]:
    """Starts gateways with data directories of their own on the database at a URL."""
    made: list[Gateway] = []

    def start(url: str, workers: int = 1) -> list[Gateway]:
        migrate(url)
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            env = {"HEADGATE_DATABASE_URL": url}
            made.append(Gateway(tmp_path / name, CONFIG, key=not made, workers=workers, env=env))
        made[1].key = made[0].key
        return made

    yield start
    for one in made:
        if one.process.poll() is None:
            one.stop()
        for pid in recorders(one.data):  # where the database goes first, it would wait for that
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def wait_for_status(gateway: Gateway, status: int) -> None:
    """Waits until calls are answered with a status."""
    end = time.monotonic() + 30
    while (got := gateway.chat()[0]) != status:
        assert time.monotonic() < end, f"still {got}"
        time.sleep(0.05)


class Load:
    """Threads that ask the gateways in turn, until stopped; ``answers`` are (status, id) of all calls."""

    def __init__(self, gateways: list[Gateway], threads: int = 4) -> None:
        self.answers: list[tuple[int, str]] = []
        self._gateways = gateways
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, more: int) -> None:
        """Returns once so many more calls have been answered."""
        wanted, until = len(self.answers) + more, time.monotonic() + 30
        while len(self.answers) < wanted:
            assert time.monotonic() < until, f"{wanted - len(self.answers)} of {more} calls are not answered"
            time.sleep(0.02)

    def _run(self, number: int) -> None:
        while not self._stop.is_set():
            number += 1
            try:
                status, headers, _ = self._gateways[number % len(self._gateways)].chat(stream=number % 3 == 0)
                self.answers.append((status, headers.get("x-headgate-id", "")))
            except OSError as error:
                self.answers.append((0, repr(error)))
            time.sleep(0.01)


def all_records(gateway: Gateway, wanted: list[str]) -> list[str]:
    """Returns the ids of all records, newest first, once these are among them."""
    end = time.monotonic() + 60
    while True:
        ids = [record["id"] for record in gateway.records()]
        if set(wanted) <= set(ids) or time.monotonic() > end:
            return ids
        time.sleep(0.2)


def test_keys_and_records_are_shared(machines: Machines, migrated_url: str) -> None:
    """A key made on one machine works on the other at once, and ends there too; each lists the calls of both."""
    one, two = machines(migrated_url, 1)
    secret = one.run("keys", "create", "--name", "later", "--quiet").strip()
    first, two.key = two.key, secret
    wait_for_status(two, 200)
    ids = [gate.chat()[1]["x-headgate-id"] for gate in (one, two, one, two)]
    assert '"later"' in two.run("keys", "list", "--format", "jsonl")
    two.run("keys", "revoke", "later")
    one.key = secret
    wait_for_status(one, 401)
    one.key = two.key = first
    for gate in (one, two):
        assert set(ids) <= set(all_records(gate, ids))
        told = json.loads(gate.run("record", ids[1], "--format", "json"))
        assert told["id"] == ids[1]
    assert not (one.data / "headgate.db").exists()
    password = migrated_url.rpartition("@")[0].rpartition(":")[2]
    for gate in (one, two):
        said = "".join(gate.log) + gate.greeting + (gate.data / "recorder.log").read_text()
        assert password not in said + gate.run("config", "explain", "--config", str(gate.config))


@pytest.mark.parametrize("how", ["stopped", "frozen", "crashed"])
def test_the_database_goes_and_comes_back_under_load(own_postgres: Postgres, machines: Machines, how: str) -> None:
    """While Postgres is away calls are answered as ever; afterwards every call is in the store exactly once."""
    gates = machines(own_postgres.new_database(), 1 if how == "crashed" else 2)
    with Load(gates) as load:
        load.wait_for(20)
        if how == "frozen":
            own_postgres.freeze()
        else:
            own_postgres.stop("fast" if how == "stopped" else "immediate")
        load.wait_for(40)
        time.sleep(1)  # the recorders notice
        if how == "frozen":
            own_postgres.thaw()
        else:
            own_postgres.start()
        load.wait_for(20)
    assert {status for status, _ in load.answers} == {200}
    answered = [id for _, id in load.answers]
    ids = all_records(gates[0], answered)
    assert sorted(ids) == sorted(answered)
