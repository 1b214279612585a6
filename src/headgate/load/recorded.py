"""What a load test takes from a data directory, and leaves in it: recorded arrivals, costs, the gateway's own share."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Engine

from headgate.core.errors import BadRequest
from headgate.core.record import LOAD_TAG
from headgate.load.arrivals import Arrival, Arrivals
from headgate.load.own import NOTHING, Recorded, own_share
from headgate.load.tally import Timed
from headgate.stores import traffic
from headgate.stores.query import CallStore, Filters
from headgate.stores.spending import SpendStore

MOST_READ = 100_000
"""Records that are looked at for the own share."""


def read_records(engine: Engine, since_ns: int, until_ns: int) -> Arrivals:
    """Returns the conversations that were recorded in that time, as arrivals.

    Raises:
        BadRequest: there are none.
    """
    calls, first, last = traffic.measure(engine, since_ns, until_ns)
    if not calls:
        raise BadRequest("no conversation was recorded in that time; see: headgate records")

    def read() -> Iterator[Arrival]:
        for time_ns, given, made, stream, model in traffic.read(engine, since_ns, until_ns):
            yield Arrival((time_ns - first) / 1e9, given, made, stream, model)

    return Arrivals("recorded traffic", calls, (last - first) / 1e9, read)


def look_up(engine: Engine, run: str, since_ns: int, timed: dict[str, Timed]) -> Recorded:
    """Returns what the gateway's records say of a run.

    Args:
        engine: the store, up to date.
        run: the run's tag.
        since_ns: when it began.
        timed: its calls that the load remembers.
    """
    filters = Filters(since_ns=since_ns, tags={LOAD_TAG: run})
    sums = SpendStore(engine).by((), filters)
    if not sums or not sums[0].calls:
        return NOTHING
    stories = CallStore(engine).newest_first(filters, MOST_READ)
    priced = sums[0].unpriced < sums[0].calls
    return Recorded(sums[0].cost if priced else None, sums[0].unpriced, own_share(stories, timed))
