"""What was posted in a tick goes out at its end, in order."""

from __future__ import annotations

import asyncio

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
