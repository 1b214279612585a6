"""The payload store: kept as the policy says, redacted before SQL, deleted with what a search would find of it."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, func, insert, select, text

from headgate.core.clock import Ids
from headgate.core.record import AttemptRecord, Record
from headgate.stores.data import DataDir
from headgate.stores.database import open_engine, sqlite_url
from headgate.stores.journal.segments import list_segments
from headgate.stores.query import CallStore
from headgate.stores.recorder import Recorder
from headgate.stores.redaction import FILE, open_redactor
from headgate.stores.retention import Retention
from headgate.stores.schema import calls, payloads
from headgate.stores.sweep import sweep

IDS = Ids()
KEY = "sk-proj-A1b2C3d4E5f6G7h8I9j0K1l2"
DAY = 86_400 * 10**9


@pytest.fixture
def engine(data: DataDir) -> Iterator[Engine]:
    """The database, as a reader sees it."""
    engine = data.open_engine()
    yield engine
    engine.dispose()


def record(data: DataDir, *entries: tuple[str, str, str], **fields: object) -> list[str]:
    """Journals a call for each (request, response, policy) and has a recorder store them; returns their ids."""
    journal = data.open_journal()
    ids = []
    for request, response, policy in entries:
        one = Record(IDS.new(), time.time_ns(), payloads=policy, **fields)  # type: ignore[arg-type]
        journal.append_payload(one.id, request.encode(), response.encode(), policy)
        journal.append(one)
        ids.append(one.id)
    journal.close()
    recorder = Recorder(data)
    recorder.drain()
    recorder.close()
    return ids


def everything(data: DataDir, engine: Engine) -> str:
    """Returns all that tables and files of the data directory hold, as one text, compressed bodies opened."""
    found = []
    with engine.connect() as connection:
        for table in (calls, payloads):
            found += [repr(row) for row in connection.execute(select(table))]
        found += [repr(zlib.decompress(row.body)) for row in connection.execute(select(payloads.c.body))]
    found += [path.read_bytes().decode("latin-1") for path in data.path.rglob("*") if path.is_file()]
    return "\n".join(found)


def test_redacted_payloads_hold_no_secret(data: DataDir, engine: Engine) -> None:
    """The bodies are there with pseudonyms; no table and no file knows the secret, once the journal is stored."""
    (id,) = record(data, (json.dumps({"q": f"with {KEY}"}), f"a {KEY}", "redacted"))
    story = CallStore(engine).find(id)
    assert story is not None
    name = open_redactor(data.path).pseudonym("OPENAI_KEY", KEY)
    assert json.loads(story["request_body"]) == {"q": f"with {name}"}
    assert story["response_body"] == f"a {name}"
    assert story["payloads"] == "redacted"
    assert list_segments(data.journal_path) == []
    assert KEY not in everything(data, engine)


def test_full_payloads_stay_as_they_came(data: DataDir, engine: Engine) -> None:
    """Byte for byte; but what a search can find is redacted all the same."""
    (id,) = record(data, (f'{{ "q": "{KEY}" }}', "ok", "full"))
    found = CallStore(engine).payload(id)
    assert found is not None
    policy, body = found
    assert (policy, body.request) == ("full", f'{{ "q": "{KEY}" }}'.encode())
    assert KEY.lower() not in body.text


def test_records_hold_no_secret(data: DataDir, engine: Engine) -> None:
    """Names, tags and messages of a Record lose keys and tokens; messages and notes also what is personal."""
    attempt = AttemptRecord("up/m", "up", "m", 1, error_message=f"no: {KEY}, a@example.com", upstream_id=KEY)
    names = dict.fromkeys(("user", "team", "feature", "trace", "session", "model", "prompt", "key_name"), f"x {KEY}")
    fields = {**names, "tags": {KEY: KEY, "mail": "b@example.com"}, "notes": {"why": f"{KEY} c@example.com"}}
    (id,) = record(data, ("q", "a", "none"), attempts=[attempt], error_message=f"{KEY} d@example.com", **fields)
    name = open_redactor(data.path).pseudonym("OPENAI_KEY", KEY)
    told = everything(data, engine)
    assert KEY not in told
    for private in ("a@example.com", "c@example.com", "d@example.com"):
        assert private not in told
    story = CallStore(engine).find(id)
    assert story is not None
    assert story["user"] == f"x {name}"
    assert story["tags"] == {name: name, "mail": "b@example.com"}


def test_the_secret_behind_pseudonyms_is_private_and_stays(tmp_path: Path) -> None:
    """It is made once, readable by its owner alone; a directory's pseudonyms stay the same."""
    data = DataDir(tmp_path / "data")
    name = open_redactor(data.path).pseudonym("EMAIL", "a@example.com")
    assert (data.path / FILE).stat().st_mode & 0o777 == 0o600
    assert open_redactor(data.path).pseudonym("EMAIL", "a@example.com") == name
    assert open_redactor(DataDir(tmp_path / "other").path).pseudonym("EMAIL", "a@example.com") != name


def count_words(engine: Engine, word: str) -> int:
    """Returns how many payloads the search index knows a word of."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            query = text("SELECT count(*) FROM payload_words WHERE words @@ to_tsquery('simple', :word)")
        else:
            query = text("SELECT count(*) FROM payload_words WHERE payload_words MATCH :word")
        return int(connection.execute(query, {"word": word}).scalar_one())


def test_retention_takes_payloads_and_their_words(data: DataDir, engine: Engine) -> None:
    """By age, and by size the oldest first; what stays is still found."""
    ids = record(data, *((f"zebra {n}", "answer", "redacted") for n in range(4)))
    assert count_words(engine, "zebra") == 4
    with engine.begin() as connection:
        for n, id in enumerate(ids):
            connection.execute(payloads.update().where(payloads.c.call_id == id).values(stored_ns=n * DAY))
    sweep(engine, Retention(payload_days=2.5), 4 * DAY)
    assert count_words(engine, "zebra") == 2
    with engine.connect() as connection:
        most = int(connection.execute(select(func.max(payloads.c.stored))).scalar_one())
    sweep(engine, Retention(payload_bytes=most), 4 * DAY)
    with engine.connect() as connection:
        assert list(connection.execute(select(payloads.c.call_id)).scalars()) == [ids[3]]
        assert connection.execute(select(func.count()).select_from(calls)).scalar_one() == 4
    assert count_words(engine, "zebra") == 1


def test_a_file_shrinks_by_what_retention_takes(sqlite_data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page back to the file system, not one a sweep."""
    monkeypatch.setattr("headgate.stores.sweep.BATCH", 5)
    engine = sqlite_data.open_engine()
    record(sqlite_data, *((os.urandom(40_000).hex(), "answer", "full") for _ in range(5)))
    sweep(engine, Retention(payload_days=0), time.time_ns() + DAY)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA freelist_count").scalar_one() == 0
    engine.dispose()


def test_a_payload_that_is_there_stays_and_is_found_once(data: DataDir, engine: Engine) -> None:
    """The second of a call's payloads, from a journal that was copied, changes nothing."""
    journal = data.open_journal()
    for word in ("first", "second"):
        journal.append_payload("hg_1", word.encode(), b"", "redacted")
    journal.close()
    recorder = Recorder(data)
    recorder.drain()
    recorder.close()
    assert (count_words(engine, "first"), count_words(engine, "second")) == (1, 0)


def test_payloads_from_before_are_moved(tmp_path: Path) -> None:
    """A store of the release before keeps its payloads, whole."""
    from alembic import command
    from alembic.config import Config

    import headgate.stores.migrations as package

    data = DataDir(tmp_path / "data")
    engine = open_engine(sqlite_url(tmp_path / "data" / "headgate.db"))
    config = Config()
    config.set_main_option("script_location", str(Path(package.__file__).parent))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
        old = "INSERT INTO payloads (call_id, stored_ns, request, response) VALUES (?, ?, ?, ?)"
        connection.exec_driver_sql(old, [(f"hg_{n:04}", n, b"q%d" % n, b"\xff") for n in range(450)])
        connection.execute(insert(calls).values(_old_call()))
    engine.dispose()
    engine = data.open_engine()
    found = CallStore(engine).payload("hg_0449")
    assert found is not None
    policy, body = found
    assert (policy, body.request, body.response) == ("full", b"q449", b"\xff")
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(payloads)).scalar_one() == 450
    engine.dispose()


def _old_call() -> dict[str, object]:
    """A row of ``calls`` as that release wrote it."""
    detail = msgspec.msgpack.encode([1, "", "", "", "", "", None, [], -1, 0, 0, 0, [], "full", {}])
    return {
        **dict.fromkeys(("key_id", "dialect", "model", "outcome"), "x"),
        "id": "hg_0449",
        "time_ns": 1,
        "stream": False,
        "status": 200,
        "first_content_us": 0,
        "duration_us": 0,
        "detail": detail,
    }
