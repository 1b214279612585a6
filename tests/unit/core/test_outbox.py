"""What was posted in a tick goes out at its end, in order."""

from __future__ import annotations

import asyncio

import pytest

from headgate.core.outbox import Outbox


async def test_posts_of_a_tick_go_out_together_in_order() -> None:
    """Nothing is written at once; all of it at the end of the tick; what is posted meanwhile comes in the next."""
    outbox = Outbox(asyncio.get_running_loop())
    out: list[bytes] = []

    def put(data: bytes) -> None:
        out.append(data)
        if data == b"b":
            outbox.post(out.append, b"d")

    for data in (b"a", b"b", b"c"):
        outbox.post(put, data)
    assert out == []
    await asyncio.sleep(0)
    assert out == [b"a", b"b", b"c"]
    await asyncio.sleep(0)
    assert out == [b"a", b"b", b"c", b"d"]


async def test_one_failing_write_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A transport that raises is logged; what was posted behind it goes out all the same."""
    outbox = Outbox(asyncio.get_running_loop())
    out: list[bytes] = []

    def broken(data: bytes) -> None:
        raise RuntimeError("the handler is closed")

    outbox.post(broken, b"a")
    outbox.post(out.append, b"b")
    await asyncio.sleep(0)
    assert out == [b"b"]
    assert len(caplog.records) == 1
