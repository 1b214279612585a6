"""Limits that several processes share: workers on SQLite, machines on Postgres; killed, restarted, cut off."""

from __future__ import annotations

import asyncio
import http.client
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tests.scenarios.conftest import SSE_HEAD, Gateway, Upstream, Write, completion, delta, response, sse

from headgate.stores.budgets import Budget, list_budgets
from headgate.stores.data import DataDir
from headgate.stores.leases.meter_file import list_meters

CONFIG = """
providers:
  up: {{dialect: openai_chat, url: "http://127.0.0.1:{port}/v1", key: "env:UP_KEY"}}
models:
  fast: {{route: [up/m-1], price: {{input: 1, output: 2}}, retry: {{attempts: 0}}}}
"""
INPUT, OUTPUT = 20, 30
COST = INPUT * 1_000 + OUTPUT * 2_000
"""Nano-dollars that an answer costs."""


class Provider:
    """An upstream that counts what it serves before it answers; streams of ``m-1`` never end."""

    def __init__(self) -> None:
        self.served = 0
        self.up = Upstream(self._play)

    async def _play(self, path: str, body: bytes, write: Write, writer: asyncio.StreamWriter) -> None:
        self.served += 1
        if b'"stream":true' in body.replace(b" ", b""):
            await write(SSE_HEAD + sse(delta({"content": "word "})))
            await asyncio.sleep(30)
            return
        await asyncio.sleep(0.01)
        await write(response(completion("Paris.", INPUT, OUTPUT)))


@pytest.fixture
def provider() -> Iterator[Provider]:
    """One upstream."""
    one = Provider()
    yield one
    one.up.close()


def statuses(gates: list[Gateway], calls: int, threads: int = 8, **headers: str) -> dict[int, int]:
    """Asks the gateways in turn, many at once; returns how often each status came."""
    found: dict[int, int] = {}
    numbers = iter(range(calls))

    def work() -> None:
        for number in numbers:
            status = gates[number % len(gates)].chat(headers=headers or None)[0]
            found[status] = found.get(status, 0) + 1

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return found


def budget(data: pathlib.Path, until: Callable[[Budget], bool], url: str | None = None) -> Budget:
    """The one budget, once something holds of it: workers report once a second."""
    end = time.monotonic() + 60
    engine = DataDir(data, url=url).open_engine()
    try:
        while True:
            found = list_budgets(engine, time.time_ns())
            if found and until(found[0]):
                assert len(found) == 1
                return found[0]
            assert time.monotonic() < end, found
            time.sleep(0.05)
    finally:
        engine.dispose()


def test_two_workers_keep_one_budget(provider: Provider, gateway: Callable[..., Gateway]) -> None:
    """Not a nano-dollar beyond it, nearly all of it used, and counted exactly; a restart forgets nothing."""
    gate = gateway(CONFIG.format(port=provider.up.port), workers=2)
    dollars = f"{100 * COST / 1e9:.9f}"
    key = gate.run("keys", "create", "--name", "poor", "--budget", dollars, "--per", "month", "--quiet").strip()
    gate.stop(signal.SIGKILL)
    gate.start()  # both workers know the key from the start
    found = statuses([gate], 120, threads=24, authorization=f"Bearer {key}")
    assert set(found) == {200, 402}
    assert 90 <= provider.served <= 100
    row = budget(gate.data, lambda row: not row.reserved and row.used == provider.served * COST)
    assert (row.member, row.presumed) == ("poor", 0)
    gate.stop(signal.SIGKILL)
    gate.start()
    statuses([gate], 12, threads=12, authorization=f"Bearer {key}")
    assert provider.served <= 100


def test_what_a_killed_worker_had_reserved_counts_in_full(provider: Provider, gateway: Callable[..., Gateway]) -> None:
    """Nobody knows what became of its calls: presumed used, nothing stays reserved."""
    limit = "limits: [{amount: 1, per: month}]\n"
    gate = gateway(CONFIG.format(port=provider.up.port) + limit)
    assert gate.chat()[0] == 200
    while not _is_noted(gate, COST):
        time.sleep(0.01)
    for _ in range(3):
        threading.Thread(target=_hang, args=(gate,), daemon=True).start()
    while provider.served < 4:
        time.sleep(0.01)
    gate.stop(signal.SIGKILL)
    gate.start()
    row = budget(gate.data, lambda row: not row.reserved)
    assert row.presumed > 0
    assert row.used == row.presumed + COST


def _is_noted(gate: Gateway, cost: int) -> bool:
    """Whether a worker's meter has it, as it does once the call's Record is on disk."""
    return any(cost in memoryview(path.read_bytes()).cast("q").tolist() for path in list_meters(gate.data / "leases"))


def _hang(gate: Gateway) -> None:
    try:
        gate.chat(stream=True)
    except (OSError, http.client.HTTPException):
        return


def test_two_machines_on_one_postgres_keep_one_limit(
    provider: Provider, tmp_path: pathlib.Path, migrated_url: str
) -> None:
    """Each serves some; together exactly as many as are allowed."""
    gates: list[Gateway] = []
    config = CONFIG.format(port=provider.up.port) + "limits: [{amount: 40, unit: requests, per: month}]\n"
    try:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            env = {"HEADGATE_DATABASE_URL": migrated_url}
            gates.append(Gateway(tmp_path / name, config, key=not gates, env=env))
        gates[1].key = gates[0].key
        while gates[1].chat()[0] == 401:
            time.sleep(0.05)
        found = statuses(gates, 80)
        assert set(found) <= {200, 429}
        assert 36 <= provider.served <= 40
        while gates[0].chat()[0] == 200:
            assert provider.served <= 40
        row = budget(gates[1].data, lambda row: row.used == provider.served, migrated_url)
        assert row.rule.amount == 40
    finally:
        for gate in gates:
            gate.stop(signal.SIGTERM)
