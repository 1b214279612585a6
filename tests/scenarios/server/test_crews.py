"""Several workers: killed, replaced, drained, and never left behind."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from tests.scenarios.conftest import Gateway, Upstream

from .stage import PATIENT, Client, Stage, children, recorders, refused, wait


@pytest.fixture(scope="module")
def crew(up: Upstream, fresh: Callable[[str], pathlib.Path]) -> Iterator[Gateway]:
    """A gateway with three workers."""
    one = Gateway(fresh("crew"), PATIENT.format(port=up.port), workers=3)
    yield one
    if one.process.poll() is None:
        one.stop(signal.SIGKILL)


def answering(gate: Gateway) -> set[str]:
    """The workers that answer: each puts its own eight digits into the ids that it makes."""
    return {gate.chat()[1]["x-headgate-id"][14:22] for _ in range(60)}


def test_a_killed_worker_is_replaced_and_nobody_else_disturbed(crew: Gateway) -> None:
    """All workers answer. One is killed: the streams of the others go on, and soon there are as many as before."""
    workers = children(crew.process.pid)
    assert len(workers) == 3
    wait(lambda: len(answering(crew)) == 3)
    clients: list[Client] = []
    owners: set[str] = set()
    # Who accepts is the system's choice: with streams at two workers, one that is killed leaves some.
    while len(clients) < 6 or len(owners) < 2:
        clients.append(Client(crew, "steady"))
        owners.add((clients[-1].begin().getheader("x-headgate-id") or "")[14:22])
    os.kill(workers[0], signal.SIGKILL)
    whole = 0
    for client in clients:
        with contextlib.suppress(http.client.HTTPException, OSError):
            whole += client.rest().endswith(b"data: [DONE]\n\n")
        client.close()
    wait(lambda: len(children(crew.process.pid)) == 3 and workers[0] not in children(crew.process.pid))
    survivors = set(workers[1:])
    assert survivors < set(children(crew.process.pid))
    assert whole >= 1
    wait(lambda: len(answering(crew)) == 3)
    records = crew.records()
    lost = sum(record["outcome"] != "completed" for record in records)
    assert lost == 0
    assert sum(record["stream"] for record in records) == whole


def test_there_is_one_recorder(crew: Gateway) -> None:
    """However many workers, one process moves their journals into the store."""
    wait(lambda: len(recorders(crew.data)) == 1)
    time.sleep(0.6)
    assert len(recorders(crew.data)) == 1


def test_sigterm_ends_every_worker(crew: Gateway, stage: Stage) -> None:
    """A stream on a worker drains, new connections are refused meanwhile, and nobody is left behind."""
    stage.let_go.clear()
    client = Client(crew, "held")
    client.begin()
    workers = children(crew.process.pid)
    crew.process.send_signal(signal.SIGTERM)
    with contextlib.closing(client):
        wait(lambda: refused(crew.port))
        stage.let_go.set()
        assert client.rest().endswith(b"data: [DONE]\n\n")
    assert crew.process.wait(60) == 0
    assert [pid for pid in workers if pathlib.Path(f"/proc/{pid}").exists()] == []
    crew.stop()


def test_workers_do_not_outlive_their_supervisor(crew: Gateway) -> None:
    """Should the supervisor itself be killed, its workers end, so that the port is free for the next."""
    crew.start()
    workers = children(crew.process.pid)
    try:
        crew.process.kill()
        wait(lambda: refused(crew.port))
    finally:
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        crew.stop()
