"""The console's pages in a browser: with data, empty, with an error, without permission; no fault, axe satisfied."""

from __future__ import annotations

import contextlib
import pathlib
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from tests.scenarios.conftest import Gateway

from headgate.console.table import PAGES
from headgate.stores.data import DataDir
from headgate.stores.schema import calls

from .house import EMPTY, House
from .looker import Looker

PATHS = [page.path for page in PAGES if page.title and page.method == "GET" and "{" not in page.path]

OTHER_FORMS = (
    "/traces?trace=t-1",
    "/traces?kind=session",
    "/spend?by=user&range=90d",
    "/audit?verify=1",
    "/settings?all=1",
    "/calls?outcome=failed&status=502",
)
"""Pages of the menu in another form, with parts of its own."""
NEED_NO_STORE = ("/playground", "/settings")

_WIDTH_DRAWN = """new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() =>
    done(document.documentElement.scrollWidth - innerWidth))))"""
"""How much wider than the window a page is once the window's new size has been drawn, charts included."""


def looks_right(looker: Looker) -> None:
    """The page that is shown has no fault, in light, in dark, and on a phone, where it needs no scrollbar."""
    expect(looker.page.locator("h1")).to_be_visible()
    looker.check()
    looker.page.emulate_media(color_scheme="dark")
    looker.check("color-contrast")
    looker.page.emulate_media(color_scheme="light")
    looker.page.set_viewport_size({"width": 390, "height": 800})
    wide = looker.page.evaluate(_WIDTH_DRAWN)
    looker.page.set_viewport_size({"width": 1280, "height": 900})
    assert looker.page.evaluate(_WIDTH_DRAWN) <= 0
    assert wide <= 0
    looker.quiet()


@pytest.mark.parametrize("path", [*PATHS, *OTHER_FORMS])
def test_every_page_with_data(boss: Looker, path: str) -> None:
    """Every page of the menu shows itself without a fault, in light and in dark, and on a phone without a scrollbar."""
    assert boss.go(path).status == 200
    looks_right(boss)


def test_the_page_of_a_key(boss: Looker) -> None:
    """It is reached from the list of keys, and has no fault either."""
    boss.go("/keys")
    boss.page.get_by_role("link", name="viewer", exact=True).click()
    expect(boss.page.get_by_role("heading", name="Rotate or revoke")).to_be_visible()
    looks_right(boss)


@pytest.mark.parametrize("path", PATHS)
def test_every_page_empty(nobody: Looker, path: str) -> None:
    """On a gateway that nobody has used yet, every page says so, and what to do."""
    assert nobody.go(path).status == 200
    expect(nobody.page.locator("h1")).to_be_visible()
    nobody.check()


@pytest.mark.parametrize("name", ["good", "retried", "failed", "hostile 1 fast"])
def test_the_story_of_a_call(boss: Looker, house: House, name: str) -> None:
    """A call's page shows its attempts as a picture, what was said, and what it cost, without a fault."""
    assert boss.go(f"/calls/{house.calls[name]}").status == 200
    attempts = {"good": 1, "retried": 2, "failed": 1, "hostile 1 fast": 1}[name]
    expect(boss.page.get_by_role("rowheader", name=re.compile(r"^Attempt \d"))).to_have_count(attempts)
    if name == "retried":
        expect(boss.page.get_by_text("$3.00 per million")).to_be_visible()
        expect(boss.page.get_by_text("$0.000105").first).to_be_visible()
        looks_right(boss)
    boss.check()


def test_a_story_leads_to_calls_like_it(boss: Looker, house: House) -> None:
    """Model, deployment and key of a call each lead to the calls of the same."""
    boss.go(f"/calls/{house.calls['good']}")
    for name in ("model", "deployment", "key"):
        link = boss.page.locator(f"main a[href*='/calls?{name}=']")
        expect(link).to_have_count(1)
        target = str(link.get_attribute("href")).removeprefix("/console")
        assert boss.go(target).status == 200
        expect(boss.page.locator(f"#calls a[href$='{house.calls['good']}']")).to_have_count(1)
        boss.page.go_back()


def test_a_story_fits_on_a_phone(boss: Looker, house: House) -> None:
    """Nothing of its times and its cost is cut off, or has to be scrolled to."""
    boss.page.set_viewport_size({"width": 390, "height": 800})
    boss.go(f"/calls/{house.calls['retried']}")
    for table in ("gantt", "sums"):
        boxes = boss.page.locator(f".scroll:has(> .{table})")
        expect(boxes.first).to_be_visible()
        for box in boxes.all():
            assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0, table
    boss.page.set_viewport_size({"width": 1280, "height": 900})


def test_settings_say_where_they_stand_on_one_line(boss: Looker) -> None:
    """The file's folder is told once, at the head of the page; beside a setting stand file and line."""
    boss.go("/settings")
    origins = boss.page.locator(".settings tbody td:last-child")
    expect(origins.filter(has_text=re.compile(r"^[^/]+\.yaml:\d+$")).first).to_be_visible()
    expect(origins.filter(has_text=re.compile(r"^/.*\.yaml"))).to_have_count(0)


def test_calls_are_filtered_and_paged(boss: Looker, house: House) -> None:
    """The form narrows the list, links lead to the story, Clear shows all again."""
    boss.go("/calls")
    boss.page.get_by_label("User", exact=True).fill("alice")
    boss.page.get_by_label("Outcome").select_option("failed")
    boss.page.get_by_role("button", name="Filter").click()
    rows = boss.page.locator("#calls tbody tr")
    expect(rows).to_have_count(1)
    assert rows.first.get_attribute("data-id") == house.calls["failed"]
    rows.first.get_by_role("link").click()
    expect(boss.page.locator("#call-id")).to_have_text(house.calls["failed"])
    boss.go("/calls?user=nobody-has-this-name")
    expect(boss.page.get_by_text("No call fits.")).to_be_visible()
    boss.quiet()


def test_pages_of_calls_hold_each_call_once(boss: Looker, house: House) -> None:
    """Going on to older calls shows every call once."""
    for _ in range(40):
        house.gate.chat(model="fast")
    wanted = {record["id"] for record in house.gate.records()}
    seen: list[str] = []
    boss.go("/calls")
    while True:
        seen += boss.page.locator("#calls tbody tr").evaluate_all("rows => rows.map(row => row.dataset.id)")
        older = boss.page.get_by_role("link", name="Older calls")
        if not older.count():
            break
        older.click()
    assert len(seen) == len(set(seen))
    assert wanted == set(seen)


def test_a_filter_that_makes_no_sense_is_explained(boss: Looker) -> None:
    """A mistake in a filter keeps the form and says what is wrong with it."""
    assert boss.go("/calls?since=yesterday&user=alice").status == 400
    expect(boss.page.get_by_role("alert")).to_contain_text("is no time")
    assert boss.page.get_by_label("User", exact=True).input_value() == "alice"
    boss.quiet()


def test_a_live_call_appears_in_the_tail(boss: Looker, house: House) -> None:
    """With Live on, a call that ends shows up by itself, once, and only where it fits the filters."""
    boss.go("/calls?feature=tailed")
    boss.page.get_by_role("button", name="Live").click()
    house.gate.chat(model="fast")
    house.gate.chat(model="fast", headers={"x-headgate-feature": "tailed"})
    rows = boss.page.locator("#calls tbody tr")
    expect(rows).to_have_count(1)
    house.gate.chat(model="broken", headers={"x-headgate-feature": "tailed"})
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("failed")
    expect(rows.first).to_contain_text("up/broken")
    boss.quiet()


def test_the_first_page_follows_along(boss: Looker, house: House) -> None:
    """A call that ends comes to the head of the newest ones there; those before it go down by one, none comes again."""
    boss.go("")
    rows = boss.page.locator("#calls tbody tr")
    expect(rows).to_have_count(12)

    def shown() -> list[str]:
        return rows.evaluate_all("rows => rows.map(row => row.dataset.id)")

    wanted = shown()
    for _ in range(2):
        call = house.gate.chat(model="fast", headers={"x-headgate-feature": "followed"})[1]["x-headgate-id"]
        wanted = [call, *wanted][:12]
        expect(rows.first).to_have_attribute("data-id", call)
        assert shown() == wanted
    boss.quiet()


def test_keys_move_and_filter(boss: Looker) -> None:
    """Without a mouse: j and Enter open a call, / leads to the filters, ? tells the keys, Escape closes."""
    boss.go("/calls")
    boss.page.keyboard.press("j")
    boss.page.keyboard.press("j")
    boss.page.keyboard.press("Enter")
    expect(boss.page.locator("#call-id")).to_be_visible()
    boss.page.keyboard.press("g")
    boss.page.keyboard.press("c")
    expect(boss.page.get_by_role("heading", name="Calls")).to_be_visible()
    boss.page.keyboard.press("?")
    expect(boss.page.get_by_role("dialog")).to_be_visible()
    boss.check()
    boss.page.keyboard.press("Escape")
    expect(boss.page.get_by_role("dialog")).to_be_hidden()
    boss.page.keyboard.press("/")
    assert boss.page.evaluate("document.activeElement.name") == "since"


def test_the_theme_is_kept(boss: Looker) -> None:
    """What was chosen holds on the next page too."""
    boss.go("/calls")
    boss.page.get_by_role("button", name="Dark").click()
    boss.go("/calls")
    assert boss.page.evaluate("document.documentElement.dataset.theme") == "dark"
    boss.page.get_by_role("button", name="Light").click()
    boss.quiet()


def test_a_page_without_permission(browser: Browser, house: House) -> None:
    """Who may not see a page is told so, with the way back, and still has the menu; who may sees what is for them."""
    looker = Looker(browser, house.gate.url)
    with contextlib.closing(looker):
        looker.log_in(house.keys["viewer"])
        for page in PAGES:
            if page.role != "viewer" and page.group:
                assert looker.go(page.path).status == 403, page.path
                expect(looker.page.get_by_role("alert")).to_contain_text(f"role {page.role}")
                expect(looker.page.get_by_role("navigation", name="Console")).to_be_visible()
                looker.quiet()
        looker.check()
        assert looker.go(f"/calls/{house.calls['hostile 1 fast']}").status == 200
        expect(looker.page.get_by_text("is shown to developers and admins only")).to_be_visible()
        assert looker.go("/nowhere").status == 404
        looker.page.get_by_role("button", name="Log out").click()
        expect(looker.page.get_by_role("button", name="Log in")).to_be_visible()
        looker.check()
        looker.page.get_by_label("Key", exact=True).fill("hg-wrong")
        looker.page.get_by_role("button", name="Log in").click()
        expect(looker.page.get_by_role("alert")).to_contain_text("unknown")
        looker.quiet()


@pytest.fixture
def storeless(fresh: Callable[[str], pathlib.Path]) -> Iterator[Gateway]:
    """A gateway whose store goes away before anybody looks."""
    gate = Gateway(fresh("storeless"), EMPTY, key=False)
    (gate.data / "headgate.db").rename(gate.data / "away.db")
    (gate.data / "headgate.db").mkdir()
    yield gate
    gate.stop(signal.SIGKILL)


def test_every_page_with_its_store_away(browser: Browser, storeless: Gateway) -> None:
    """When the store is away, every page that needs it says so in words; what does not need it is there."""
    looker = Looker(browser, storeless.url)
    with contextlib.closing(looker):
        for path in (*PATHS, *OTHER_FORMS, "/calls/hg_1"):
            there = path.partition("?")[0] in NEED_NO_STORE
            assert looker.go(path).status == (200 if there else 503), path
            if not there:
                expect(looker.page.get_by_role("alert")).to_contain_text("database")
            expect(looker.page.locator("h1")).to_be_visible()
            looker.faults[:] = [fault for fault in looker.faults if "status of 503" not in fault]
            looker.quiet()
        looker.check()


@pytest.fixture
def broken(house: House) -> Iterator[str]:
    """The id of a call whose row nobody can read."""
    engine = DataDir(house.gate.data).open_engine()
    id = "hg_of_a_broken_row"
    row = calls.select().where(calls.c.id == house.calls["good"])
    with engine.begin() as connection:
        good: dict[str, Any] = dict(connection.execute(row).mappings().one())
        del good["n"]
        connection.execute(
            calls.insert().values({**good, "id": id, "detail": good["detail"][:9], "feature": "broken-row"})
        )
    yield id
    with engine.begin() as connection:
        connection.execute(calls.delete().where(calls.c.id == id))
    engine.dispose()


def test_a_page_that_fails_inside(boss: Looker, broken: str) -> None:
    """It is a page too: it says that the gateway is to blame, tells nothing of the call, and leads on."""
    for path in (f"/calls/{broken}", "/calls?feature=broken-row"):
        assert boss.go(path).status == 500
        expect(boss.page.get_by_role("alert")).to_contain_text("failed inside")
        assert "Traceback" not in boss.page.content()
        expect(boss.page.get_by_role("navigation", name="Console")).to_be_visible()
    boss.faults[:] = [fault for fault in boss.faults if "status of 500" not in fault]
    boss.check()


def test_scripts_tell_of_errors(boss: Looker) -> None:
    """Where what a script asks for fails, the page says so in its place, goes on, and recovers by itself."""
    page = boss.page
    boss.go("/calls?feature=nothing-has-it")
    page.route("**/calls/tail*", lambda route: route.fulfill(status=500, body="no JSON at all"))
    page.get_by_role("button", name="Live").click()
    expect(page.locator("#tail-state")).to_contain_text("does not come through: status 500")
    page.unroute("**/calls/tail*")
    expect(page.locator("#tail-state")).to_have_text("")
    boss.go("/playground?model=fast")
    for fate, told in (
        (lambda route: route.fulfill(status=500, body='{"error": {"message": "<b>inside</b>"}}'), "<b>inside</b>"),
        (lambda route: route.abort(), "The answer was cut"),
    ):
        page.route("**/playground/ask", fate)
        page.get_by_label("Prompt", exact=True).fill("hello")
        page.get_by_role("button", name="Ask").click()
        expect(page.locator("#answers .notice").first).to_contain_text(told)
        page.unroute("**/playground/ask")
    boss.faults[:] = [one for one in boss.faults if "status of 500" not in one and "ERR_FAILED" not in one]
    boss.quiet()
