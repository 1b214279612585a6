"""Calls made from the console: the playground and replays; and the limits that it sets."""

from __future__ import annotations

import json

from playwright.sync_api import expect

from .house import HOSTILE, House
from .looker import Looker


def test_two_models_answer_side_by_side(boss: Looker, house: House) -> None:
    """The playground streams both answers as text, with times, tokens, cost and a link to the story."""
    boss.go("/playground?model=fast&other=spare")
    boss.page.get_by_label("Prompt", exact=True).fill(HOSTILE[1])
    boss.page.keyboard.press("Control+Enter")
    panes = boss.page.locator("#answers section")
    for number, place in enumerate(("up/m-1", "up/m-2")):
        expect(panes.nth(number).locator(".figures")).to_contain_text(place)
        expect(panes.nth(number).locator(".figures")).to_contain_text("10 in, 5 out")
        assert panes.nth(number).locator(".said").last.inner_text() == HOSTILE[1]
    expect(panes.nth(1).locator(".figures")).to_contain_text("$0.0001")
    assert boss.page.evaluate("window.hit") is None
    boss.check()
    panes.nth(1).get_by_role("link", name="its story").click()
    expect(boss.page.get_by_text("Tag from")).to_be_visible()
    boss.quiet()


def test_the_playground_tells_errors(boss: Looker) -> None:
    """A model that fails, and one that is unknown, say why in their own pane."""
    boss.go("/playground?model=broken&other=nonsense")
    boss.page.get_by_label("Prompt", exact=True).fill("hello")
    boss.page.get_by_role("button", name="Ask").click()
    panes = boss.page.locator("#answers section")
    expect(panes.nth(0).locator(".notice")).to_contain_text("server_error: no: hello")
    expect(panes.nth(1).locator(".notice")).to_contain_text("model_not_found")
    boss.quiet()


def test_calls_from_the_console_need_a_role_and_a_proof(house: House) -> None:
    """A viewer makes no calls; a developer's calls need the form's proof, and are the key's own."""
    form = {"model": "fast", "prompt": "hello"}
    for role, status in (("viewer", 403), ("developer", 200)):
        visitor = house.visitor(house.keys[role])
        proof = visitor.get("/calls").proof
        assert visitor.post("/playground/ask", form).status == 403
        assert visitor.post("/playground/ask", {**form, "proof": proof}, origin="https://evil.invalid").status == 403
        page = visitor.post("/playground/ask", {**form, "proof": proof})
        assert page.status == status
    lines = [json.loads(line) for line in page.text.splitlines()]
    assert "".join(line.get("text", "") for line in lines) == "hello"
    record = house.gate.record(lines[-1]["end"]["id"])
    assert (record["key_name"], record["tags"]) == ("test", {"from": "playground"})
    assert visitor.post("/playground/ask", {"model": "fast", "proof": proof}).status == 400


def test_a_call_is_replayed_with_another_model(boss: Looker, house: House) -> None:
    """From its story: both answers side by side, with what they cost and took."""
    boss.go(f"/calls/{house.calls['good']}")
    boss.page.get_by_label("To the model").fill("spare")
    boss.page.get_by_role("button", name="Replay and compare").click()
    expect(boss.page.get_by_role("heading", name="Replay")).to_be_visible()
    expect(boss.page.get_by_role("region", name="As it was")).to_contain_text("What is the capital of France?")
    expect(boss.page.get_by_role("region", name="Now")).to_contain_text("up/m-2")
    expect(boss.page.get_by_text("the same answer")).to_be_visible()
    expect(boss.page.get_by_text("$0.000105")).to_be_visible()
    boss.quiet()


def test_limits_are_set_shown_and_removed(boss: Looker, house: House) -> None:
    """A budget set by the form shows what is spent of it, on its page, under spend, and first of all."""
    page = boss.page
    boss.go("/limits?scope=user&value=alice")
    page.get_by_label("Amount").fill("0.5")
    page.get_by_label("Per").select_option("month")
    page.get_by_role("button", name="Set limit").click()
    row = page.get_by_role("row").filter(has_text="user alice")
    expect(row).to_contain_text("$0.50 per month")
    expect(row).to_contain_text("$0.0001")
    boss.check()
    for path in ("/spend", ""):
        boss.go(path)
        expect(page.get_by_text("user alice, dollars per month").first).to_be_visible()
    boss.go("/limits")
    page.get_by_label("Amount").fill("much")
    page.get_by_role("button", name="Set limit").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove user alice").click()
    expect(page.get_by_text("Nothing is limited yet.")).to_be_visible()
    boss.quiet()


def test_a_developer_judges_a_call(boss: Looker, house: House) -> None:
    """The story shows what people thought of the call, takes one's own view of it, and says what is wrong with that."""
    page, call = boss.page, house.calls["good"]
    boss.go(f"/calls/{call}")
    page.get_by_label("Score").select_option("0.25")
    page.get_by_label("Label", exact=True).fill("wrong-answer")
    page.get_by_label("Comment").fill("It is Lyon.\nSurely.")
    page.get_by_role("button", name="Give feedback").click()
    row = page.get_by_role("region", name="Feedback").get_by_role("row").filter(has_text="wrong-answer")
    expect(row).to_contain_text("0.25")
    expect(row).to_contain_text("It is Lyon.")
    expect(row).to_contain_text("a reviewer")
    boss.check()
    page.get_by_label("Score").select_option("")
    page.get_by_role("button", name="Give feedback").click()
    expect(page.get_by_role("alert")).to_contain_text("feedback says nothing")
    assert page.get_by_label("Score").input_value() == ""
    boss.go("")
    expect(page.locator(".tile", has_text="Satisfaction")).to_contain_text("judged")
    expect(page.get_by_role("heading", name="Judged bad lately")).to_be_visible()
    boss.quiet()


def test_comments_are_for_developers(house: House) -> None:
    """A viewer sees scores and labels; neither comments, on the page or in the record, nor the form."""
    path = f"/calls/{house.calls['retried']}"
    viewer, developer = house.visitor(house.keys["viewer"]), house.visitor(house.keys["developer"])
    said = {"score": "0.5", "label": "seen-by-all", "comment": "not-for-viewers"}
    given = developer.post(f"{path}/feedback", {**said, "proof": developer.get("/calls").proof})
    assert (given.status, given.headers["location"]) == (303, f"/console{path}#feedback")
    for visitor, shown in ((viewer, False), (developer, True)):
        for page in (visitor.get(path), visitor.get(f"{path}/record")):
            assert "seen-by-all" in page.text
            assert ("not-for-viewers" in page.text) == shown
        assert ('/feedback"' in visitor.get(path).text) == shown
    assert viewer.post(f"{path}/feedback", {**said, "proof": viewer.get("/calls").proof}).status == 403
