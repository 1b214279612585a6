"""Nothing that people or models say does anything on a page: it is shown as text, wherever it stands."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from headgate.core.alert import AlertEvent, AlertRule
from headgate.observe.alerts.message import render
from headgate.stores.data import DataDir
from headgate.stores.schema import alert_deliveries, alert_events, alert_silences, alert_states

from .house import HOSTILE, House
from .looker import Looker


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_story_shows_hostile_words_as_text(boss: Looker, house: House, number: int) -> None:
    """In prompt, answer, error, user, feature, tag, trace: every payload is on the page, and none runs or loads."""
    for model in ("fast", "broken"):
        boss.go(f"/calls/{house.calls[f'hostile {number} {model}']}")
        if model == "fast":
            assert boss.page.get_by_role("region", name="Feedback").locator(".words").inner_text() == HOSTILE[number]
            assert boss.page.locator(".turn .said").all_inner_texts().count(HOSTILE[number]) == 3
        else:
            expect(boss.page.locator(".notice.bad").first).to_contain_text(HOSTILE[number])
        _nothing_happened(boss)
    plain = HOSTILE[number].encode("ascii", "ignore").decode()
    for link in boss.page.locator(".facts a").all():
        assert (link.get_attribute("href") or "").startswith("/console/")
    assert boss.page.locator(".facts a").all_inner_texts().count(plain) >= 5


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_filters_show_hostile_words_as_text(boss: Looker, number: int) -> None:
    """What stands in the address comes back in the form as its value."""
    from urllib.parse import quote

    words = HOSTILE[number].encode("ascii", "ignore").decode()
    boss.go(f"/calls?feature={quote(words)}&user={quote(words)}&model={quote(words)}&since={quote(words)}")
    assert boss.page.get_by_label("Feature").input_value() == words
    _nothing_happened(boss)


def test_lists_and_tail_show_hostile_words_as_text(boss: Looker, house: House) -> None:
    """The list of calls and the rows that the tail adds hold them as text."""
    boss.go("/calls")
    boss.page.get_by_role("button", name="Live").click()
    for words in HOSTILE:
        plain = words.encode("ascii", "ignore").decode()
        house.gate.chat(model="fast", headers={"x-headgate-user": plain, "x-headgate-feature": plain})
    rows = boss.page.locator("#calls tbody tr.fresh")
    expect(rows).to_have_count(len(HOSTILE))
    names = rows.locator("td:nth-child(4) .name").all_inner_texts()
    assert sorted(names) == sorted(words.encode("ascii", "ignore").decode() for words in HOSTILE)
    _nothing_happened(boss)


def test_labels_of_feedback_stand_on_the_first_page_as_text(boss: Looker) -> None:
    """What was judged bad is listed there by its label, and leads to its story."""
    boss.go("")
    links = boss.page.locator("section", has_text="Judged bad lately").get_by_role("link")
    shown = links.all_inner_texts()
    assert len(shown) == 6
    assert set(shown) <= {
        words if len(words) <= 60 else words[:59] + "…" for words in (*HOSTILE, "wrong-answer", "no label")
    }
    for link in links.all():
        assert (link.get_attribute("href") or "").startswith("/console/calls/hg_")
    _nothing_happened(boss)


@pytest.fixture
def alarmed(house: House) -> Iterator[None]:
    """Alerts about hostile subjects, told to such receivers, that failed with such errors, and silenced."""
    engine = DataDir(house.gate.data).open_engine()
    now, rule = time.time_ns(), AlertRule(name="errors", kind="error_rate", above=0.1, recover=0.1, window=300)
    with engine.begin() as connection:
        for number, words in enumerate(HOSTILE):
            state = {"rule": "errors", "subject": words, "level": "", "phase": "firing", "since_ns": now, "above": 0.1}
            told = {"fired_ns": now, "calm_ns": 0, "told_ns": now, "told": 1, "updated_ns": now, "value": 0.5}
            connection.execute(alert_states.insert().values({**state, **told}))
            event = AlertEvent(f"alert_{number}", "fired", "errors", words, "", 0.5, 0.1, now, now + number)
            kept = {name: getattr(event, name) for name in event.__struct_fields__}
            connection.execute(alert_events.insert().values({**kept, "message": render(rule, event)}))
            sent = {"event_id": event.id, "receiver": words, "attempts": 9, "done_ns": None, "next_ns": None}
            connection.execute(alert_deliveries.insert().values({**sent, "error": words}))
            silence = {
                "id": f"s_{number}",
                "rule": words,
                "subject": words,
                "until_ns": now + 10**12,
                "created_ns": now,
            }
            connection.execute(alert_silences.insert().values({**silence, "actor": words, "reason": words}))
    yield
    with engine.begin() as connection:
        for table in (alert_states, alert_events, alert_deliveries, alert_silences):
            connection.execute(table.delete())
    engine.dispose()


def test_alerts_show_hostile_words_as_text(boss: Looker, alarmed: None) -> None:
    """Subjects, receivers, errors of deliveries, reasons of silences, on the page of alerts and the first page."""
    boss.go("/alerts")
    shown = boss.page.locator("main").inner_text()
    missing = [words for words in HOSTILE if words.isprintable() and words[:60] not in shown]
    assert missing == []
    _nothing_happened(boss)
    boss.check()
    boss.go("")
    expect(boss.page.get_by_role("alert").filter(has_text="about")).to_have_count(3)
    _nothing_happened(boss)


def _nothing_happened(looker: Looker) -> None:
    assert looker.page.evaluate("window.hit") is None
    inside = looker.page.evaluate(
        "document.querySelectorAll('main script, main iframe, main img, main style, base').length"
    )
    assert inside == 0
    looker.quiet()
