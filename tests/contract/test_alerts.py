"""Alerts in the store, on SQLite and Postgres: made once, delivered at least once, not repeated."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, delete

from headgate.core.alert import AlertEvent, AlertPlan, AlertRule, Receiver
from headgate.core.clock import Ids
from headgate.core.errors import BadRequest
from headgate.core.feedback import Feedback
from headgate.core.record import AttemptRecord, Record
from headgate.core.rule import LimitRule
from headgate.core.usage import Usage
from headgate.observe.alerts.message import read_message
from headgate.observe.alerts.watch import AlertWatch
from headgate.stores.alert_silences import add_silence, end_silence
from headgate.stores.alerts import AlertStore
from headgate.stores.allowance import LimitSpec
from headgate.stores.audit import list_entries
from headgate.stores.change import changing
from headgate.stores.data import DataDir
from headgate.stores.ingest import Ingest
from headgate.stores.limits import set_limit
from headgate.stores.outbox import CLAIM_NS, GIVE_UP_NS, Outbox, add_test
from headgate.stores.schema import alert_deliveries, alert_events, alert_states, calls, days, feedback, hours, minutes

NS = 10**9
NOW = time.time_ns()
_IDS = Ids()


@pytest.fixture
def engine(data: DataDir) -> Iterator[Engine]:
    """The store."""
    opened = data.open_engine()
    yield opened
    opened.dispose()


def store(engine: Engine, *records: Record, judgements: tuple[Feedback, ...] = ()) -> None:
    def refuse(what: object) -> None:
        raise AssertionError(what)

    Ingest(engine, "owner").store(records, (), {}, refuse, judgements)


def call(ago: float = 1.0, **fields: Any) -> Record:
    """A call that ended well ``ago`` seconds before ``NOW``; keywords change it."""
    usage = Usage(10, fields.pop("output", 20))
    cost = fields.pop("cost", None)
    attempt = AttemptRecord("up/gpt", "up", "gpt", 0, 500, 900, "completed", 200, usage=usage, cost=cost)
    base: dict[str, Any] = {
        "time_ns": NOW - int(ago * NS),
        "key_id": "key_1",
        "dialect": "openai_chat",
        "model": "fast",
        "outcome": "completed",
        "status": 200,
        "finish": "stop",
        "usage": usage,
        "attempts": [attempt],
        "winner": 0,
        "first_content_us": 500,
        "duration_us": 1000,
        "cost": cost,
    }
    return Record(_IDS.new(), **{**base, **fields})


def failed(ago: float = 1.0, error: str = "server_error", **fields: Any) -> Record:
    return call(ago, outcome="failed", status=502, error=error, finish="", winner=-1, **fields)


def rule(kind: Any, **fields: Any) -> AlertRule:
    base = {"above": 0.5, "recover": 0.4, "window": 60.0, "min_calls": 4, "receivers": ("ops",)}
    return AlertRule(name=kind, kind=kind, **{**base, **fields})


def plan_of(*rules: AlertRule) -> AlertPlan:
    return AlertPlan(rules=rules, receivers=(Receiver(name="ops", kind="log"),))


def look(engine: Engine, *rules: AlertRule, now_ns: int = NOW) -> list[tuple[str, str, str]]:
    events = AlertWatch(engine, "me", plan_of(*rules)).look(now_ns)
    return sorted((event.kind, event.subject, event.level) for event in events)


def slow(ago: float, us: int, **fields: Any) -> Record:
    return call(ago, first_content_us=us // 2, duration_us=us, **fields)


def turned_away(ago: float) -> Record:
    attempts = [
        AttemptRecord("up/gpt", "up", "gpt", 0, outcome="skipped", error="breaker_open"),
        AttemptRecord("spare/gpt", "spare", "gpt", 10, 500, 900, "completed", 200, usage=Usage(1, 1)),
    ]
    return call(ago, attempts=attempts, winner=1)


CAUSES: dict[str, tuple[AlertRule, list[Record], str]] = {
    "error rate": (rule("error_rate"), [call(), call(), failed(), failed()], ""),
    "error rate of one type": (
        rule("error_rate", error="overloaded"),
        [failed(), failed(), *(failed(error="overloaded") for _ in range(2))],
        "",
    ),
    "error rate by model": (
        rule("error_rate", by="model"),
        [*(call(model="good") for _ in range(9)), *(failed(model="bad") for _ in range(4))],
        "bad",
    ),
    "latency": (rule("latency", above=2.0, quantile=0.5), [slow(1, n * 10**6) for n in (1, 2, 3, 4)], ""),
    "first content": (
        rule("first_content", above=2.0, quantile=0.99),
        [*(slow(1, 1000, stream=True) for _ in range(3)), slow(1, 6 * 10**6, stream=True)],
        "",
    ),
    "length": (rule("length"), [call(), call(), call(finish="length"), call(finish="length")], ""),
    "empty": (rule("empty"), [call(), call(), call(output=0), call(output=0)], ""),
    "fallback": (rule("fallback"), [call(), call(), turned_away(1), turned_away(2)], ""),
    "breaker": (rule("breaker", above=1.0, recover=1.0), [call(), turned_away(1)], "up/gpt"),
    "cost spike": (
        rule("cost_spike", above=3.0, history=600.0, at_least=0.5, by="key"),
        [*(call(60.0 * n + 90, cost=NS // 5) for n in range(8)), *(call(5, cost=NS) for _ in range(2)), call(5)],
        "key_1",
    ),
    "usage spike": (
        rule("calls_spike", above=3.0, history=600.0, at_least=5.0, by="key"),
        [*(call(60.0 * n + 90) for n in range(8)), *(call(5) for _ in range(6))],
        "key_1",
    ),
}


def clear(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in (calls, minutes, hours, days, feedback, alert_states, alert_events, alert_deliveries):
            connection.execute(delete(table))


def test_each_kind_fires_once_and_recovers(engine: Engine) -> None:
    """What causes it fires it, one look later nothing is said again, and once the window is over it has recovered."""
    for cause, (watched, records, subject) in CAUSES.items():
        clear(engine)
        store(engine, *records)
        assert look(engine, watched) == [("fired", subject, "")], cause
        assert look(engine, watched, now_ns=NOW + NS) == [], cause
        assert look(engine, watched, now_ns=NOW + 700 * NS) == [("recovered", subject, "")], cause
        assert AlertStore(engine).states() == []


def test_none_fires_where_all_is_well(engine: Engine) -> None:
    """Calls as they have always been fire nothing, nor do too few calls, nor those of somebody else."""
    for cause, (watched, records, _) in CAUSES.items():
        clear(engine)
        assert look(engine, watched) == [], cause
        store(engine, *(call(30.0 * n + 1) for n in range(30)), failed(2))
        assert look(engine, watched) == [], cause
        elsewhere = msgspec.structs.replace(watched, where={"feature": "other"})
        store(engine, *records)
        assert look(engine, elsewhere) == [], cause


def test_a_call_that_took_longer_than_the_window_is_seen(engine: Engine) -> None:
    """Windows go by the end of calls: what hung for minutes counts when that is known; and only while it is new."""
    watched = rule("error_rate")
    watch = AlertWatch(engine, "me", plan_of(watched))
    assert watch.look(NOW - 70 * NS) == []
    store(engine, *(failed(300, duration_us=290_000_000) for _ in range(4)))
    assert [event.kind for event in watch.look(NOW)] == ["fired"]
    assert [event.kind for event in watch.look(NOW + 65 * NS)] == ["recovered"]
    assert watch.look(NOW + 70 * NS) == []


def test_a_spike_needs_a_history(engine: Engine) -> None:
    """A key that has just begun is not unusual, whatever it does."""
    store(engine, *(call(5, cost=NS) for _ in range(50)))
    assert look(engine, CAUSES["cost spike"][0], CAUSES["usage spike"][0]) == []


def test_the_levels_of_a_budget(engine: Engine) -> None:
    """Each level is told once per window and key; the next window recovers them."""
    money = rule("budget", by="key", amount=10.0, per="month", levels=(0.5, 0.8, 1.0), above=1.0, recover=1.0)
    store(engine, call(cost=4 * NS), call(cost=9 * NS, key_id="key_2"))
    assert look(engine, money) == [("fired", "key_2", "50%"), ("fired", "key_2", "80%")]
    store(engine, call(cost=2 * NS), call(cost=2 * NS, key_id="key_2"))
    assert look(engine, money) == [("fired", "key_1", "50%"), ("fired", "key_2", "100%")]
    assert look(engine, money) == []
    later = look(engine, money, now_ns=NOW + 40 * 86_400 * NS)
    assert [kind for kind, _, _ in later] == ["recovered"] * 4


def test_a_budget_that_will_be_overrun(engine: Engine) -> None:
    """Half of the window and more than half of the budget gone: it is told before it happens."""
    day = NOW // (86_400 * NS) * 86_400 * NS
    money = rule("budget", amount=10.0, per="day", projected=True, above=1.0, recover=0.9)
    store(engine, call(time_ns=day + NS, cost=6 * NS))
    assert look(engine, money, now_ns=day + 43_200 * NS) == [("fired", "", "projected")]
    assert look(engine, money, now_ns=day + 80_000 * NS) == [("recovered", "", "projected")]


def test_the_limits_that_calls_are_held_to(engine: Engine) -> None:
    """Where workers count for themselves a budget without an amount watches what calls cost, by each limit's window."""
    limits = (LimitRule("user", "", "dollars", "day", 10 * NS), LimitRule("everything", "", "requests", "day", 1))
    with changing(engine, "me", NOW) as change:
        set_limit(change, LimitSpec(scope="feature", value="chat", amount="4", per="month"))
    store(engine, call(cost=5 * NS, user="ann", feature="chat"), call(cost=NS, user="bob"))
    watched = rule("budget", levels=(0.5, 1.0), above=1.0, recover=1.0)
    plan = msgspec.structs.replace(plan_of(watched), limits=limits, leased=False)
    day = NOW // (86_400 * NS) * 86_400 * NS
    events = AlertWatch(engine, "me", plan).look(max(NOW, day + 60 * NS))
    found = sorted((event.subject, event.level) for event in events)
    month = [("feature chat, $4.00 per month", "100%"), ("feature chat, $4.00 per month", "50%")]
    assert found == [*month, ("user ann, $10.00 per day", "50%")]


def test_a_feedback_score_that_falls(engine: Engine) -> None:
    """The mean of the window is compared with that of the time before it."""
    past = [call(7200.0 + n) for n in range(5)]
    now = [call(60.0 + n) for n in range(5)]

    def judged(calls: list[Record], score: float) -> tuple[Feedback, ...]:
        return tuple(
            Feedback(_IDS.new(), one.id, one.time_ns, key_id=one.key_id, source="", score=score) for one in calls
        )

    falling = rule("feedback", above=0.3, recover=0.2, window=3600.0, history=7200.0)
    store(engine, *past, judgements=judged(past, 0.9))
    assert look(engine, falling) == []
    store(engine, *now, judgements=judged(now, 0.5))
    assert look(engine, falling) == [("fired", "", "")]
    assert look(engine, falling, now_ns=NOW + 4000 * NS) == [("recovered", "", "")]


def test_of_two_recorders_one_evaluates(engine: Engine) -> None:
    """A rule is one recorder's until that is gone for a while; the other then goes on from the same state."""
    store(engine, *CAUSES["error rate"][1])
    one, two = (AlertWatch(engine, name, plan_of(rule("error_rate"))) for name in ("one", "two"))
    assert [event.kind for event in one.look(NOW)] == ["fired"]
    assert two.look(NOW + NS) == []
    assert two.look(NOW + 300 * NS)[0].kind == "recovered"
    assert one.look(NOW + 301 * NS) == []
    assert AlertStore(engine, "one").hold(["error_rate"], NOW + 301 * NS, 60 * NS) == set()


def event(id: str, time_ns: int = NOW) -> AlertEvent:
    return AlertEvent(id, "test", "r", "", "", None, 1.0, time_ns, time_ns)


def put(engine: Engine, event: AlertEvent, *receivers: str) -> None:
    with changing(engine, "me", NOW) as change:
        add_test(change, event, "{}", receivers)


def test_what_is_announced_is_the_callers_to_deliver(engine: Engine) -> None:
    """Nobody else takes it meanwhile; if the caller is killed, a recorder does after a minute."""
    outbox = Outbox(engine)
    (mine,) = outbox.announce(event("c_0"), "{}", ["ops"], NOW)
    assert outbox.due(NOW) == set()
    assert outbox.due(NOW + CLAIM_NS) == {"ops"}
    outbox.delivered(mine, NOW)
    assert outbox.due(NOW + CLAIM_NS) == set()
    assert [(to.state, to.attempts) for to in outbox.history(1)[0].told] == [("delivered", 1)]


def test_the_outbox_delivers_at_least_once(engine: Engine) -> None:
    """A claim is one deliverer's for a minute; what was not noted as done is due again, with the same id."""
    outbox = Outbox(engine)
    for _ in range(2):
        put(engine, event("a_0"), "ops", "mail")
    assert outbox.due(NOW) == {"ops", "mail"}
    first = outbox.claim(["ops"], NOW)
    assert first is not None
    assert outbox.claim(["ops"], NOW + NS) is None
    again = outbox.claim(["ops"], NOW + CLAIM_NS)
    assert again is not None
    assert (again.event_id, again.attempts) == ("a_0", 2)
    outbox.delivered(again, NOW)
    assert outbox.claim(["ops"], NOW + 10 * CLAIM_NS) is None
    assert outbox.due(NOW + 10 * CLAIM_NS) == {"mail"}


def test_a_delivery_that_fails_is_tried_later_and_given_up_after_a_day(engine: Engine) -> None:
    """Waits grow; the history says how each stands."""
    outbox = Outbox(engine)
    put(engine, event("b_0"), "ops")
    now, tries = NOW, 0
    while (taken := outbox.claim(["ops"], now)) is not None:
        tries += 1
        lasting = outbox.failed(taken, "away", now)
        assert outbox.claim(["ops"], now + NS) is None
        now += 1000 * NS
        assert lasting == (now - 1000 * NS - NOW < GIVE_UP_NS)
    assert tries > 20
    (told,) = outbox.history(10)[0].told
    assert (told.state, told.attempts, told.error) == ("given up", tries, "away")


def test_a_silence_is_audited_and_holds(engine: Engine) -> None:
    """A silenced rule tells nobody; ended, it tells what still is wrong. Both stand in the audit log."""
    watched = rule("error_rate")
    store(engine, *CAUSES["error rate"][1])
    with changing(engine, "me", NOW) as change:
        made = add_silence(change, plan_of(watched), "error_rate", "", NOW + 3600 * NS, "known", "me")
    assert look(engine, watched) == []
    assert [state.phase for state in AlertStore(engine).states()] == ["firing"]
    assert AlertStore(engine).silences(NOW) == [made]
    with changing(engine, "me", NOW) as change:
        assert end_silence(change, made.id) == [made]
    assert look(engine, watched) == [("fired", "", "")]
    assert [entry.action for entry in list_entries(engine, 10)] == ["alert.unsilence", "alert.silence"]
    with changing(engine, "me", NOW) as change:
        for wrong in ("no_such_rule", "error_rate"):
            with pytest.raises(BadRequest):
                add_silence(change, plan_of(watched), wrong, "", NOW - 1, "", "me")
        with pytest.raises(BadRequest, match="no silence"):
            end_silence(change, made.id)


def test_what_is_told_says_it_all(engine: Engine) -> None:
    """The message names rule, subject, value, bound and moment, in words and numbers, and shows keys by their names."""
    store(engine, *(failed(key_id="key_9", user="x\r\ny") for _ in range(4)))
    look(engine, rule("error_rate", by="user", severity="critical", description="Call Ann."))
    (past,) = Outbox(engine).history(10)
    message = read_message(past.message)
    facts: Mapping[str, Any] = msgspec.to_builtins(message)
    expected = {"event": "fired", "rule": "error_rate", "severity": "critical", "value": 1.0, "threshold": 0.5}
    assert {name: facts[name] for name in expected} == expected
    assert message.summary == "[firing] error_rate: error rate of user x  y is 100.0% over 1 min; the bound is 50.0%"
    assert message.id.startswith(message.incident)
