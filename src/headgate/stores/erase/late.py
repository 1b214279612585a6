"""What a recorder does, once a minute, for erasures of before: names that came in late, words of what it dropped."""

from __future__ import annotations

from sqlalchemy import Engine, select

from headgate.stores.erase import space
from headgate.stores.erase.erasures import Erasures, forget_old, hold_off
from headgate.stores.leases.closing import ERASED, erase_windows
from headgate.stores.schema import lease_windows

RECENT_NS = 15 * 60 * 10**9
"""For so long after an erase a worker may still open a window for a call that began before it."""


def follow_up(engine: Engine, now_ns: int) -> None:
    """Takes names off windows that were opened late, overwrites what late calls left, forgets old erasures."""
    erasures = Erasures(engine)
    erasures.look()
    w = lease_windows.c
    named = (w.scope == "user") & w.member.not_in(["", ERASED]) & (w.start_ns <= erasures.newest)
    with engine.begin() as connection:
        hold_off(connection)
        forget_old(connection, now_ns)
        if erasures.newest > now_ns - RECENT_NS:
            members = set(connection.execute(select(w.member).where(named).distinct()).scalars())
            for member, until_ns in erasures.until(connection, members).items():
                erase_windows(connection, member, until_ns)
    if space.is_pending(engine):
        space.overwrite(engine, patience=0.0)
