"""Stores of millions of made-up calls, every one different, with the rollups that a recorder would have written.

Days are made by several processes, each into a file of its own: calls by ``rows.to_row``, rollups by ``rollups.Tally``.
The files are put together, indexed, and copied to a Postgres where one is wanted.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import pathlib
import random
import shutil
import sqlite3
import string
import time
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Engine, Table, insert, text

from headgate.core.clock import Ids
from headgate.core.price import Rates
from headgate.core.record import AttemptRecord, Record, sum_costs
from headgate.core.usage import Usage
from headgate.stores.data import DataDir
from headgate.stores.database import ensure_schema, open_engine
from headgate.stores.figures import Figures
from headgate.stores.rollups import DAY_NS, MINUTE_NS, Tally, open_shard
from headgate.stores.rows import COLUMNS, to_row
from headgate.stores.schema import calls, days, hours, minutes, rollup_shards, virtual_keys

USERS, KEYS, TEAMS, FEATURES, PROMPTS = 3000, 40, 8, 12, 20
MODELS = ("assistant", "assistant", "fast", "fast", "fast", "agent", "embed")
PLACES = {
    "assistant": ("openai/gpt-4.1", "anthropic/claude-sonnet-4-5"),
    "fast": ("openai/gpt-4.1-mini", "vllm/qwen3-8b"),
    "agent": ("anthropic/claude-sonnet-4-5", "openai/gpt-4.1"),
    "embed": ("openai/text-embedding-3-small", "vllm/bge-m3"),
}
_RATES = {"openai": Rates(2_000_000_000, 8_000_000_000), "anthropic": Rates(3_000_000_000, 15_000_000_000)}
_CHEAP = Rates(50_000_000, 100_000_000)
_DATED = {"openai": "-2025-04-14", "anthropic": "-20250929"}
"""What they call a model more than its name."""
_LETTERS = string.ascii_letters + string.digits
_FAULTS = (("failed", 502, "server_error"), ("failed", 504, "timeout"), ("failed", 429, "rate_limited"))
_COPIED = (calls, minutes, hours, days, rollup_shards)


class _Moment:
    """A clock that stands where the next call is."""

    now = 0

    def monotonic(self) -> float:
        return self.now / 1e9

    def time_ns(self) -> int:
        return self.now


def made(day: int, number: int, draw: random.Random) -> Iterator[Record]:
    """Yields calls of one day (since 1970), in order of their time: half of them at working hours."""
    clock = _Moment()
    ids = Ids(clock, draw.randbytes(8))
    spots = sorted(draw.random() if number % 2 else 0.33 + draw.random() * 0.4 for number in range(number))
    for at in spots:
        clock.now = int((day + at) * DAY_NS)
        yield _call(ids.new(), clock.now, draw)


def _call(id: str, time_ns: int, draw: random.Random) -> Record:
    some = draw.random
    model = MODELS[int(some() * len(MODELS))]
    chance = some()
    outcome, status, error = ("completed", 200, "")
    if chance < 0.012:
        outcome, status, error = _FAULTS[int(some() * 3)]
    elif chance < 0.02:
        outcome, status, error = "cancelled", 499, "client_closed"
    elif chance < 0.024:
        outcome, status, error = "refused", 402, "budget_exceeded"
    duration = int(draw.lognormvariate(14, 0.8))
    stream = model != "embed" and some() < 0.6
    usage = Usage(20 + int(some() * some() * 6000), 0 if model == "embed" else 1 + int(some() * some() * 900))
    attempts: list[AttemptRecord] = []
    if outcome != "refused":
        first, other = PLACES[model]
        if some() < 0.02:
            attempts = [_attempt(first, "failed", 503, "overloaded", 0, duration // 4, None, draw)]
            first = other
        begun = duration // 3
        attempts.append(_attempt(first, outcome, status, error, begun, duration, None if error else usage, draw))
    answered = outcome == "completed"
    finish = "" if not answered else "stop" if some() < 0.97 else "length"
    if answered:
        attempts[-1].finish = finish
    user, team = int(USERS * some() * some()), int(some() * TEAMS)
    return Record(
        id,
        time_ns,
        key_id=f"key_{int(KEYS * some()):012x}",
        key_name="service",
        user=f"user-{user:04d}",
        team=f"team-{team}",
        feature=f"feature-{int(FEATURES * some() * some())}",
        trace=f"{draw.getrandbits(128):032x}" if chance > 0.95 else "",
        dialect="embeddings" if model == "embed" else "openai_chat",
        model=model,
        stream=stream,
        outcome=outcome,
        status=status,
        error=error,
        finish=finish,
        wire_finish=finish,
        usage=usage if answered else None,
        attempts=attempts,
        winner=len(attempts) - 1 if answered else -1,
        first_content_us=duration // 3 if answered else -1,
        duration_us=duration if attempts else 300,
        request_bytes=1800,
        response_bytes=900,
        cost=sum_costs(attempts),
        prompt=f"prompt-{int(some() * PROMPTS)}@1" if some() < 0.3 else "",
    )


def _attempt(
    place: str,
    outcome: str,
    status: int,
    error: str,
    began: int,
    ended: int,
    usage: Usage | None,
    draw: random.Random,
) -> AttemptRecord:
    provider, _, model = place.partition("/")
    rates = _RATES.get(provider, _CHEAP)
    made = AttemptRecord(place, provider, model, 80, began, ended, outcome, status, error, sent=True)
    made.usage, made.rates, made.cost = usage, rates, 0 if usage is None else rates.cost(usage)
    made.max_tokens = 4096
    if usage is not None:
        made.upstream_model = model + _DATED.get(provider, "")
        if provider == "openai":
            made.upstream_id = f"req_{draw.getrandbits(128):032x}"
        elif provider == "anthropic":
            made.upstream_id = "req_011C" + "".join(draw.choices(_LETTERS, k=20))
    return made


def fill(folder: pathlib.Path, number: int, *, length: int, processes: int, until_ns: int | None = None) -> int:
    """Makes a SQLite store of about so many calls, and returns the time (ns) at which it ends.

    Args:
        folder: the data directory, new.
        number: how many calls.
        length: over how many days.
        processes: how many make them at once.
        until_ns: where the last day is cut; None for now. All days before it are folded.
    """
    end = (time.time_ns() if until_ns is None else until_ns) // MINUTE_NS * MINUTE_NS
    data = DataDir(folder)
    engine = data.open_engine()
    shard = open_shard(engine, data.owner)
    today = end // DAY_NS
    parts = folder / "parts"
    parts.mkdir()
    make = functools.partial(_make_part, parts, shard, number // length, end)
    file = sqlite3.connect(folder / "headgate.db", isolation_level=None)
    file.execute("PRAGMA synchronous=OFF")
    file.execute("PRAGMA cache_size=-1000000")
    for index in calls.indexes:
        file.execute(f"DROP INDEX {index.name}")
    names = ", ".join(COLUMNS)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for place in pool.imap(make, range(today - length + 1, today + 1)):
            file.execute("ATTACH ? AS part", (str(place),))
            file.execute("BEGIN")
            file.execute(f"INSERT INTO calls ({names}) SELECT {names} FROM part.calls ORDER BY rowid")
            for table in (minutes, hours, days):
                file.execute(f"INSERT INTO {table.name} SELECT * FROM part.{table.name}")
            file.execute("COMMIT")
            file.execute("DETACH part")
            place.unlink()
    parts.rmdir()
    file.close()
    with engine.begin() as connection:
        connection.execute(rollup_shards.update().values(folded=today))
        _name_keys(connection)
        for index in sorted(calls.indexes, key=lambda index: str(index.name)):
            index.create(connection)
    engine.dispose()
    return end


def _make_part(parts: pathlib.Path, shard: int, number: int, end: int, day: int) -> pathlib.Path:
    """Makes one day, in a process of its own: a file with the rows of every table."""
    place = parts / f"{day}.db"
    draw = random.Random(day)
    records = [record for record in made(day, number, draw) if record.time_ns < end]
    tally = Tally()
    tally.count(records)
    whole: dict[Any, Figures] = {}
    if day < end // DAY_NS:
        for (dimension, hour, value), figures in tally.hours.items():
            whole.setdefault((dimension, hour // 24, value), Figures()).merge(figures)
    file = sqlite3.connect(place, isolation_level=None)
    file.execute("PRAGMA journal_mode=OFF")
    file.execute("PRAGMA synchronous=OFF")
    file.execute("BEGIN")
    _write(file, "calls", list(COLUMNS), map(to_row, records))
    for table, deltas in ((minutes, tally.minutes), (hours, tally.hours), (days, whole)):
        rows = ((*key, shard, *figures.to_columns()) for key, figures in sorted(deltas.items()))
        _write(file, table.name, [column.name for column in table.columns], rows)
    file.execute("COMMIT")
    file.close()
    return place


def _write(file: sqlite3.Connection, table: str, names: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    file.execute(f"CREATE TABLE {table} ({', '.join(names)})")
    file.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})", rows)


def _name_keys(connection: Connection) -> None:
    """Half of the keys have names of their own; the others are ids that nobody knows any more."""
    plain = {"role": "viewer", "created_ns": 0, "user_id": "", "team": "", "feature": "", "direct": False}
    rows = [
        {"id": f"key_{number:012x}", "digest": bytes([number]) * 32, "name": f"service-{number}", "payloads": "none"}
        for number in range(0, KEYS, 2)
    ]
    connection.execute(insert(virtual_keys), [{**plain, **row} for row in rows])


def copy_to_postgres(source: pathlib.Path, url: str) -> None:
    """Copies calls and rollups of a SQLite store into an empty Postgres database, by COPY; then indexes them."""
    ensure_schema(url)
    engine = open_engine(url)
    file = sqlite3.connect(source / "headgate.db")
    with engine.begin() as connection:
        for index in calls.indexes:
            connection.execute(text(f"DROP INDEX {index.name}"))
        connection.execute(rollup_shards.delete())
        for table in _COPIED:
            _copy(file, connection, table)
        connection.execute(text("SELECT setval('calls_n_seq', (SELECT max(n) FROM calls))"))
        _name_keys(connection)
    file.close()
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
        for index in sorted(calls.indexes, key=lambda index: str(index.name)):
            index.create(connection)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def _copy(file: sqlite3.Connection, connection: Connection, table: Table) -> None:
    names = [column.name for column in table.columns]
    flags = [n for n, column in enumerate(table.columns) if str(column.type) == "BOOLEAN"]
    cursor: Any = connection.connection.cursor()
    with cursor.copy(f"COPY {table.name} ({', '.join(names)}) FROM STDIN") as copy:
        for row in file.execute(f"SELECT {', '.join(names)} FROM {table.name}"):
            if flags:
                row = list(row)
                for n in flags:
                    row[n] = bool(row[n])
            copy.write_row(row)
    cursor.close()


def drop_cache(engine: Engine, folder: pathlib.Path) -> None:
    """Forgets what the machine holds of these files in memory, so that the next look comes from the disk."""
    engine.dispose()
    for file in folder.rglob("*"):
        if file.is_file():
            fd = os.open(file, os.O_RDONLY)
            try:
                os.fdatasync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)


def remove(folder: pathlib.Path) -> None:
    """Removes a store that was begun and not finished."""
    shutil.rmtree(folder, ignore_errors=True)


def calibration() -> str:
    """How fast this machine is, and how busy, so that two runs can be compared."""
    began, used = time.monotonic(), time.process_time()
    sum(number * number for number in range(2_000_000))
    cpu, wall = time.process_time() - used, time.monotonic() - began
    return (
        f"a loop of two million squares took {cpu * 1000:.0f} ms of CPU in {wall * 1000:.0f} ms; "
        f"load average {os.getloadavg()[0]:.1f}"
    )
