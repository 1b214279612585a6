"""An alert goes from pending over firing to recovered, and is told once."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.alert import AlertEvent, AlertRule, AlertState, Reading, Silence, advance, advance_all

NS = 10**9
START = 1_700_000_000 * NS
RULE = AlertRule(name="r", kind="error_rate", above=0.5, recover=0.4, window=60, hold=10, calm=20, repeat=100)


def play(
    values: list[tuple[float, float | None]], rule: AlertRule = RULE, muted: tuple[float, float] = (0, 0)
) -> list[tuple[float, str]]:
    """Goes through (second, value) pairs; returns (second, kind) of each event. Muted between two seconds."""
    state: AlertState | None = None
    told = []
    for second, value in values:
        reading = Reading("", value, rule.above, rule.recover)
        step = advance(rule, reading, state, START + int(second * NS), muted=muted[0] <= second < muted[1])
        state = step.state
        if step.event is not None:
            told.append((second, step.event.kind))
    return told


def test_a_breach_fires_once_it_has_lasted() -> None:
    """It is pending for as long as the rule wants, fires once, and recovers once it is gone for long enough."""
    breach: list[tuple[float, float | None]] = [(second, 0.9) for second in range(0, 40, 5)]
    calm: list[tuple[float, float | None]] = [(second, 0.1) for second in range(40, 80, 5)]
    assert play(breach + calm) == [(10, "fired"), (60, "recovered")]


def test_a_short_breach_is_told_to_nobody() -> None:
    """What is over before it has lasted leaves nothing, and the next one begins anew."""
    assert play([(0, 0.9), (5, 0.9), (8, 0.1), (12, 0.9), (20, 0.9)]) == []


def test_a_value_between_the_bounds_neither_fires_nor_recovers() -> None:
    """Hysteresis: below ``above`` and not below ``recover`` everything stays as it is."""
    assert play([(0, 0.9), (10, 0.9), (20, 0.45), (60, 0.45), (62, 0.1), (70, 0.45), (85, 0.1)]) == [(10, "fired")]


def test_what_is_not_known_counts_as_no_breach() -> None:
    """Without calls an alert recovers rather than hanging for ever."""
    assert play([(0, 0.9), (10, 0.9), (20, None), (40, None)]) == [(10, "fired"), (40, "recovered")]


def test_what_still_fires_is_said_again() -> None:
    """At each ``repeat``, but not while it seems to be over."""
    values: list[tuple[float, float | None]] = [(second, 0.9) for second in range(0, 250, 10)]
    assert play(values) == [(10, "fired"), (110, "reminder"), (210, "reminder")]
    never = msgspec.structs.replace(RULE, repeat=0)
    assert play(values, never) == [(10, "fired")]


def test_a_silence_holds_back_and_loses_nothing() -> None:
    """A muted alert is told when the silence ends and it still fires; not at all if it is over; its end is told."""
    lasting: list[tuple[float, float | None]] = [(second, 0.9) for second in range(0, 60, 5)]
    assert play(lasting, muted=(0, 30)) == [(30, "fired")]
    over: list[tuple[float, float | None]] = [(second, 0.1) for second in range(20, 60, 5)]
    assert play(lasting[:4] + over, muted=(0, 60)) == []
    assert play(lasting[:4] + over, muted=(15, 60)) == [(10, "fired"), (40, "recovered")]


def test_a_clock_that_is_set_back_only_delays() -> None:
    """An hour back: the time begins to count anew, nothing is told twice."""
    values: list[tuple[float, float | None]] = [(5000, 0.9), (5005, 0.9), (1400, 0.9), (1411, 0.9), (1500, 0.9)]
    assert play(values) == [(1411, "fired")]


def test_each_subject_stands_for_itself_and_what_is_gone_recovers() -> None:
    """One rule watches many; one that has no reading any more has recovered. A silence of one mutes only that one."""
    rule = msgspec.structs.replace(RULE, hold=0.0, calm=0.0)
    quiet = Silence("s", "r", "b", START + 3600 * NS, START, "me", "")
    readings = [Reading(name, 0.9, 0.5, 0.4) for name in ("a", "b", "c")]
    states, events = advance_all(rule, readings, [], [quiet], START)
    assert [(event.subject, event.kind) for event in events] == [("a", "fired"), ("c", "fired")]
    states, events = advance_all(rule, readings[:2], states, [quiet], START + NS)
    assert [(event.subject, event.kind) for event in events] == [("c", "recovered")]
    assert {state.subject for state in states} == {"a", "b"}


def test_the_ids_of_events_are_their_own() -> None:
    """The same event always has the same id; fired, reminder and recovery share the incident; no two are alike."""
    rule = msgspec.structs.replace(RULE, hold=0.0, calm=0.0, repeat=10.0)
    values = [0.9, 0.9, 0.1, 0.9, 0.1]

    def run() -> list[AlertEvent]:
        state, events = None, []
        for number, value in enumerate(values):
            step = advance(rule, Reading("", value, 0.5, 0.4), state, START + number * 10 * NS)
            state = step.state
            events += [step.event] if step.event else []
        return events

    ids = [event.id for event in run()]
    assert ids == [event.id for event in run()]
    assert len(set(ids)) == len(ids) == 5
    assert len({id.rpartition("_")[0] for id in ids}) == 2


_VALUES = st.one_of(st.none(), st.sampled_from([0.0, 0.39, 0.4, 0.45, 0.5, 1.0]))


@given(
    steps=st.lists(st.tuples(st.integers(-30, 60), _VALUES, st.booleans()), max_size=60),
    hold=st.sampled_from([0.0, 10.0]),
    calm=st.sampled_from([0.0, 20.0]),
)
def test_whatever_happens_it_is_told_once_and_recovers(
    steps: list[tuple[int, float | None, bool]], hold: float, calm: float
) -> None:
    """Never fires twice for one breach, never recovers from what was not told, and always recovers in the end.

    Under any values, silences and jumps of the clock, in either direction.
    """
    rule = msgspec.structs.replace(RULE, hold=hold, calm=calm, repeat=0.0)
    state, now, open_ = None, START, ""
    end: list[tuple[int, float | None, bool]] = [(60, 0.0, False)] * 2
    for seconds, value, muted in [*steps, *end]:
        now += seconds * NS
        step = advance(rule, Reading("", value, rule.above, rule.recover), state, now, muted=muted)
        state = step.state
        if step.event is None:
            continue
        incident = step.event.id.rpartition("_")[0]
        if step.event.kind == "fired":
            assert not open_
            open_ = incident
        else:
            assert step.event.kind == "recovered"
            assert open_ == incident
            open_ = ""
    assert state is None
    assert open_ == ""
