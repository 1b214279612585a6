#!/usr/bin/env python3
"""Measures questions about ten million calls of ninety days, on SQLite and Postgres: sums, groups, pages, and the disk.

A store is made once (``--data`` keeps it): every call is different, rollups are what the recorder's own ``Tally`` makes
of them. Then questions of each family are asked, each with a stretch, value and cursor drawn anew, beginning anywhere
within a minute: once with the files in memory as far as the machine holds them, and some right after the machine has
been made to forget them (and Postgres was started anew). p95 is over all questions of a family.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import pathlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "src"))

from harness import millions, report
from harness.kept_postgres import KeptPostgres
from sqlalchemy import Engine, text
from tests import postgres

from headgate.stores.database import ensure_schema, open_engine, sqlite_url
from headgate.stores.query import CallStore, Filters
from headgate.stores.rollups import DAY_NS, HOUR_NS, MINUTE_NS
from headgate.stores.spending import SpendStore
from headgate.stores.stats import StatsStore

TITLE = "Ten million calls: overview, spend, pages, disk"
LENGTH = 90
SUMS_BAR, PAGES_BAR, DISK_BAR = 200, 300, 600
RANGES = {"1 h": HOUR_NS, "24 h": DAY_NS, "7 d": 7 * DAY_NS, "30 d": 30 * DAY_NS, "90 d": 90 * DAY_NS}
STEPS = {"1 h": MINUTE_NS, "24 h": 15 * MINUTE_NS, "7 d": 2 * HOUR_NS, "30 d": 12 * HOUR_NS, "90 d": DAY_NS}
BARS = {"overview": SUMS_BAR, "spend": SUMS_BAR, "pages": PAGES_BAR}
GROUPS = ("key", "user", "team", "feature", "prompt", "model", "deployment")


class Question(NamedTuple):
    """One question: what family it is of, what it is called, how it is asked."""

    family: str
    name: str
    ask: Callable[[], object]


class Asker:
    """Draws questions about a store.

    Args:
        engine: the store's.
        end: when its last call was, in ns since 1970: the questions' now.
        draw: where chance comes from.
    """

    def __init__(self, engine: Engine, end: int, draw: random.Random) -> None:
        self.end = end
        self.draw = draw
        self.stats = StatsStore(engine, time_ns=lambda: end)
        self.spends = SpendStore(engine, time_ns=lambda: end)
        self.calls = CallStore(engine)

    def value(self, name: str) -> str:
        """A value of a dimension; frequent and rare ones alike."""
        draw = self.draw
        if name == "key":
            number = draw.randrange(millions.KEYS)
            return f"service-{number}" if number % 2 == 0 and draw.random() < 0.5 else f"key_{number:012x}"
        model = draw.choice(list(millions.PLACES))
        return {
            "user": f"user-{draw.randrange(millions.USERS):04d}",
            "team": f"team-{draw.randrange(millions.TEAMS)}",
            "feature": f"feature-{draw.randrange(millions.FEATURES)}",
            "prompt": f"prompt-{draw.randrange(millions.PROMPTS)}@1",
            "model": model,
            "deployment": draw.choice(millions.PLACES[model]),
        }[name]

    def stretch(self, length: int) -> dict[str, Any]:
        """A stretch of about that length: until now, or one that ended before."""
        began = self.end - length - int(self.draw.random() * MINUTE_NS)
        if self.draw.random() < 0.7:
            return {"since_ns": began, "until_ns": None}
        back = int(self.draw.random() * min(length, 10 * DAY_NS))
        return {"since_ns": max(began - back, self.end - LENGTH * DAY_NS), "until_ns": self.end - back}

    def filters(self, range: str, only: str = "") -> Filters:
        """A stretch of about that length, of one value of a dimension where one is named."""
        asked: dict[str, Any] = self.stretch(RANGES[range])
        if only:
            asked[only] = self.value(only)
        return Filters(**asked)

    def overview(self) -> Iterator[Question]:
        """What the first page of the console and ``headgate stats`` ask."""
        for name in RANGES:
            yield from self._overview(name, STEPS[name])

    def _overview(self, name: str, step: int) -> Iterator[Question]:
        def question(what: str, ask: Callable[[], object]) -> Question:
            return Question("overview", f"{what}, {name}", ask)

        stats, filters = self.stats, self.filters
        yield question("total", lambda: stats.total(filters(name)))
        yield question("series", lambda: stats.series(filters(name), step))
        for group in GROUPS:
            order = self.draw.choice(("calls", "cost"))
            yield question(f"total of one {group}", lambda g=group: stats.total(filters(name, g)))
            yield question(f"top by {group}", lambda g=group, o=order: stats.top(g, filters(name), 10, o))
            yield question(f"movers by {group}", lambda g=group: stats.movers(g, filters(name)))
        one = self.draw.choice(GROUPS)
        wide = step if one in ("model", "deployment") else max(step, HOUR_NS)
        yield question(f"series of one {one}", lambda: stats.series(filters(name, one), wide))

    def spend(self) -> Iterator[Question]:
        """What ``headgate spend`` and the console's page of spend ask."""
        for name in RANGES:
            yield from self._spend(name)

    def _spend(self, name: str) -> Iterator[Question]:
        by, filters = self.spends.by, self.filters
        for group in (*GROUPS, "provider", "day"):
            yield Question("spend", f"by {group}, {name}", lambda g=group: by([g], filters(name)))
        for group in ("feature", "model", "team"):
            yield Question("spend", f"by day, {group}, {name}", lambda g=group: by(["day", g], filters(name)))
        for group in GROUPS[:-1]:
            yield Question("spend", f"of one {group} by day, {name}", lambda g=group: by(["day"], filters(name, g)))

    def pages(self) -> Iterator[Question]:
        """Pages of fifty calls, the newest first: the first ones, and some further on."""
        for only in ("", "key", "user", "model", "feature", "status", "deployment", "key status", "user model"):
            for length in (None, DAY_NS, 30 * DAY_NS):
                asked: dict[str, Any] = {} if length is None else self.stretch(length)
                for name in only.split():
                    asked[name] = self.draw.choice((5, 4, 502, 429, 404)) if name == "status" else self.value(name)
                filters = Filters(**asked)
                shown = ", ".join(only.split()) or "none"
                yield Question("pages", f"filter {shown}", lambda f=filters: self._walk(f))

    def _walk(self, filters: Filters) -> list[float]:
        """Takes the first page and two more; returns what each took."""
        took, after = [], None
        for _ in range(3):
            began = time.monotonic()
            _, after = self.calls.page(filters, 50, after)
            took.append((time.monotonic() - began) * 1000)
            if after is None:
                break
        return took

    def crossed(self) -> Iterator[Question]:
        """Sums that cross dimensions, which read calls: no bar."""
        for name in ("24 h", "7 d", "30 d"):
            for group, only in (("model", "user"), ("feature", "user"), ("user", "key"), ("model", "feature")):
                asked = self.filters(name, only)
                shown = f"by {group} of one {only}, {name}"
                yield Question("crossed", shown, lambda g=group, f=asked: self.spends.by([g], f))

    def all(self) -> Iterator[Question]:
        """Every question once."""
        for family in (self.overview, self.spend, self.pages, self.crossed):
            yield from family()


def timed(question: Question) -> list[tuple[float, float]]:
    """Asks, and returns wall and this process' CPU time, in ms, of each part of the question."""
    began, used = time.monotonic(), time.process_time()
    parts = question.ask()
    wall, cpu = (time.monotonic() - began) * 1000, (time.process_time() - used) * 1000
    if question.family == "pages":
        assert isinstance(parts, list)
        return [(part, cpu / len(parts)) for part in parts]
    return [(wall, cpu)]


def at(values: list[float], share: float) -> float:
    """The value below which so many lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def run(
    store: str, asker: Callable[[], Asker], rounds: int, forget: Callable[[], None], cold: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Asks everything; returns the table's rows and every question's times."""
    details: list[dict[str, Any]] = []
    for temperature, times in (("warm", rounds + 1), ("cold", 1)):
        for number in range(times):
            questions = list(asker().all())
            if temperature == "cold":
                questions = [one for n, one in enumerate(questions) if n % max(1, len(questions) // cold) == 0]
            for question in questions:
                if temperature == "cold":
                    forget()
                    question = next(one for one in asker().all() if one.name == question.name)
                gc.collect()
                for wall, cpu in timed(question):
                    if temperature == "cold" or number:  # the first round warms up
                        details.append(
                            {"store": store, "files": temperature, **question._asdict(), "wall ms": wall, "cpu ms": cpu}
                        )
    for one in details:
        del one["ask"]
    rows = []
    for temperature in ("warm", "cold"):
        for family in (*BARS, "crossed"):
            found = [one for one in details if one["family"] == family and one["files"] == temperature]
            if found:
                walls, cpus = ([one[name] for one in found] for name in ("wall ms", "cpu ms"))
                slowest = max(found, key=lambda one: one["wall ms"])
                rows.append(
                    {
                        "store": store,
                        "questions": family,
                        "files": temperature,
                        "asked": len(found),
                        "p50 ms": statistics.median(walls),
                        "p95 ms": at(walls, 0.95),
                        "CPU p95 ms": at(cpus, 0.95),
                        "slowest ms": slowest["wall ms"],
                        "which": slowest["name"],
                    }
                )
    return rows, details


def prepared(folder: pathlib.Path, number: int, processes: int) -> int:
    """Makes the SQLite store if it is not there; returns when its last call was (ns)."""
    mark = folder / "end"
    if not mark.exists():
        millions.remove(folder)
        began = time.monotonic()
        end = millions.fill(folder, number, length=LENGTH, processes=processes)
        mark.write_text(str(end))
        print(f"SQLite filled in {time.monotonic() - began:.0f} s", file=sys.stderr)
    ensure_schema(sqlite_url(folder / "headgate.db"))
    return int(mark.read_text())


@contextlib.contextmanager
def served(folder: pathlib.Path) -> Iterator[tuple[KeptPostgres, str]]:
    """A Postgres with the same calls, filled at first; yields it and the database's URL."""
    home = folder.parent / f"{folder.name}-postgres"
    with KeptPostgres(home) as server:
        mark = home / "database"
        if not mark.exists():
            began = time.monotonic()
            server.execute("DROP DATABASE IF EXISTS calls")
            server.execute("CREATE DATABASE calls TEMPLATE template0")
            millions.copy_to_postgres(folder, server.url("calls"))
            mark.write_text("calls")
            print(f"Postgres filled in {time.monotonic() - began:.0f} s", file=sys.stderr)
        ensure_schema(server.url("calls"))
        yield server, server.url("calls")


def on_sqlite(folder: pathlib.Path, end: int, rounds: int, cold: int) -> tuple[Any, Any, int]:
    """Returns rows, details and bytes of the SQLite store."""
    url = sqlite_url(folder / "headgate.db")
    engines = [open_engine(url)]
    draw = random.Random(17)

    def forget() -> None:
        millions.drop_cache(engines[0], folder)

    rows, details = run("SQLite", lambda: Asker(engines[0], end, draw), rounds, forget, cold)
    with engines[0].connect() as connection:
        pages, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size")
        )
    engines[0].dispose()
    return rows, details, int(pages) * int(size)


def on_postgres(folder: pathlib.Path, end: int, rounds: int, cold: int) -> tuple[Any, Any, int]:
    """Returns rows, details and bytes of the Postgres store."""
    draw = random.Random(17)
    with served(folder) as (server, url):
        engines = [open_engine(url)]

        def forget() -> None:
            engines[0].dispose()
            server.stop()
            millions.drop_cache(engines[0], server.home)
            server.start()
            engines[0] = open_engine(server.url("calls"))
            with engines[0].connect():
                pass

        rows, details = run("Postgres", lambda: Asker(engines[0], end, draw), rounds, forget, cold)
        with engines[0].connect() as connection:
            size = connection.execute(text("SELECT pg_database_size('calls')")).scalar_one()
        engines[0].dispose()
    return rows, details, int(size)


def bars(rows: list[dict[str, Any]], sizes: dict[str, float]) -> list[dict[str, Any]]:
    """Returns what must hold."""
    found = []
    for row in rows:
        limit = BARS.get(row["questions"])
        if limit is not None and row["files"] == "warm":
            what = f"{row['store']}: {row['questions']}, p95"
            found.append(report.bar(what, f"≤ {limit} ms", f"{row['p95 ms']:.0f} ms", row["p95 ms"] <= limit))
    for store, size in sizes.items():
        what = f"{store}: on disk per call, indexes and rollups included"
        found.append(report.bar(what, f"≤ {DISK_BAR} bytes", f"{size:.0f} bytes", size <= DISK_BAR))
    return found


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--quick", action="store_true", help="over 200,000 calls")
    parser.add_argument("--data", type=pathlib.Path, help="where the stores are, or are to be kept")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is asked, after a first time")
    parser.add_argument("--cold", type=int, default=40, help="how many questions are asked of the disk")
    parser.add_argument("--stores", default="sqlite,postgres", help="which of the two")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many make calls")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "ten_million.json")
    args = parser.parse_args()
    number = 200_000 if args.quick else args.calls
    asked = args.stores.split(",")
    if "postgres" in asked and postgres.why_not():
        print(postgres.why_not(), file=sys.stderr)
        return 2
    rows: list[dict[str, Any]] = []
    details: list[dict[str, Any]] = []
    sizes: dict[str, float] = {}
    # Not below TMPDIR: root's may lie where the user postgres can not go.
    with tempfile.TemporaryDirectory(prefix="headgate-bench-", dir="/tmp") as name:
        pathlib.Path(name).chmod(0o755)
        folder = args.data or pathlib.Path(name) / "data"
        end = prepared(folder, number, args.processes)
        before = millions.calibration()
        stored = 0
        for store, measure in (("sqlite", on_sqlite), ("postgres", on_postgres)):
            if store in asked:
                more, every, size = measure(folder, end, args.rounds, args.cold)
                rows += more
                details += every
                stored = stored or _count(folder)
                sizes[more[0]["store"]] = size / stored
    held = bars(rows, sizes)
    about = (
        f"{(__doc__ or '').split(chr(10) * 2)[1]} {stored:,} calls of {millions.USERS:,} users, {millions.KEYS} keys, "
        f"{len(millions.PLACES)} models. Sums that cross dimensions read calls and have no bar. "
        f"Before: {before}; after: {millions.calibration()}."
    )
    for row in rows:
        print("  ".join(f"{k}: {round(v, 1) if isinstance(v, float) else v}" for k, v in row.items()))
    about = about.replace("\n", " ")
    return report.finish("ten_million", TITLE, rows, held, args.output, about=about, details=_short(details))


def _count(folder: pathlib.Path) -> int:
    engine = open_engine(sqlite_url(folder / "headgate.db"))
    with engine.connect() as connection:
        number = connection.execute(text("SELECT count(*) FROM calls")).scalar_one()
    engine.dispose()
    return int(number)


def _short(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The slowest time of each question."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for one in details:
        key = (one["store"], one["files"], one["name"])
        if key not in found or found[key]["wall ms"] < one["wall ms"]:
            found[key] = one
    return list(found.values())


if __name__ == "__main__":
    sys.exit(main())
