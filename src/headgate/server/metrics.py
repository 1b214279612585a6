"""``GET /metrics``: the page that the recorder writes, open on loopback, elsewhere for those with a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from headgate.core.errors import Forbidden
from headgate.observe.metrics.duty import FILE, MetricsDuty
from headgate.observe.metrics.text import CONTENT_TYPE
from headgate.pipeline.auth import admit, check_local
from headgate.server.caller import Caller

if TYPE_CHECKING:
    from headgate.compose import Core
    from headgate.stores.data import DataDir

_HEAD = f"content-type: {CONTENT_TYPE}\r\ncache-control: no-store\r\n".encode()


async def serve_metrics(caller: Caller, core: Core, *, keyless: bool, open_to: str) -> None:
    """Answers one request.

    Args:
        caller: who asks.
        core: the gateway as it is now.
        keyless: whether keyless mode may exist here.
        open_to: the setting ``server.metrics``.

    Raises:
        Unauthenticated: not from this machine, and no valid key.
    """
    if open_to != "all":
        _let_in(caller.headers, caller.peer, core, keyless=keyless, loopback=open_to == "loopback")
    data = core.data
    page = b"" if data is None else _read(data)
    await caller.whole(200, _HEAD, page)


def _let_in(headers: Mapping[bytes, bytes], peer: str, core: Core, *, keyless: bool, loopback: bool) -> None:
    if loopback:
        try:
            return check_local(headers, peer)
        except Forbidden:
            pass  # from elsewhere: then with a key
    admit(headers, peer, core.keys, keyless, core.proxies)
    return None


def _read(data: DataDir) -> bytes:
    try:
        return (data.path / FILE).read_bytes()
    except FileNotFoundError:
        # No recorder has been here yet: the page that it will begin with.
        return MetricsDuty(data).page().encode()
