"""Nothing that people or models say does anything on a page: it is shown as text, wherever it stands."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

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


def _nothing_happened(looker: Looker) -> None:
    assert looker.page.evaluate("window.hit") is None
    inside = looker.page.evaluate(
        "document.querySelectorAll('main script, main iframe, main img, main style, base').length"
    )
    assert inside == 0
    looker.quiet()
