"""Transports that are not needed any more go when the last call that may use them has ended, or when all ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headgate.transport import retire
from headgate.transport.retire import Retirement


class Closing:
    """A transport that counts how often it is closed."""

    def __init__(self) -> None:
        self.closed = 0

    async def send(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("nobody sends here")

    async def aclose(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retire, "PAUSE", 0.001)


async def test_closed_once_nobody_is_busy() -> None:
    """Not before; each on its own; no task is left."""
    retirement, first, second, calls = Retirement(), Closing(), Closing(), {"one"}
    retirement.add([first], lambda: bool(calls))
    retirement.add([second], lambda: False)
    retirement.add([], lambda: True)
    for _ in range(10):
        await asyncio.sleep(0.002)
    assert (first.closed, second.closed) == (0, 1)
    calls.clear()
    while not first.closed:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1
    await retirement.aclose()
    assert (first.closed, second.closed) == (1, 1)


async def test_at_the_end_all_are_closed() -> None:
    """Whoever is busy still."""
    retirement, transport = Retirement(), Closing()
    retirement.add([transport], lambda: True)
    await asyncio.sleep(0.005)
    await retirement.aclose()
    assert transport.closed == 1
    await retirement.aclose()
    assert (transport.closed, len(asyncio.all_tasks())) == (1, 1)
