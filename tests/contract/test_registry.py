"""The Registry over its stores: every change whole, audited, once; nothing half done, no secret anywhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, create_engine, delete, insert, select, text, update

from headgate.core.clock import FixedClock
from headgate.core.errors import BadRequest, Unavailable
from headgate.stores import audit
from headgate.stores.change import KEPT_NS, Once
from headgate.stores.data import DataDir
from headgate.stores.keyring import KeyRingCache, digest_of
from headgate.stores.keys import KeyChange, KeySpec
from headgate.stores.people import TeamSpec, UserChange, UserSpec
from headgate.stores.registry import Registry
from headgate.stores.schema import audit_log, epoch, metadata


@pytest.fixture
def engine(data: DataDir) -> Iterator[Engine]:
    """The store."""
    engine = data.open_engine()
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands still."""
    return FixedClock()


@pytest.fixture
def registry(engine: Engine, clock: FixedClock) -> Registry:
    """The registry, for somebody at the command line."""
    return Registry(engine, "cli:alice", time_ns=clock.time_ns)


@pytest.fixture
def ring(data: DataDir, engine: Engine, clock: FixedClock) -> Iterator[KeyRingCache]:
    """A worker's key ring, refreshed by hand."""
    ring = KeyRingCache(data.url, clock=clock, poll_seconds=60)
    yield ring
    ring.close()


def everything(engine: Engine) -> str:
    """All that the database holds, as text."""
    found = []
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            found += [repr(tuple(row)) for row in connection.execute(select(table))]
    return "\n".join(sorted(found))


def entries(engine: Engine) -> list[tuple[str, str, Any, Any]]:
    """The audit log, oldest first: action, target, before, after."""
    return [
        (one.action, one.target, one.before and json.loads(one.before), one.after and json.loads(one.after))
        for one in reversed(audit.list_entries(engine, 1000))
    ]


def refused(code: str, operation: Any, *arguments: Any) -> BadRequest:
    """Runs what must be refused with this code."""
    with pytest.raises(BadRequest) as caught:
        operation(*arguments)
    assert caught.value.code == code, caught.value.message
    return caught.value


def test_every_change_is_in_the_log(engine: Engine, registry: Registry) -> None:
    """Who, what, before and after; what changes nothing leaves no entry; no secret and no hash of one is in it."""
    registry.create_team(TeamSpec(name="red"))
    user = registry.create_user(UserSpec(name="Ann", email="ANN@x.org", team="red"))
    made = registry.create_key(KeySpec(name="app", owner="ann@x.org", models=["fast"], metadata={"ticket": "OPS-1"}))
    registry.update_key("app", KeyChange(models=None, direct=True))
    registry.update_key("app", KeyChange(direct=True))
    rotated = registry.rotate_key(made.info.id, "1h")
    registry.update_user("Ann", UserChange(role="viewer"))
    registry.update_user("Ann", UserChange(role="viewer"))
    registry.delete_user(user.id)
    registry.delete_team("red")
    log = entries(engine)
    assert [one[0] for one in log] == [
        *("team.create", "user.create", "key.create", "key.update", "key.rotate", "user.update"),
        *("key.revoke", "user.delete", "team.delete"),
    ]
    assert [one[1] for one in log[:4]] == ["red", user.id, made.info.id, made.info.id]
    assert log[2][2] is None
    assert log[2][3]["owner"] == user.id
    assert (log[3][2]["models"], log[3][3]["models"], log[3][3]["direct"]) == (["fast"], None, True)
    assert log[6][3]["revoked_ns"] is not None
    assert log[7][3] is None
    assert {one.actor for one in audit.list_entries(engine, 100)} == {"cli:alice"}
    for secret in (made.secret, rotated.secret):
        assert secret not in everything(engine)
        assert digest_of(secret).hex() not in json.dumps(log)
        assert repr(digest_of(secret))[2:-1] not in json.dumps(log)
    assert audit.verify(engine).whole


def test_a_key_is_what_was_asked_for(engine: Engine, registry: Registry, ring: KeyRingCache) -> None:
    """All that a key may be is stored, shown, and known to a worker; an update changes what it names alone."""
    made = registry.create_key(
        KeySpec(
            name="app",
            role="admin",
            expires="30d",
            user="u",
            team="t",
            feature="f",
            models=["fast", "gpt-*"],
            direct=True,
            payloads="full",
            networks=["10.0.0.0/8"],
            required_tags=["app"],
            metadata={"a": "b"},
        )
    )
    assert registry.find_key("app") == registry.list_keys()[0] == made.info
    ring.refresh()
    who = ring.find(digest_of(made.secret))
    assert who is not None
    assert (who.key_id, who.role, who.user, who.team, who.feature) == (made.info.id, "admin", "u", "t", "f")
    assert (who.direct, who.payloads) == (True, "full")
    assert who.models is not None
    assert "gpt-4" in who.models
    assert who.terms is not None
    changed = registry.update_key(made.info.id, KeyChange(networks=None, required_tags=[], models=None, expires=None))
    assert (
        msgspec.structs.replace(
            changed,
            networks=["10.0.0.0/8"],
            required_tags=["app"],
            models=["fast", "gpt-*"],
            expires_ns=made.info.expires_ns,
        )
        == made.info
    )
    ring.refresh()
    who = ring.find(digest_of(made.secret))
    assert who is not None
    assert (who.models, who.terms, who.role) == (None, None, "admin")


def test_the_old_secret_lives_for_the_overlap(registry: Registry, ring: KeyRingCache, clock: FixedClock) -> None:
    """After a rotation both secrets are the same key, the old one until its time; a second rotation lengthens none."""
    first = registry.create_key(KeySpec(name="app", expires="3h"))
    second = registry.rotate_key("app", "1h")
    assert second.info.id == first.info.id
    assert second.info.old_until_ns == clock.time_ns() + 3600 * 10**9

    def valid() -> list[bool]:
        ring.refresh()
        return [ring.find(digest_of(one.secret)) is not None for one in made]

    made = [first, second]
    assert valid() == [True, True]
    clock.advance(1800)
    made.append(registry.rotate_key("app", "2h"))
    assert valid() == [True, True, True]
    clock.advance(1800)
    assert valid() == [False, True, True]
    made.append(registry.rotate_key("app", "10m"))
    clock.advance(600)
    assert valid() == [False, False, False, True]
    made.append(registry.rotate_key("app", "9h"))
    clock.advance(3 * 3600 - 4200)
    assert valid() == [False] * 5
    refused("key_expired", registry.rotate_key, "app", "1h")
    registry.update_key("app", KeyChange(expires=None))
    assert valid() == [False, False, False, True, True]
    made.append(registry.rotate_key("app", "0s"))
    assert valid() == [False] * 5 + [True]
    registry.rotate_key("app", "1h")
    registry.revoke_key("app")
    assert valid() == [False] * 6


def test_a_person_bounds_their_keys(registry: Registry, ring: KeyRingCache) -> None:
    """Their keys count for them and their team and can do no more than they may, whatever happens to them later."""
    registry.create_team(TeamSpec(name="red"))
    registry.create_team(TeamSpec(name="blue"))
    ann = registry.create_user(UserSpec(name="Ann", team="red", role="admin"))
    key = registry.create_key(KeySpec(name="app", owner="Ann", role="admin"))
    own = registry.create_key(KeySpec(name="own", owner=ann.id, user="batch", team="ops"))

    def seen(secret: str) -> tuple[str, str, str]:
        ring.refresh()
        who = ring.find(digest_of(secret))
        assert who is not None
        return who.role, who.user, who.team

    assert seen(key.secret) == ("admin", "Ann", "red")
    assert seen(own.secret) == ("developer", "batch", "ops")
    registry.update_user("Ann", UserChange(name="Ann B.", team="blue", role="viewer"))
    assert seen(key.secret) == ("viewer", "Ann B.", "blue")
    assert seen(own.secret)[0] == "viewer"
    refused("invalid_value", registry.create_key, KeySpec(name="more", owner=ann.id))
    refused("invalid_value", registry.update_key, "app", KeyChange(role="developer"))
    registry.update_key("app", KeyChange(role="viewer"))
    registry.delete_user(ann.id)
    ring.refresh()
    assert ring.find(digest_of(key.secret)) is ring.find(digest_of(own.secret)) is None
    assert [one.state(0) for one in registry.list_keys()] == ["revoked", "revoked"]


def test_a_team_ends_when_nobody_is_in_it(registry: Registry) -> None:
    """People and keys that are not revoked hold a team; a person's team must exist, a key's may be any word."""
    registry.create_team(TeamSpec(name="red", description="The red ones"))
    refused("already_exists", registry.create_team, TeamSpec(name="RED"))
    refused("team_not_found", registry.create_user, UserSpec(name="Ann", team="blue"))
    registry.create_user(UserSpec(name="Ann", team="red"))
    refused("team_in_use", registry.delete_team, "red")
    registry.update_user("Ann", UserChange(team=""))
    registry.create_key(KeySpec(name="k", team="red"))
    refused("team_in_use", registry.delete_team, "red")
    registry.revoke_key("k")
    assert registry.delete_team("red") == registry.create_team(TeamSpec(name="red", description="The red ones"))
    registry.create_key(KeySpec(name="other", team="never made"))


SECRET = "hg-" + "x" * 43


def test_what_is_refused_changes_nothing(engine: Engine, registry: Registry) -> None:
    """Absurd values, unknown ids, taken names: a clear error, the database as before, and no secret repeated."""
    registry.create_user(UserSpec(name="Ann", email="a@x.org"))
    registry.create_key(KeySpec(name="app"))
    registry.create_key(KeySpec(name="dead"))
    dead = registry.revoke_key("dead")
    before = everything(engine)
    for code, operation, *arguments in [
        ("invalid_value", registry.create_key, KeySpec(name="")),
        ("invalid_value", registry.create_key, KeySpec(name="x\0")),
        ("invalid_value", registry.create_key, KeySpec(name=SECRET)),
        ("invalid_value", registry.create_key, KeySpec(name="x", expires="-5d")),
        ("invalid_value", registry.create_key, KeySpec(name="x", role="king")),
        ("invalid_value", registry.create_key, KeySpec(name="x", payloads="some")),
        ("invalid_value", registry.create_key, KeySpec(name="x", networks=["everywhere"])),
        ("user_not_found", registry.create_key, KeySpec(name="x", owner="nobody")),
        ("user_not_found", registry.create_key, KeySpec(name="x", owner="\0")),
        ("invalid_value", registry.update_key, "app", KeyChange(name="new", models=[])),
        ("invalid_value", registry.rotate_key, "app", "a while"),
        ("key_not_found", registry.rotate_key, "nobody", "1h"),
        ("key_not_found", registry.revoke_key, "nobody"),
        ("key_not_found", registry.revoke_key, "\0\ud800"),
        ("key_not_found", registry.revoke_key, SECRET),
        ("key_not_found", registry.update_key, "dead", KeyChange(name="y")),
        ("key_revoked", registry.update_key, dead.id, KeyChange(name="y")),
        ("key_revoked", registry.rotate_key, dead.id, "1h"),
        ("invalid_value", registry.create_team, TeamSpec(name="a/b")),
        ("team_not_found", registry.delete_team, "nothing"),
        ("already_exists", registry.create_user, UserSpec(name="ann")),
        ("already_exists", registry.create_user, UserSpec(name="Bob", email="A@X.org")),
        ("user_not_found", registry.update_user, "nobody", UserChange(name="y")),
        ("user_not_found", registry.delete_user, SECRET),
        ("user_not_found", registry.delete_user, ""),
    ]:
        error = refused(code, operation, *arguments)
        assert SECRET not in error.message
        assert error.message.isprintable()
    assert registry.revoke_key(dead.id) == dead
    assert everything(engine) == before


def test_a_failure_in_the_middle_leaves_nothing(
    engine: Engine, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's removal that fails after their keys were revoked has revoked none, and logged none."""
    registry.create_user(UserSpec(name="Ann"))
    registry.create_key(KeySpec(name="app", owner="Ann"))
    before = everything(engine)

    def fail(*_: object) -> None:
        raise RuntimeError("pulled plug")

    monkeypatch.setattr("headgate.stores.people.remove_user", fail)
    with pytest.raises(RuntimeError):
        registry.delete_user("Ann")
    assert everything(engine) == before


def test_a_database_that_is_gone_is_told(registry: Registry, engine: Engine) -> None:
    """A database error names nothing of what was to be written."""
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE virtual_keys"))
    with pytest.raises(Unavailable) as caught:
        registry.create_key(KeySpec(name="very-special"))
    assert caught.value.code == "store_unavailable"
    assert "very-special" not in caught.value.message


# the same call twice


TOKEN = b"hg-the-admins-own-key"


def again(
    engine: Engine,
    clock: FixedClock,
    request: bytes = b"create",
    key: str = "k1",
    token: bytes = TOKEN,
    caller: str = "a",
) -> Registry:
    """A registry for one call with an idempotency key."""
    return Registry(engine, caller, once=Once(caller, key, request), token=token, time_ns=clock.time_ns)


def test_the_same_call_is_made_once(engine: Engine, registry: Registry, clock: FixedClock) -> None:
    """Sent again it answers the same, secret included, and changes nothing; that secret is stored nowhere."""
    first = again(engine, clock)
    made = first.create_key(KeySpec(name="app"))
    assert not first.replayed
    before = everything(engine)
    clock.advance(60)
    second = again(engine, clock)
    assert second.create_key(KeySpec(name="app")) == made
    assert second.replayed
    assert everything(engine) == before
    assert made.secret not in before
    assert len(made.secret) == 46
    registry.update_key("app", KeyChange(name="renamed"))
    assert again(engine, clock).create_key(KeySpec(name="app")) == made
    assert len(registry.list_keys()) == 1
    rotated = again(engine, clock, b"rotate", "k2").rotate_key(made.info.id, "1h")
    assert again(engine, clock, b"rotate", "k2").rotate_key(made.info.id, "1h") == rotated
    assert rotated.secret != made.secret
    user = again(engine, clock, b"user", "k3").create_user(UserSpec(name="Ann"))
    assert again(engine, clock, b"user", "k3").create_user(UserSpec(name="Ann")) == user
    assert [one[0] for one in entries(engine)] == ["key.create", "key.update", "key.rotate", "user.create"]


def test_an_idempotency_key_belongs_to_one_call_of_one_caller(
    engine: Engine, registry: Registry, clock: FixedClock
) -> None:
    """Another request under it is refused, another caller's is another; a refusal is not kept; a day later none is."""
    again(engine, clock).create_key(KeySpec(name="app"))
    refused("idempotency_conflict", again(engine, clock, b"other").create_key, KeySpec(name="app"))
    again(engine, clock, caller="b").create_key(KeySpec(name="app"))
    assert len(registry.list_keys()) == 2
    refused("secret_not_kept", again(engine, clock, token=b"other").create_key, KeySpec(name="app"))
    refused("secret_not_kept", again(engine, clock, token=b"").create_key, KeySpec(name="app"))
    twin = UserSpec(name="Ann")
    registry.create_user(twin)
    refused("already_exists", again(engine, clock, key="k2").create_user, twin)
    registry.delete_user("Ann")
    again(engine, clock, key="k2").create_user(twin)
    clock.advance(KEPT_NS / 1e9 + 1)
    again(engine, clock, b"other").create_key(KeySpec(name="app"))
    assert len(registry.list_keys()) == 3
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM answered")).scalar_one() == 1


def test_the_same_call_at_the_same_time_is_made_once(engine: Engine, registry: Registry, clock: FixedClock) -> None:
    """Two workers that get one call at once make one change and give one answer."""
    made: list[object] = []
    together = threading.Barrier(4)

    def ask() -> None:
        together.wait()
        made.append(again(engine, clock).create_key(KeySpec(name="app")))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert all(one == made[0] for one in made)
    assert len(registry.list_keys()) == 1


# the log


def fill(registry: Registry, count: int = 6) -> None:
    """Makes some entries."""
    for number in range(count):
        registry.create_team(TeamSpec(name=f"team {number}"))


def test_writers_of_several_machines_do_not_fork_the_log(engine: Engine, data: DataDir) -> None:
    """However many write at once, each on a connection of its own, the log is one chain without a gap."""
    together = threading.Barrier(4)

    def write(number: int) -> None:
        own = data.open_engine()
        registry = Registry(own, f"machine {number}")
        together.wait()
        for turn in range(5):
            registry.create_team(TeamSpec(name=f"{number}-{turn}"))
        own.dispose()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verdict = audit.verify(engine)
    assert (verdict.whole, verdict.entries) == (True, 20)
    assert verdict.head == audit.head_of(engine)
    assert {one.actor for one in audit.list_entries(engine, 100)} == {f"machine {number}" for number in range(4)}


def test_a_whole_log_is_proved(engine: Engine, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty log is whole; every head that was ever noted is found in it, page by page; an unknown one is not."""
    monkeypatch.setattr(audit, "PAGE", 2)
    assert audit.verify(engine) == audit.Verdict(True, 0, audit.GENESIS)
    heads = [audit.head_of(engine)]
    for number in range(5):
        registry.create_team(TeamSpec(name=str(number)))
        heads.append(audit.head_of(engine))
    assert len(set(heads)) == 6
    for head in heads:
        assert audit.verify(engine, head.upper()) == audit.Verdict(True, 5, heads[-1])
    assert not audit.verify(engine, "f" * 64).whole
    for wrong in ("abc", "g" * 64, "f" * 65):
        with pytest.raises(BadRequest):
            audit.verify(engine, wrong)


def test_an_edited_entry_is_found(engine: Engine, registry: Registry) -> None:
    """Whatever of an entry is changed, the proof names that entry."""
    fill(registry)
    entry = msgspec.structs.asdict(audit.list_entries(engine, 1, before=4)[0])

    def put(values: dict[str, Any]) -> audit.Verdict:
        with engine.begin() as connection:
            connection.execute(update(audit_log).where(audit_log.c.seq == 3).values(values))
        return audit.verify(engine)

    for column in entry.keys() - {"seq"}:
        verdict = put({column: 1 if column == "time_ns" else "0" * 64})
        assert (verdict.whole, verdict.broken_at, verdict.entries) == (False, 3, 2)
        assert put(entry).whole


def test_a_rewritten_entry_breaks_the_chain(engine: Engine, registry: Registry) -> None:
    """An entry edited together with its own hash no longer fits the next one."""
    fill(registry)
    entry = audit.list_entries(engine, 1, before=4)[0]
    forged = msgspec.structs.replace(entry, actor="cli:somebody else")
    with engine.begin() as connection:
        changed = {"actor": forged.actor, "hash": forged.sealed()}
        connection.execute(update(audit_log).where(audit_log.c.seq == 3).values(changed))
    verdict = audit.verify(engine)
    assert (verdict.whole, verdict.broken_at) == (False, 4)


def test_removed_inserted_and_moved_entries_are_found(engine: Engine, registry: Registry) -> None:
    """A gap, a swap, and an entry that was put in front are each named."""
    fill(registry)
    rows = {one.seq: one for one in audit.list_entries(engine, 10)}

    def put(*new: audit.Entry) -> audit.Verdict:
        with engine.begin() as connection:
            connection.execute(delete(audit_log))
            connection.execute(insert(audit_log), [msgspec.structs.asdict(one) for one in new])
        return audit.verify(engine)

    def at(entry: audit.Entry, seq: int) -> audit.Entry:
        return msgspec.structs.replace(entry, seq=seq)

    whole = [rows[number] for number in range(1, 7)]
    assert put(*whole).whole
    assert put(*(one for one in whole if one.seq != 4)).broken_at == 4
    assert put(*(one for one in whole if one.seq != 1)).broken_at == 1
    assert put(*whole[:2], at(whole[3], 3), at(whole[2], 4), *whole[4:]).broken_at == 3
    assert put(at(whole[0], 0), *whole).broken_at == 1
    assert put(*whole).whole


def test_a_cut_end_is_found(engine: Engine, registry: Registry) -> None:
    """A log that lost its last entries is noticed; where the counter was wound back as well, a noted head tells."""
    fill(registry)
    head = audit.head_of(engine)
    with engine.begin() as connection:
        connection.execute(delete(audit_log).where(audit_log.c.seq > 4))
    verdict = audit.verify(engine)
    assert (verdict.whole, verdict.broken_at) == (False, 5)
    with engine.begin() as connection:
        connection.execute(update(epoch).where(epoch.c.name == "audit").values(value=4))
    assert audit.verify(engine).whole
    assert not audit.verify(engine, head).whole
    registry.create_team(TeamSpec(name="later"))
    assert audit.verify(engine).whole
    assert not audit.verify(engine, head).whole


def test_a_hash_can_be_recomputed_by_anybody(engine: Engine, registry: Registry) -> None:
    """The documented formula, with nothing but the standard library, gives the stored hash."""
    import hashlib

    registry.create_team(TeamSpec(name='tëam "x"', description="a/b"))
    (row,) = audit.list_entries(engine, 1)
    sealed = [1, row.seq, row.time_ns, row.actor, row.action, row.target, row.before, row.after, row.previous]
    text = json.dumps(sealed, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == row.hash


def test_a_database_without_a_counter_is_not_written(tmp_path: Path) -> None:
    """Where somebody took the counter away, nothing is changed rather than changed without an entry."""
    from headgate.core.errors import ConfigError

    engine = create_engine(f"sqlite:///{tmp_path}/x.db")
    metadata.create_all(engine)
    with pytest.raises(ConfigError, match="counter"):
        Registry(engine, "cli:alice").create_team(TeamSpec(name="red"))
    assert everything(engine) == ""
    engine.dispose()
