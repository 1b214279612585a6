"""Whose a gateway is: one process's and one event loop's, and it says so to any other."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headgate.compose import Core


def check_process(pid: int) -> None:
    """Refuses to go on in a forked child with what its parent has opened: connections, loop and leases are not its own.

    Raises:
        RuntimeError: this is another process.
    """
    if os.getpid() != pid:
        raise RuntimeError(
            "this gateway was opened by the process that this one was forked from; make one in each process "
            "(in the function that a multiprocessing worker runs, or its initializer)"
        )


def check_loop(core: Core) -> None:
    """Refuses a call from another event loop than the one that connections, timers and leases stand on.

    Raises:
        RuntimeError: this is another loop.
    """
    if core.loop is not asyncio.get_running_loop():
        raise RuntimeError(
            "this gateway was opened on another event loop; make one gateway per loop, "
            "or use SyncGateway, which any thread may call"
        )
