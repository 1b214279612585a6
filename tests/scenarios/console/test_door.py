"""The console's door: who comes in, by which cookie, and which posts are really theirs."""

from __future__ import annotations

import re

import pytest
from tests.scenarios.conftest import Gateway

from headgate.console.table import PAGES

from .house import House, Visitor

PATHS = sorted({re.sub(r"\{.*?\}", "x", page.path) for page in PAGES if page.method == "GET"})
POSTS = sorted({re.sub(r"\{.*?\}", "x", page.path) for page in PAGES if page.method == "POST"})


@pytest.mark.parametrize("path", PATHS)
def test_nobody_looks_without_a_login(house: House, path: str) -> None:
    """Once a key exists, every page sends a stranger to the login, and says nothing else; scripts are told 401."""
    page = Visitor(house.gate).get(path)
    assert page.status == 303
    assert page.headers["location"].startswith("/console/login")
    assert page.text == ""
    assert Visitor(house.gate).get(path, accept="application/json").status == 401


def test_a_login_gives_a_cookie_that_no_script_and_no_other_site_gets(house: House) -> None:
    """The session's cookie is HttpOnly, SameSite=Strict, for the console alone, and Secure behind TLS."""
    visitor = house.visitor()
    proof = visitor.get("/login").proof
    form = {"proof": proof, "key": house.keys["admin"]}
    cookie = visitor.post("/login", form, x_forwarded_proto="https").headers["set-cookie"]
    assert [part.strip() for part in cookie.split(";")[1:]] == [
        "Path=/console",
        "HttpOnly",
        "SameSite=Strict",
        "Secure",
    ]


def test_pages_forbid_the_browser_everything_that_they_do_not_need(house: House) -> None:
    """No inline script or style, frame, other site, sniffing, cache: of pages, redirects, errors, files alike."""
    visitor = house.visitor(house.keys["admin"])
    for path in ("/calls", "/nowhere", "/login", "/static/console.css", "/logout"):
        headers = visitor.get(path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
    page = visitor.get("/calls")
    assert page.headers["cache-control"] == "no-store"
    assert not re.search(r"<[^>]+\s(style|on\w+)=|<script(?![^>]*src=)|<style", page.text)


def test_a_session_known_before_the_login_is_worth_nothing_after_it(house: House) -> None:
    """Fixation: whoever plants a cookie in a browser does not come in when its user logs in."""
    victim, attacker = house.visitor(), house.visitor()
    attacker.get("/login")
    planted = victim.cookie = attacker.cookie
    assert victim.log_in(house.keys["admin"]).status == 303
    assert victim.cookie != planted
    assert victim.get("/calls").status == 200
    assert attacker.get("/calls").status == 303


def test_a_cookie_is_worth_nothing_after_logout(house: House) -> None:
    """Logging out ends the session in the store: a copy of its cookie does not come in again."""
    visitor, thief = house.visitor(house.keys["admin"]), house.visitor()
    thief.cookie = visitor.cookie
    assert thief.get("/calls").status == 200
    assert visitor.post("/logout", {"proof": visitor.get("/calls").proof}).status == 303
    assert thief.get("/calls").status == 303


def test_logging_out_everywhere_ends_all_sessions_of_the_key(house: House) -> None:
    """A session that was left open elsewhere can be ended from here; other keys' sessions stay."""
    here, there, other = (house.visitor(house.keys[role]) for role in ("viewer", "viewer", "developer"))
    assert here.post("/logout", {"proof": here.get("/calls").proof, "everywhere": "1"}).status == 303
    assert there.get("/calls").status == 303
    assert other.get("/calls").status == 200


@pytest.fixture(scope="module")
def insider(house: House) -> Visitor:
    """An admin who is logged in, and stays so: a key has 50 sessions, then its oldest make room."""
    return house.visitor(house.keys["admin"])


@pytest.mark.parametrize("path", [*POSTS, "/login"])
@pytest.mark.parametrize(
    "forged",
    [
        {"origin": "https://evil.invalid"},
        {"origin": "null"},
        {"origin": ""},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
    ids=str,
)
def test_a_post_of_another_site_is_refused(house: House, insider: Visitor, path: str, forged: dict[str, str]) -> None:
    """Even with the cookie and the right proof, a form of another origin changes nothing."""
    form = {"proof": insider.get("/calls").proof, "key": house.keys["admin"]}
    page = insider.post(path, form, **forged)
    assert page.status == 403
    assert "cross_site" in page.text
    assert insider.get("/calls").status == 200


@pytest.mark.parametrize("path", [*POSTS, "/login"])
def test_a_post_without_the_proof_of_its_session_is_refused(house: House, insider: Visitor, path: str) -> None:
    """The right origin is not enough: the form must be of this very session."""
    other = house.visitor(house.keys["admin"])
    for proof in ("", "0" * 64, other.get("/calls").proof):
        page = insider.post(path, {"proof": proof, "key": house.keys["admin"]})
        assert page.status == 403
        assert "cross_site" in page.text


def test_a_post_that_is_no_form_is_refused(house: House) -> None:
    """JSON and uploads are not what the console's forms send."""
    visitor = house.visitor(house.keys["admin"])
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
        assert visitor.post("/logout", {"proof": ""}, content_type=kind).status == 415


@pytest.mark.parametrize(
    "to", ["//evil.invalid", "/\\evil.invalid", "https://evil.invalid", "/login", "/a\r\nset-cookie: x=1"]
)
def test_a_login_never_leads_to_another_site(house: House, to: str) -> None:
    """The way back after a login stays below the console."""
    visitor = house.visitor()
    form = {"proof": visitor.get("/login").proof, "key": house.keys["admin"], "to": to}
    assert visitor.post("/login", form).headers["location"] == "/console/"


def test_a_login_leads_back_to_where_it_began(house: House) -> None:
    """Who was sent to the login sees the page asked for, filters included."""
    visitor = house.visitor()
    asked = visitor.get("/calls?user=a%26b&outcome=failed")
    login = visitor.get(asked.headers["location"].removeprefix("/console"))
    (to,) = re.findall(r'name="to" value="([^"]*)"', login.text)
    form = {"proof": login.proof, "key": house.keys["admin"], "to": to.replace("&amp;", "&")}
    assert visitor.post("/login", form).headers["location"] == "/console/calls?user=a%26b&outcome=failed"


def test_a_link_from_elsewhere_finds_the_session(house: House) -> None:
    """A strict cookie does not come along from a chat's link: the page looks again by itself, then it does."""
    visitor = house.visitor()
    page = visitor.get("/calls?user=%22%3E", sec_fetch_site="cross-site")
    assert page.status == 200
    assert 'content="0;url=/console/calls?user=%22%3E"' in page.text


def test_wrong_keys_are_told_apart_from_nothing(house: House) -> None:
    """An unknown key, a revoked one and rubbish are all the same 401, and the key is not shown again."""
    for key in ("hg-" + "x" * 43, "rubbish", "x" * 300):
        page = house.visitor().log_in(key)
        assert page.status == 401
        assert "unknown, revoked or expired" in page.text
        assert key not in page.text


def test_roles_see_what_they_may(house: House) -> None:
    """Pages for admins are 403 for others and not in their menu; what was said is for developers and admins."""
    for role, wanted in (("viewer", 403), ("developer", 403), ("admin", 200)):
        visitor = house.visitor(house.keys[role])
        for page in PAGES:
            if page.role == "admin" and page.method == "GET" and "{" not in page.path:
                assert visitor.get(page.path).status == wanted, page.path
                assert (f'href="/console{page.path}"' in visitor.get("/calls").text) == (
                    role == "admin" and bool(page.group)
                )
    call = house.calls["good"]
    assert "What is the capital" in house.visitor(house.keys["developer"]).get(f"/calls/{call}").text
    viewer = house.visitor(house.keys["viewer"])
    for path in (f"/calls/{call}", f"/calls/{call}/record"):
        page = viewer.get(path, **({"accept": "application/json"} if path.endswith("record") else {}))
        assert page.status == 200
        assert "What is the capital" not in page.text


def test_without_a_key_this_machine_alone_looks(bare: Gateway) -> None:
    """Keyless mode: no login on loopback; nothing for another host name, another site, or through a proxy."""
    visitor = Visitor(bare)
    assert visitor.get("/calls").status == 200
    assert visitor.get("/login").status == 303
    for forged in (
        {"host": "evil.invalid"},
        {"host": f"evil.invalid:{bare.port}"},
        {"sec_fetch_site": "cross-site"},
        {"origin": "https://evil.invalid"},
        {"x_forwarded_for": "192.0.2.7"},
    ):
        page = Visitor(bare).get("/calls", **forged)
        assert page.status == 403, forged
        assert "keyless_refused" in page.text
