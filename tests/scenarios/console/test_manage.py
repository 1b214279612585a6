"""The console's pages that change or explain something: keys, audit, settings, traces, charts."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from .house import HOSTILE, House
from .looker import Looker


def test_a_key_is_made_changed_rotated_and_revoked(boss: Looker, house: House) -> None:
    """All of a key's life by forms: its secret is told once, works, and is worth nothing in the end."""
    page = boss.page
    boss.go("/keys")
    page.get_by_text("Make a key").click()
    page.get_by_label("Name").fill("shop")
    page.get_by_label("Only these models").fill("fast, gpt-*")
    page.get_by_role("button", name="Make key").click()
    secret = page.locator("#secret").inner_text()
    assert house.visitor().log_in(secret).status == 303
    boss.quiet()
    page.get_by_role("link", name="Done").click()
    assert page.get_by_label("Only these models").input_value() == "fast\ngpt-*"
    page.get_by_label("Team").fill("no-such-thing-is-needed")
    page.get_by_role("button", name="Change").click()
    assert page.get_by_label("Team").input_value() == "no-such-thing-is-needed"
    page.get_by_label("Expires").fill("yesterday")
    page.get_by_role("button", name="Change").click()
    expect(page.get_by_role("alert")).to_contain_text("expires must be a time")
    page.get_by_label("Overlap").fill("0s")
    page.get_by_role("button", name="Rotate").click()
    second = page.locator("#secret").inner_text()
    assert second != secret
    assert house.visitor().log_in(secret).status == 401
    page.get_by_role("link", name="Done").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke").click()
    expect(page.locator(".badge").first).to_have_text("revoked")
    assert house.visitor().log_in(second).status == 401
    assert secret not in page.content()
    boss.faults[:] = [fault for fault in boss.faults if "status of 400" not in fault]
    boss.quiet()


def test_a_form_sent_twice_makes_one_key(house: House) -> None:
    """A double click, or the page loaded again, makes no second key; the secret is not told again."""
    visitor = house.visitor(house.keys["admin"])
    page = visitor.get("/keys")
    (once,) = re.findall(r'name="once" value="(\w+)"', page.text)
    form = {"proof": page.proof, "once": once, "name": "twice", "role": "developer", "payloads": ""}
    assert 'id="secret"' in visitor.post("/keys", form).text
    again = visitor.post("/keys", form)
    assert again.status == 400
    assert 'id="secret"' not in again.text
    assert visitor.get("/keys").text.count(">twice<") == 1


def test_a_mistake_in_a_new_key_keeps_the_form(house: House) -> None:
    """What can not be is said above the form, which keeps what was written."""
    visitor = house.visitor(house.keys["admin"])
    form = {
        "proof": visitor.get("/keys").proof,
        "once": "1",
        "name": "<b>",
        "role": "developer",
        "networks": "10.0.0.300",
    }
    page = visitor.post("/keys", form)
    assert page.status == 400
    assert "not a network" in page.text
    assert 'value="&lt;b&gt;"' in page.text
    assert "10.0.0.300</textarea>" in page.text


def test_the_audit_log_tells_what_the_console_did(boss: Looker, house: House) -> None:
    """Logins and changes stand there with who did them; the log proves to be whole."""
    boss.go("/audit?verify=1")
    expect(boss.page.get_by_role("status")).to_contain_text("The log is whole")
    text = boss.page.locator("table").inner_text()
    assert "console.login" in text
    assert "key.create" in text
    for secret in house.keys.values():
        assert secret not in boss.page.content()
    boss.quiet()


def test_settings_tell_values_and_sources_but_no_secret(boss: Looker) -> None:
    """Every setting with where it comes from; secrets by reference only."""
    boss.go("/settings")
    row = boss.page.get_by_role("row").filter(has_text="providers.up.key")
    expect(row).to_contain_text("env:UP_KEY (set)")
    expect(row).to_contain_text(re.compile(r"headgate\.yaml:\d+"))
    assert "sk-upstream-secret" not in boss.page.content()
    expect(boss.page.get_by_text("server.drain_seconds")).to_have_count(0)
    boss.page.get_by_role("link", name="With defaults").click()
    expect(boss.page.get_by_text("server.drain_seconds")).to_be_visible()
    boss.quiet()


def test_a_trace_shows_its_calls_in_order(boss: Looker, house: House) -> None:
    """All calls of one run stand together, with its sums; so do those of a session."""
    boss.go("/traces")
    boss.page.get_by_role("link", name="t-1", exact=True).click()
    rows = boss.page.locator("table.list tbody td:first-child a")
    expect(rows).to_have_count(3)
    links = rows.evaluate_all("all => all.map(a => a.href)")
    assert [link.rpartition("/")[2] for link in links] == [house.calls[name] for name in ("good", "retried", "failed")]
    boss.quiet()
    boss.go("/traces?kind=session")
    expect(boss.page.get_by_role("link", name="s-1", exact=True)).to_be_visible()


def test_charts_are_drawn_and_their_numbers_stand_in_tables(boss: Looker) -> None:
    """The library draws every chart under the strict policy, and anew in another theme; the numbers are there too."""
    for path, charts in (("", 5), ("/spend", 1)):
        boss.go(path)
        expect(boss.page.locator("body")).to_have_attribute("data-drawn", str(charts))
        assert boss.page.locator(".chart canvas").count() >= charts
        boss.page.get_by_role("button", name="Dark").click()
        expect(boss.page.locator("body")).to_have_attribute("data-drawn", str(charts))
        boss.page.get_by_role("button", name="Light").click()
        boss.page.get_by_text("As a table").first.click()
        expect(boss.page.locator(".scroll.short tbody tr").first).to_be_visible()
        boss.quiet()


def test_models_show_breakers_shares_and_prices(boss: Looker) -> None:
    """Each model with its deployments in order: who answered how much, how fast, at which price."""
    boss.go("/models")
    table = boss.page.get_by_role("region", name="Deployments of spare")
    rows = table.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("up/m-2")
    expect(rows.nth(1)).to_contain_text("$3.00 in")
    expect(rows.nth(0)).to_contain_text("no price")
    expect(rows.nth(0)).to_contain_text("closed")


def test_spend_by_anything(boss: Looker) -> None:
    """Spend is shown by feature, user, model…, with the share of each."""
    boss.go("/spend?by=user&range=7d")
    row = boss.page.get_by_role("row").filter(has_text="alice")
    expect(row).to_contain_text("$0.0001")
    assert boss.go("/spend?by=colour").status == 400
    expect(boss.page.get_by_role("alert")).to_contain_text("There is spend by")
    boss.faults.clear()


def test_pages_show_hostile_names_as_text(boss: Looker) -> None:
    """Names of keys, users, features and runs on every page that lists them: text, each of them."""
    sound = [words for words in HOSTILE if words.isprintable() and words.isascii()]
    for path in (
        "/keys",
        "/audit?before=30",
        "/traces",
        "/traces?kind=session",
        "/spend?by=user",
        "/spend?by=feature",
        "",
    ):
        boss.go(path)
        if path:
            shown = boss.page.locator("main table.list").last.inner_text()
            missing = [words for words in sound if words[:60] not in shown]
            assert missing == [], path
        assert boss.page.evaluate("window.hit") is None
        assert boss.page.locator("main script, main iframe, main img, main style, base").count() == 0
    boss.quiet()
