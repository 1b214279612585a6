"""``/metrics`` of a running gateway: there at once, right after a moment, and only for those who may see it."""

from __future__ import annotations

import http.client
import pathlib
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.scenarios.conftest import Gateway, Upstream

from .stage import LIVELY


@pytest.fixture
def gate(up: Upstream, fresh: Callable[[str], pathlib.Path]) -> Iterator[Gateway]:
    one = Gateway(fresh("metrics"), LIVELY.format(port=up.port))
    yield one
    if one.process.poll() is None:
        one.stop(signal.SIGKILL)


def get(gate: Gateway, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=60)
    try:
        connection.request(method, "/metrics", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def samples(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def test_from_the_first_second_on(gate: Gateway) -> None:
    """Well formed before any call; a call, and the worker that took it, are counted within seconds."""
    status, text = get(gate)
    assert status == 200
    assert len(text.splitlines()) > 20
    assert samples(text).get("headgate_calls_total", 0) == 0
    for _ in range(3):
        assert gate.chat()[0] == 200
    until = time.monotonic() + 60
    while True:
        found = samples(get(gate)[1])
        if found.get("headgate_calls_total") == 3 and found["headgate_workers"] == 1:
            break
        assert time.monotonic() < until, found
        time.sleep(0.1)
    assert found["headgate_worker_cpu_seconds_total"] > 0
    assert found["headgate_breaker_state"] == 0


def test_who_may_see_it(gate: Gateway) -> None:
    """Programs on this machine may; what came through a proxy or from a page needs a key; only GET is taken."""
    assert get(gate)[0] == 200
    assert get(gate, host="gateway.example")[0] in (401, 403)
    assert get(gate, **{"x-forwarded-for": "203.0.113.7"})[0] in (401, 403)
    key = gate.run("keys", "create", "--name", "prometheus", "--role", "viewer", "--quiet").strip()
    until = time.monotonic() + 60
    while get(gate, host="gateway.example", authorization=f"Bearer {key}")[0] != 200:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert get(gate)[0] == 200
    assert get(gate, host="gateway.example")[0] == 401
    assert get(gate, "POST")[0] == 405
