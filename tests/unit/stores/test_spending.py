"""Spend: added up exactly, by every group, each attempt charged to where it was made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from headgate.core.errors import BadRequest
from headgate.core.price import Rates
from headgate.core.record import AttemptRecord, Record, sum_costs
from headgate.core.usage import Usage
from headgate.stores.data import DataDir
from headgate.stores.ingest import Ingest
from headgate.stores.query import Filters
from headgate.stores.rows import COLUMNS, fit_row, to_row, to_story
from headgate.stores.spending import GROUPS, Spend, SpendStore, day_of

from .conftest import MakeRecord

DAY = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1e9)
NEXT = DAY + 86_400 * 10**9
Put = Callable[..., Record]


def tried(name: str, cost: int | None, usage: Usage | None = None, outcome: str = "completed") -> AttemptRecord:
    provider, _, model = name.partition("/")
    rates = Rates(1) if cost else None
    return AttemptRecord(name, provider, model, 0, outcome=outcome, usage=usage, cost=cost, rates=rates)


@pytest.fixture
def engine(data: DataDir) -> Iterator[Engine]:
    made = data.open_engine()
    yield made
    made.dispose()


@pytest.fixture
def put(engine: Engine, data: DataDir, make_record: MakeRecord) -> Put:
    """Stores a call with these attempts; the last one answered, unless ``winner`` says otherwise."""
    ingest = Ingest(engine, data.owner)

    def made(*attempts: AttemptRecord, **fields: object) -> Record:
        winner = fields.pop("winner", len(attempts) - 1)
        usage = fields.pop("usage", attempts[-1].usage if attempts else None)
        base = {"time_ns": DAY, "attempts": list(attempts), "winner": winner, "usage": usage}
        record = make_record(cost=sum_costs(attempts), **{**base, **fields})
        ingest.store([record], [], {}, lambda refused: pytest.fail(f"refused: {refused}"))
        return record

    return made


def groups(engine: Engine, by: str, **filters: object) -> dict[str, Spend]:
    rows = SpendStore(engine).by(by.split(","), Filters(**filters))  # type: ignore[arg-type]
    return {"/".join(row.group): row for row in rows}


def test_calls_are_added_up(engine: Engine, put: Put) -> None:
    """Calls, answers, tokens and cost; what failed is charged to the answers that came."""
    put(tried("a/m", 1_000, Usage(10, 5, cached=3)))
    put(tried("a/m", 500, Usage(10, 0), "failed"), outcome="failed", winner=-1, usage=None)
    put(tried("a/m", 0), outcome="failed", winner=-1)
    put(outcome="refused", winner=-1)
    (row,) = SpendStore(engine).by(["model"], Filters())
    assert row == Spend(("fast",), 4, 1, 10, 5, 3, 1_500, 0)
    assert row.per_success == 1_500
    assert Spend((), completed=3, cost=100).per_success == 33
    assert Spend((), completed=3, cost=200).per_success == 67
    assert Spend((), cost=5).per_success is None


def test_every_group_there_is(engine: Engine, put: Put) -> None:
    """Each group's values, empty where calls have none; several groups at once; filters."""
    put(tried("a/m", 7, Usage(1)), user="ann", team="red", feature="chat", prompt="greet@1")
    put(tried("b/m", 5, Usage(1)), user="bob", model="slow", key_id="key_2", time_ns=NEXT)
    seen = {name: {key: row.cost for key, row in groups(engine, name).items()} for name in GROUPS}
    assert seen == {
        "key": {"key_1": 7, "key_2": 5},
        "user": {"ann": 7, "bob": 5},
        "team": {"red": 7, "": 5},
        "feature": {"chat": 7, "": 5},
        "prompt": {"greet@1": 7, "": 5},
        "model": {"fast": 7, "slow": 5},
        "deployment": {"a/m": 7, "b/m": 5},
        "provider": {"a": 7, "b": 5},
        "day": {"2026-03-01": 7, "2026-03-02": 5},
    }
    assert list(groups(engine, "day,user")) == ["2026-03-01/ann", "2026-03-02/bob"]
    assert list(groups(engine, "user", since_ns=NEXT)) == ["bob"]
    assert list(groups(engine, "user", until_ns=NEXT, prompt="greet@1")) == ["ann"]
    with pytest.raises(BadRequest, match="unknown group 'colour'"):
        groups(engine, "colour")
    with pytest.raises(BadRequest, match="'model' stands twice"):
        groups(engine, "model,model")


def test_a_lost_attempt_is_charged_where_it_was_made(engine: Engine, put: Put) -> None:
    """A hedge or fallback that cost something stands with its own deployment and provider; the sum stays."""
    put(tried("a/m", 300, Usage(10), "cancelled"), tried("b/x", 700, Usage(10, 5)))
    put(tried("b/x", 100, Usage(1), "failed"), tried("b/x", 200, Usage(1)))
    put(tried("a/m", 40, Usage(1), "failed"), tried("c/y", 60, Usage(1), "failed"), winner=-1, outcome="failed")
    found = groups(engine, "deployment")
    assert {name: (row.calls, row.cost) for name, row in found.items()} == {
        "a/m": (0, 340),
        "b/x": (2, 1_000),
        "c/y": (1, 60),
    }
    assert {name: row.cost for name, row in groups(engine, "provider").items()} == {"a": 340, "b": 1_000, "c": 60}
    by_both = {name: row.cost for name, row in groups(engine, "model,deployment").items()}
    assert by_both == {"fast/a/m": 340, "fast/b/x": 1_000, "fast/c/y": 60}
    assert groups(engine, "model")["fast"].cost == 1_400


def test_what_has_no_price_is_named(engine: Engine, put: Put) -> None:
    """Calls with something unpriced are counted as such, by deployment; refused and free ones are not."""
    put(tried("a/m", None, Usage(10)))
    put(tried("a/m", None, Usage(10), "failed"), tried("b/x", 5, Usage(1)))
    put(tried("b/x", None), outcome="failed", winner=-1)
    put(outcome="refused", winner=-1)
    (row,) = SpendStore(engine).by(["model"], Filters())
    assert (row.calls, row.unpriced, row.cost) == (4, 2, 5)
    assert SpendStore(engine).unpriced(Filters()) == [("a/m", 1), ("b/x", 1)]


def test_counted_tokens_are_nobodys_bill(engine: Engine, put: Put) -> None:
    """Counting tokens is a call, but its count is no usage."""
    put(tried("a/m", 0, Usage(5_000)), dialect="count_tokens")
    (row,) = SpendStore(engine).by(["model"], Filters())
    assert (row.calls, row.input_tokens, row.unpriced) == (1, 0, 0)


def test_large_sums_stay_exact(engine: Engine, put: Put) -> None:
    """A million dollars and a nano-dollar are added without rounding."""
    put(tried("a/m", 10**15, Usage(1)))
    put(tried("a/m", 1, Usage(1)))
    assert groups(engine, "model")["fast"].cost == 10**15 + 1


def test_the_ledger_has_every_billed_attempt(engine: Engine, put: Put) -> None:
    """Single answers are summed in SQL by day and deployment; calls with more give each attempt."""
    put(tried("a/m", 7, Usage(10, 2)))
    put(tried("a/m", 8, Usage(10, 2)))
    put(tried("a/m", 3, Usage(5), "failed"), tried("b/x", 4, Usage(6)))
    put(tried("c/y", None, Usage(9), "failed"), winner=-1, usage=None, outcome="failed")
    store = SpendStore(engine)
    ((day, name, sums),) = store.single(Filters())
    assert (day_of(day), name, sums.calls, sums.input_tokens, sums.cost) == ("2026-03-01", "a/m", 2, 20, 15)
    assert sorted((attempt.deployment, attempt.cost) for _, attempt in store.attempts(Filters()) if attempt.cost) == [
        ("a/m", 3),
        ("b/x", 4),
    ]
    assert [attempt.deployment for _, attempt in store.attempts(Filters()) if attempt.unpriced] == ["c/y"]


def test_a_row_tells_its_money(put: Put) -> None:
    """Cost, what of it was lost, what is unpriced and the prompt come back in the story; columns never overflow."""
    record = put(tried("a/m", 3, Usage(5), "failed"), tried("b/x", None, Usage(6)), prompt="p")
    story = to_story(dict(zip(COLUMNS, to_row(record), strict=True)))
    assert (story["cost"], story["lost_cost"], story["unpriced"], story["prompt"]) == (3, 3, 1, "p")
    assert story["attempts"][0]["rates"]["input"] == 1
    assert [(attempt["provider"], attempt["model"]) for attempt in story["attempts"]] == [("a", "m"), ("b", "x")]
    assert story["usage"]["input"] == 6
    record.cost = 1 << 70
    assert dict(zip(COLUMNS, fit_row(to_row(record)), strict=True))["cost"] == (1 << 63) - 1
