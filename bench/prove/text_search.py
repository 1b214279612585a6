#!/usr/bin/env python3
"""Measures search by words over a million calls with payloads, through the store's own search: FTS5 and Postgres.

Texts are drawn word by word from 30,000 words, the frequent ones as often as in a language; some words are planted in a
few calls only. Pages of fifty are asked for by words that are rare, common, together, in a row, begun, left out or
nowhere, with other filters and without, first pages and second ones.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "src"))

from harness import millions, report
from harness.kept_postgres import KeptPostgres
from sqlalchemy import Engine, text
from tests import postgres

from headgate.stores.data import DataDir
from headgate.stores.database import ensure_schema, open_engine, sqlite_url
from headgate.stores.payloads import Payload, PayloadWriter, pack, unpack
from headgate.stores.query import Filters
from headgate.stores.rollups import DAY_NS
from headgate.stores.rows import COLUMNS, to_row
from headgate.stores.search import TextStore

TITLE = "Search by words over a million calls"
BAR = 1000
LENGTH = 30
WORDS, SPOKEN = 30_000, 140
BATCH = 500
_HEAD = "abcdefghijklmnopqrstuvwxyz"


@functools.cache
def vocabulary() -> tuple[list[str], list[float]]:
    """The words, the most frequent first, and how frequent they and all before them are (after Zipf)."""
    draw = random.Random(3)
    words = list(dict.fromkeys("".join(draw.choices(_HEAD, k=draw.randrange(2, 11))) for _ in range(2 * WORDS)))[:WORDS]
    return words, list(itertools.accumulate(1 / (rank + 2.7) for rank in range(len(words))))


def planted(number: int) -> str:
    """A word that stands in about ``number`` of a million calls."""
    return f"planted{number}x"


PLANTED = (3, 30, 300, 3000)


def made_day(number: int, day: int) -> list[tuple[tuple[Any, ...], Payload]]:
    """Makes one day's calls as rows, with their payloads, in a process of its own."""
    draw = random.Random(day * 7)
    words, weights = vocabulary()
    found = []
    for record in millions.made(day, number, draw):
        said = draw.choices(words, cum_weights=weights, k=SPOKEN)
        said += [planted(often) for often in PLANTED if draw.random() < often / 1e6]
        ask, answer = " ".join(said[:60]), " ".join(said[60:])
        request = json.dumps({"model": record.model, "messages": [{"role": "user", "content": ask}]}).encode()
        response = json.dumps({"choices": [{"message": {"role": "assistant", "content": answer}}]}).encode()
        record.payloads = "redacted"
        found.append((to_row(record), pack(record.id, "redacted", request, response, f"{ask}\n{answer}")))
    return found


def fill(folder: pathlib.Path, number: int, processes: int) -> None:
    """Makes the SQLite store, payloads and words written by the store's own writer."""
    engine = DataDir(folder).open_engine()
    writer = PayloadWriter(engine)
    today = time.time_ns() // DAY_NS
    names, marks = ", ".join(COLUMNS), ", ".join("?" * len(COLUMNS))
    days = range(today - LENGTH, today)
    with multiprocessing.get_context("spawn").Pool(processes) as pool, engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA synchronous=OFF")
        connection.exec_driver_sql("PRAGMA cache_size=-500000")
        for day, found in zip(days, pool.imap(functools.partial(made_day, number // LENGTH), days), strict=True):
            connection.exec_driver_sql(f"INSERT INTO calls ({names}) VALUES ({marks})", [row for row, _ in found])
            for start in range(0, len(found), BATCH):
                items = [payload for _, payload in found[start : start + BATCH]]
                writer.run(connection, items, now_ns=day * DAY_NS + start * DAY_NS // len(found))
            connection.commit()
    engine.dispose()


def copy_to_postgres(folder: pathlib.Path, url: str) -> None:
    """Copies calls and payloads of the SQLite store, and has Postgres make the words' index."""
    millions.copy_to_postgres(folder, url)
    engine = open_engine(url)
    file = sqlite3.connect(folder / "headgate.db")
    columns = ("n", "call_id", "stored_ns", "policy", "size", "stored", "body")
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
        connection.execute(text("DROP INDEX payload_words_by_word"))
        connection.execute(text("CREATE TEMPORARY TABLE said (n bigint, said text)"))
        cursor: Any = connection.connection.cursor()
        with cursor.copy(f"COPY payloads ({', '.join(columns)}) FROM STDIN") as copy:
            for row in file.execute(f"SELECT {', '.join(columns)} FROM payloads ORDER BY n"):
                copy.write_row(row)
        with cursor.copy("COPY said FROM STDIN") as copy:
            for n, body in file.execute("SELECT n, body FROM payloads ORDER BY n"):
                copy.write_row((n, unpack(body).text))
        cursor.close()
        connection.execute(text("INSERT INTO payload_words SELECT n, to_tsvector('simple', said) FROM said"))
        connection.execute(text("CREATE INDEX payload_words_by_word ON payload_words USING gin (words)"))
        connection.execute(text("SELECT setval('payloads_n_seq', (SELECT max(n) FROM payloads))"))
    file.close()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def queries(draw: random.Random) -> Iterator[tuple[str, str]]:
    """Yields what is looked for: its kind, and the query."""
    words, _ = vocabulary()

    def common() -> str:
        return words[draw.randrange(3, 40)]

    def usual() -> str:
        return words[draw.randrange(200, 3000)]

    for often in PLANTED:
        yield f"a word in {often} of a million", planted(often)
    yield "a common word", common()
    yield "a usual word", usual()
    yield "a seldom word", words[draw.randrange(20_000, WORDS)]
    yield "two common words", f"{common()} {common()}"
    yield "a common and a planted word", f"{common()} {planted(30)}"
    yield "three usual words", f"{usual()} {usual()} {usual()}"
    yield "common words in a row", f'"{words[draw.randrange(6)]} {words[draw.randrange(6)]}"'
    yield "usual words in a row", f'"{common()} {usual()}"'
    yield "a common word without another", f"{common()} -{common()}"
    yield "a word's begin", f"{usual()[:3]}*"
    yield "a word that nobody said", "nobodysaidthis"
    yield "words in a row that nobody said", f'"{usual()} {usual()} {usual()}"'


def filters(draw: random.Random, end: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields what else must hold."""
    yield "", {}
    yield "of the last day", {"since_ns": end - DAY_NS}
    yield "of the last week", {"since_ns": end - 7 * DAY_NS}
    yield "of one user", {"user": f"user-{draw.randrange(millions.USERS):04d}"}
    yield "of one key", {"key": f"key_{draw.randrange(millions.KEYS):012x}"}
    yield "of one feature", {"feature": f"feature-{draw.randrange(millions.FEATURES)}"}
    yield "of one model", {"model": draw.choice(list(millions.PLACES))}
    yield "failed ones", {"status": 5}
    yield "of a key last week", {"key": f"key_{draw.randrange(millions.KEYS):012x}", "since_ns": end - 7 * DAY_NS}


def ask(engine: Engine, end: int, rounds: int) -> list[dict[str, Any]]:
    """Asks everything, with every filter; returns what each page took. The first round warms up."""
    draw = random.Random(23)
    store = TextStore(engine)
    found = []
    for number in range(rounds + 1):
        for kind, query in queries(draw):
            for shown, where in filters(draw, end):
                after = None
                for page in ("first", "second"):
                    began, used = time.monotonic(), time.process_time()
                    hits, after = store.page(query, Filters(**where), 50, after)
                    wall, cpu = (time.monotonic() - began) * 1000, (time.process_time() - used) * 1000
                    one = {"kind": kind, "filter": shown, "page": page, "hits": len(hits), "wall ms": wall}
                    if number:
                        found.append({**one, "cpu ms": cpu, "query": query})
                    if after is None:
                        break
    return found


def at(values: list[float], share: float) -> float:
    """The value below which so many lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(store: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns a row for each kind of query, without other filters and with, and one for all."""
    rows = []
    by_kind: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [("all", lambda _: True)]
    for kind in dict.fromkeys(one["kind"] for one in found):
        by_kind.append((kind, lambda one, kind=kind: one["kind"] == kind and not one["filter"]))  # type: ignore[misc]
        by_kind.append((f"{kind}, filtered", lambda one, kind=kind: one["kind"] == kind and one["filter"]))  # type: ignore[misc]
    for shown, fits in by_kind:
        mine = [one for one in found if fits(one)]
        walls = [one["wall ms"] for one in mine]
        rows.append(
            {
                "store": store,
                "query": shown,
                "pages": len(mine),
                "hits": statistics.median(one["hits"] for one in mine),
                "p50 ms": statistics.median(walls),
                "p95 ms": at(walls, 0.95),
                "slowest ms": max(walls),
                "CPU p95 ms": at([one["cpu ms"] for one in mine], 0.95),
            }
        )
    return rows


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="over 30,000 calls")
    parser.add_argument("--data", type=pathlib.Path, help="where the stores are, or are to be kept")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is asked, after a first time")
    parser.add_argument("--stores", default="sqlite,postgres", help="which of the two")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many make calls")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "text_search.json")
    args = parser.parse_args()
    asked = args.stores.split(",")
    if "postgres" in asked and postgres.why_not():
        print(postgres.why_not(), file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="headgate-bench-", dir="/tmp") as name:
        pathlib.Path(name).chmod(0o755)
        folder = args.data or pathlib.Path(name) / "data"
        if not (folder / "done").exists():
            millions.remove(folder)
            fill(folder, 30_000 if args.quick else args.calls, args.processes)
            (folder / "done").touch()
        before = millions.calibration()
        rows, details, stored = measure(folder, asked, args.rounds)
    held = []
    for row in rows:
        if row["query"] == "all":
            what = f"{row['store']}: a page of a search over {stored:,} calls, p95"
            held.append(report.bar(what, f"≤ {BAR} ms", f"{row['p95 ms']:.0f} ms", row["p95 ms"] <= BAR))
    about = (__doc__ or "").split("\n\n")[1].replace("\n", " ")
    about = f"{about} {stored:,} calls with payloads. Before: {before}; after: {millions.calibration()}."
    for row in rows:
        print("  ".join(f"{k}: {round(v, 1) if isinstance(v, float) else v}" for k, v in row.items()))
    return report.finish("text_search", TITLE, rows, held, args.output, about=about, details=slowest(details))


def measure(folder: pathlib.Path, stores: list[str], rounds: int) -> tuple[list[Any], list[Any], int]:
    """Asks each store; returns the table's rows, every page, and how many calls there are."""
    engine = open_engine(sqlite_url(folder / "headgate.db"))
    ensure_schema(sqlite_url(folder / "headgate.db"))
    with engine.connect() as connection:
        end, stored = connection.execute(text("SELECT max(time_ns), count(*) FROM calls")).one()
    rows, details = [], []
    if "sqlite" in stores:
        found = ask(engine, end, rounds)
        rows += table("SQLite", found)
        details += [{"store": "SQLite", **one} for one in found]
    engine.dispose()
    if "postgres" in stores:
        with KeptPostgres(folder.parent / f"{folder.name}-postgres") as server:
            mark = server.home / "database"
            if not mark.exists():
                server.execute("DROP DATABASE IF EXISTS calls")
                server.execute("CREATE DATABASE calls TEMPLATE template0")
                copy_to_postgres(folder, server.url("calls"))
                mark.write_text("calls")
            ensure_schema(server.url("calls"))
            engine = open_engine(server.url("calls"))
            found = ask(engine, end, rounds)
            engine.dispose()
        rows += table("Postgres", found)
        details += [{"store": "Postgres", **one} for one in found]
    return rows, details, stored


def slowest(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The slowest page of each kind of query and filter."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for one in details:
        key = (one["store"], one["kind"], one["filter"])
        if key not in found or found[key]["wall ms"] < one["wall ms"]:
            found[key] = one
    return list(found.values())


if __name__ == "__main__":
    sys.exit(main())
