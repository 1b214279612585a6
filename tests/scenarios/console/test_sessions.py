"""The console's sessions: each ends with its time, its key and its rights, and its cookie opens nothing else."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, select, update

from headgate.stores.data import DataDir
from headgate.stores.keyring import digest_of
from headgate.stores.keys import KeyChange, KeySpec
from headgate.stores.registry import Registry
from headgate.stores.schema import console_sessions
from headgate.stores.sessions import IDLE_NS, LIFE_NS

from .house import House, Visitor

_WAIT = 20.0
"""Seconds that a change may take to be known, on the slowest machine; half a second is usual."""
_c = console_sessions.c


@pytest.fixture
def store(house: House) -> Iterator[Engine]:
    """The gateway's store, as its operator has it."""
    engine = DataDir(house.gate.data).open_engine()
    yield engine
    engine.dispose()


@pytest.fixture
def registry(store: Engine) -> Registry:
    """Changes keys behind the console's back."""
    return Registry(store, "cli:test")


def _known(house: House, secret: str, status: int = 200) -> None:
    """Waits until the gateway answers this key so."""
    _until(lambda: _plain(house, "/v1/models", authorization=f"Bearer {secret}") == status)


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _WAIT
    while not holds():
        assert time.monotonic() < end, "not within the time that it may take"
        time.sleep(0.05)


def _plain(house: House, path: str, **headers: str) -> int:
    """Asks for a path outside the console; returns the status."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", house.gate.port, timeout=60)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def _guest(house: House, registry: Registry, name: str, **terms: str) -> tuple[Visitor, str]:
    """Returns somebody who is logged in by a new key, and its secret."""
    secret = registry.create_key(KeySpec(name=name, **terms)).secret
    _known(house, secret)
    return house.visitor(secret), secret


@pytest.mark.parametrize(("column", "age"), [("created_ns", LIFE_NS), ("seen_ns", IDLE_NS)])
def test_a_session_ends_by_time(house: House, store: Engine, column: str, age: int) -> None:
    """Twelve hours after its login, or two after its last request, a session is over; until then it is not."""
    visitor = house.visitor(house.keys["viewer"])
    session = console_sessions.update().where(_c.digest == digest_of(visitor.cookie))
    for past, status in ((age - 600 * 10**9, 200), (age + 10**9, 303)):
        with store.begin() as connection:
            connection.execute(session.values({column: time.time_ns() - past}))
        assert visitor.get("/calls").status == status
    assert visitor.post("/playground/ask", {"model": "fast", "prompt": "hello"}).status == 401


def test_a_request_keeps_a_session_from_falling_idle(house: House, store: Engine) -> None:
    """Each look begins the idle time anew, and never moves the login."""
    visitor = house.visitor(house.keys["viewer"])
    row = _c.digest == digest_of(visitor.cookie)
    old = time.time_ns() - IDLE_NS + 600 * 10**9
    with store.begin() as connection:
        connection.execute(update(console_sessions).where(row).values(seen_ns=old, created_ns=old))
    assert visitor.get("/calls").status == 200
    with store.connect() as connection:
        seen, created = connection.execute(select(_c.seen_ns, _c.created_ns).where(row)).one()
    assert seen > old
    assert created == old


def test_a_login_sweeps_sessions_that_are_over(house: House, store: Engine) -> None:
    """What can not be used any more does not stay in the store."""
    visitor = house.visitor(house.keys["viewer"])
    row = _c.digest == digest_of(visitor.cookie)
    with store.begin() as connection:
        connection.execute(update(console_sessions).where(row).values(created_ns=1))
    house.visitor(house.keys["viewer"])
    with store.connect() as connection:
        assert connection.execute(select(_c.digest).where(row)).one_or_none() is None


def test_a_revoked_key_ends_its_sessions(house: House, registry: Registry) -> None:
    """What a session may do is asked of its key at every request."""
    leaver, _ = _guest(house, registry, "leaver")
    assert leaver.get("/calls").status == 200
    registry.revoke_key("leaver")
    _until(lambda: leaver.get("/calls").status == 303)


def test_an_expired_key_ends_its_sessions(house: House, registry: Registry) -> None:
    """The session of a key that runs out is over with it, twelve hours or not."""
    temp, _ = _guest(house, registry, "temp")
    assert temp.get("/calls").status == 200
    registry.update_key("temp", KeyChange(expires="1s"))
    _until(lambda: temp.get("/calls").status == 303)


def test_a_rotated_key_ends_the_sessions_of_its_old_secret(house: House, registry: Registry) -> None:
    """Whoever rotates a key that was stolen is rid of the thief's session too; with an overlap it lasts that long."""
    owner, _ = _guest(house, registry, "rotated")
    fresh = registry.rotate_key("rotated", "1h").secret
    _known(house, fresh)
    assert owner.get("/calls").status == 200
    last = registry.rotate_key("rotated", "0s").secret
    _known(house, fresh, 401)
    _until(lambda: owner.get("/calls").status == 303)
    assert house.visitor(last).get("/calls").status == 200


def test_a_lowered_role_holds_for_open_sessions(house: House, registry: Registry) -> None:
    """A session has the rights that its key has now, not those of its login."""
    climber, _ = _guest(house, registry, "climber", role="admin")
    page = climber.get("/keys")
    assert page.status == 200
    registry.update_key("climber", KeyChange(role="viewer"))
    _until(lambda: climber.get("/keys").status == 403)
    made = climber.post("/keys", {"proof": page.proof, "once": "x", "name": "sneaked", "role": "admin"})
    assert made.status == 403
    assert "sneaked" not in [key.name for key in registry.list_keys()]
    assert climber.post("/playground/ask", {"model": "fast", "prompt": "x", "proof": page.proof}).status == 403


def test_a_stolen_cookie_is_worth_nothing_in_another_network(house: House, registry: Registry) -> None:
    """A key that is bound to networks binds its sessions to them."""
    home, secret = _guest(house, registry, "homely")
    assert home.get("/calls").status == 200
    registry.update_key("homely", KeyChange(networks=["192.0.2.0/24"]))
    _until(lambda: home.get("/calls").status == 403)
    assert house.visitor().log_in(secret).status == 403


@pytest.mark.parametrize("path", ["/v1/models", "/admin/v1/keys", "/admin/v1/audit"])
def test_a_session_opens_nothing_but_the_console(house: House, path: str) -> None:
    """A cookie goes along by itself, so it must be worth nothing where no form's proof is asked for."""
    visitor = house.visitor(house.keys["admin"])
    assert _plain(house, path, cookie=f"headgate_console={visitor.cookie}") == 401
    assert _plain(house, path, authorization=f"Bearer {visitor.cookie}") == 401


def test_a_key_does_not_open_a_page_by_itself(house: House) -> None:
    """Only a login does: a key in a header, in the address or as the cookie opens no page, and is shown on none."""
    key = house.keys["admin"]
    stranger = house.visitor()
    assert stranger.get("/calls", authorization=f"Bearer {key}").status == 303
    assert stranger.get(f"/calls?key={key}").status == 303
    assert key not in house.visitor(house.keys["admin"]).get("/audit").text
    stranger.cookie = key
    assert stranger.get("/calls").status == 303


def test_whoever_reads_the_store_has_no_session(house: House, store: Engine) -> None:
    """A copy of the database holds hashes: neither a cookie nor a form's proof can be made of it."""
    visitor = house.visitor(house.keys["admin"])
    with store.connect() as connection:
        digests = [bytes(digest) for digest in connection.execute(select(_c.digest)).scalars()]
    assert digest_of(visitor.cookie) in digests
    kept = b"".join(path.read_bytes() for path in house.gate.data.rglob("*") if path.is_file())
    assert visitor.cookie.encode() not in kept
    thief = house.visitor()
    for digest in digests:
        thief.cookie = digest.hex()
        assert thief.get("/calls").status == 303


def test_a_cookie_of_another_shape_is_nobody(house: House) -> None:
    """Cut, lengthened, doubled or empty: a stranger, never an error of ours."""
    visitor = house.visitor(house.keys["admin"])
    good = visitor.cookie
    for forged in (good[:-1], good + "x", good.swapcase(), "", "x" * 5000, "%00" * 20, "' or 1=1 --aaaaaaaaaaaaa"):
        thief = house.visitor()
        thief.cookie = forged
        assert thief.get("/calls").status == 303, forged
    assert visitor.get("/calls").status == 200


def test_a_planted_second_cookie_does_not_win(house: House) -> None:
    """A cookie that a neighbour on the same host planted logs its victim in as nobody else."""
    victim, attacker = house.visitor(house.keys["viewer"]), house.visitor(house.keys["admin"])
    both = f"headgate_console={victim.cookie}; headgate_console={attacker.cookie}"
    page = victim.get("/calls", cookie=both)
    assert page.status == 200
    assert ">viewer<" in page.text
