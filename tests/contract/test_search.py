"""Text search: the same words find the same calls on every store, newest first, page by page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from headgate.core.clock import Ids
from headgate.core.errors import BadRequest
from headgate.core.record import Record
from headgate.stores import search
from headgate.stores.data import DataDir
from headgate.stores.query import Filters
from headgate.stores.recorder import Recorder
from headgate.stores.redaction import open_redactor
from headgate.stores.search import TextStore

IDS = Ids()
SAID = {
    "plain": ("The quick brown fox", "jumps over the lazy dog"),
    "accents": ("Où est le café?", "Straße, ÉCOLE"),
    "mail": ("Write to Alice@Example.com", "sent"),
    "code": ("def read_file(path): pass", "snake_case and kebab-case"),
    "fox": ("fox and fox and hound", "foxes"),
}


@pytest.fixture
def engine(data: DataDir) -> Iterator[Engine]:
    """The database, as a reader sees it."""
    engine = data.open_engine()
    yield engine
    engine.dispose()


@pytest.fixture
def ids(data: DataDir) -> dict[str, str]:
    """Ids of stored calls by name, the last of ``SAID`` being the newest; each of a user of that name."""
    journal = data.open_journal()
    made = {}
    for name, (asked, answered) in SAID.items():
        one = Record(IDS.new(), time.time_ns(), user=name, model="m", payloads="redacted")
        body = {"model": "zebra", "messages": [{"role": "user", "content": asked}]}
        answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": answered}}]}
        journal.append_payload(one.id, json.dumps(body).encode(), json.dumps(answer).encode(), "redacted")
        journal.append(one)
        made[name] = one.id
    journal.append(Record(IDS.new(), time.time_ns(), user="plain", model="m"))
    journal.close()
    recorder = Recorder(data)
    recorder.drain()
    recorder.close()
    return made


FOUND = [
    ("fox", ["fox", "plain"]),
    ("FOX brown", ["plain"]),
    ('"brown fox"', ["plain"]),
    ('"fox brown"', []),
    ('"fox jumps"', ["plain"]),
    ("fox*", ["fox", "plain"]),
    ("foxe*", ["fox"]),
    ("fox -brown", ["fox"]),
    ('fox -"brown fox"', ["fox"]),
    ("café", ["accents"]),
    ("école straße", ["accents"]),
    ("read_file", ["code"]),
    ("kebab case", ["code"]),
    ("zebra", []),
    ("it's", []),
    ("\" OR 1=1 ' & | !(", []),
]


@pytest.mark.parametrize("few", [search.FEW, 0])
def test_words_find_calls(data: DataDir, engine: Engine, ids: dict[str, str], few: int) -> None:
    """Words, phrases, beginnings and what must not be there; by the index, and one by one where others filter."""
    store = TextStore(engine)
    names = {id: name for name, id in ids.items()}
    for query, wanted in FOUND:
        for filters in (Filters(), Filters(model="m")):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(search, "FEW", few)
                stories, following = store.page(query, filters, 10)
            assert ([names[story["id"]] for story in stories], following) == (wanted, None), query


def test_what_is_private_is_found_by_itself(data: DataDir, engine: Engine, ids: dict[str, str]) -> None:
    """Who knows an address finds the calls that held it; what the store holds is its pseudonym."""
    query = open_redactor(data.path).text("alice@example.com")
    assert [story["id"] for story in TextStore(engine).page(query, Filters(), 10)[0]] == [ids["mail"]]
    assert TextStore(engine).page("alice", Filters(), 10)[0] == []


def test_other_filters_hold_too(data: DataDir, engine: Engine, ids: dict[str, str]) -> None:
    """A user, and times."""
    store = TextStore(engine)
    assert [story["id"] for story in store.page("fox", Filters(user="plain"), 10)[0]] == [ids["plain"]]
    assert store.page("fox", Filters(since_ns=time.time_ns()), 10)[0] == []
    assert store.page("fox", Filters(until_ns=1), 10)[0] == []
    assert len(store.page("fox", Filters(since_ns=1), 10)[0]) == 2


@pytest.mark.parametrize("few", [search.FEW, 0])
def test_pages_go_on_where_one_ended(data: DataDir, engine: Engine, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Each call once, whatever the page's size, also where the index is asked in pieces."""
    monkeypatch.setattr(search, "FEW", few)
    monkeypatch.setattr(search, "_FIRST", 3)
    monkeypatch.setattr(search, "_MORE", 2)
    journal = data.open_journal()
    made = []
    for number in range(11):
        one = Record(IDS.new(), time.time_ns(), model="m" if number % 3 else "other")
        journal.append_payload(one.id, b"walrus", b"", "redacted")
        journal.append(one)
        made.append(one)
    journal.close()
    recorder = Recorder(data)
    recorder.drain()
    recorder.close()
    wanted = [one.id for one in reversed(made) if one.model == "m"]
    store = TextStore(engine)
    assert [story["id"] for story in store.newest_first("walrus", Filters(model="m"))] == wanted
    pages, cursor = [], None
    for _ in range(20):
        stories, cursor = store.page("walrus", Filters(model="m"), 2, cursor)
        pages += [story["id"] for story in stories]
        if cursor is None:
            break
    assert pages == wanted


@pytest.mark.parametrize("query", ["", "  ", "-fox", "?!", "a " * 21])
def test_a_search_without_words_is_refused(query: str) -> None:
    """It says what a search wants."""
    with pytest.raises(BadRequest, match="1 to 20 words"):
        search.parse_terms(query)
