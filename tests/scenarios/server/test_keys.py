"""Keys on a running gateway: restricted, rotated, revoked on every worker, bounded by their owner."""

from __future__ import annotations

import json
import pathlib
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest
from tests.scenarios.conftest import Gateway, Upstream

from .desk import Desk
from .stage import LIVELY, wait


@pytest.fixture(scope="module")
def crew(up: Upstream, fresh: Callable[[str], pathlib.Path]) -> Iterator[Gateway]:
    """A gateway with two workers."""
    one = Gateway(fresh("pair"), LIVELY.format(port=up.port), workers=2)
    yield one
    one.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def boss(crew: Gateway) -> Desk:
    """An admin whom both workers know."""
    key = crew.run("keys", "create", "--name", "boss", "--role", "admin", "--quiet").strip()
    wait(lambda: everywhere(crew, key) == {200})
    return Desk(crew, key)


def everywhere(crew: Gateway, key: str) -> set[int]:
    """What a call with this key is answered by both workers: each puts its own eight digits into the ids it makes."""
    workers: set[str] = set()
    statuses: set[int] = set()
    for turn in range(400):
        status, headers, _ = crew.chat(headers={"authorization": f"Bearer {key}"})
        workers.add(headers["x-headgate-id"][14:22])
        statuses.add(status)
        if len(workers) == 2 and turn >= 8:
            return statuses
    raise AssertionError("only one worker answers")


def made(crew: Gateway, boss: Desk, name: str, **fields: object) -> tuple[Desk, str]:
    """Somebody with a new key that both workers know, and the key's id."""
    info = boss.post("/keys", name=name, **fields)
    wait(lambda: 401 not in everywhere(crew, info["key"]))
    return Desk(crew, info["key"]), info["id"]


CASES: list[tuple[dict[str, object], dict[str, str], tuple[int, str]]] = [
    ({"networks": ["10.0.0.0/8"]}, {}, (403, "address_not_allowed")),
    ({"networks": ["10.0.0.0/8", "127.0.0.0/8"]}, {}, (200, "")),
    ({"models": ["gpt-*", "steady"]}, {}, (404, "model_not_found")),
    ({"models": ["gpt-*", "fa?t"]}, {}, (200, "")),
    ({"required_tags": ["app", "env=prod"]}, {"x-headgate-tags": "app=x,env=dev"}, (400, "missing_tag")),
    ({"required_tags": ["app", "env=prod"]}, {"x-headgate-tags": "app=x,env=prod"}, (200, "")),
    ({"role": "viewer"}, {}, (403, "forbidden")),
    ({"role": "admin"}, {}, (200, "")),
]


@pytest.fixture(scope="module")
def callers(crew: Gateway, boss: Desk) -> list[Desk]:
    """One caller for each case, known to both workers."""
    found = [Desk(crew, boss.post("/keys", name=f"case {n}", **case[0])["key"]) for n, case in enumerate(CASES)]
    wait(lambda: 401 not in everywhere(crew, found[-1].key))
    return found


def test_what_is_printed_at_start_to_try_sends_a_key(crew: Gateway, boss: Desk) -> None:
    """Where keys exist, the printed call names the variable for one; run as it stands, it is answered."""
    wait(lambda: len(crew.log) >= 3)
    assert "HEADGATE_KEY" in crew.log[0]
    printed = "".join(crew.log[1:3]).replace(" curl -s ", " curl -sf ")
    done = subprocess.run(
        ["sh", "-c", printed], env={**crew.env, "HEADGATE_KEY": boss.key}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["object"] == "chat.completion"


def test_a_revoked_key_is_refused_by_every_worker(crew: Gateway, boss: Desk) -> None:
    """Revoked through one worker, or at the command line: soon neither takes it."""
    first, first_id = made(crew, boss, "first")
    second, _ = made(crew, boss, "second")
    assert everywhere(crew, first.key) == everywhere(crew, second.key) == {200}
    boss.post(f"/keys/{first_id}/revoke")
    crew.run("keys", "revoke", "second")
    wait(lambda: everywhere(crew, first.key) == everywhere(crew, second.key) == {401})


def test_both_keys_hold_while_they_overlap(crew: Gateway, boss: Desk) -> None:
    """A rotated key's old secret is taken by both workers until its time is over; the new one stays."""
    old, id = made(crew, boss, "rotated")
    fresh = boss.post(f"/keys/{id}/rotate", overlap="4s")["key"]
    assert old.chat() == (200, "")
    wait(lambda: everywhere(crew, fresh) == {200})
    wait(lambda: everywhere(crew, old.key) == {401})
    assert everywhere(crew, fresh) == {200}


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: str(CASES[number]))
def test_a_key_can_do_what_it_may(callers: list[Desk], number: int) -> None:
    """By client address, model, tag and role: what is not allowed is refused by name."""
    _, headers, answer = CASES[number]
    assert callers[number].chat(**headers, **{"x-headgate-feature": f"case-{number}"}) == answer


def test_a_refused_call_is_recorded_under_its_key(crew: Gateway, callers: list[Desk]) -> None:
    """Whoever reads the records sees which key was tried from where it may not be used; no upstream saw it."""
    for number, caller in enumerate(callers):
        caller.chat(**CASES[number][1], **{"x-headgate-session": f"again-{number}"})
    found = {record["session"]: record for record in crew.records()}
    for number, (_, _, (status, code)) in enumerate(CASES):
        record = found[f"again-{number}"]
        assert (record["key_name"], record["status"], record["error"] or "") == (f"case {number}", status, code)
        assert record["outcome"] == ("refused" if code else "completed")
        assert bool(record["attempts"]) is not bool(code)


def test_the_address_matters_to_every_face(crew: Gateway, boss: Desk) -> None:
    """A key that may not be used from here sees no models either, and administers nothing."""
    caller, _ = made(crew, boss, "elsewhere", role="admin", networks=["192.0.2.0/24"])
    assert caller.call("GET", "/me").code == "address_not_allowed"
    head = f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {caller.key}\r\nconnection: close\r\n\r\n"
    assert b"address_not_allowed" in crew.raw(head.encode())


def test_a_viewer_sees_the_models(crew: Gateway, boss: Desk) -> None:
    """Reading is what a viewer may; of the models those that the key allows."""
    caller, _ = made(crew, boss, "eyes", role="viewer", models=["st*"])
    head = f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {caller.key}\r\nconnection: close\r\n\r\n"
    body = crew.raw(head.encode()).partition(b"\r\n\r\n")[2]
    assert [model["id"] for model in json.loads(body)["data"]] == ["steady"]


def test_a_person_who_leaves_takes_their_keys_along(crew: Gateway, boss: Desk) -> None:
    """Calls of a person's key count for them and their team; when they are deleted it ends on every worker."""
    boss.post("/teams", name="red")
    ann = boss.post("/users", name="Ann", team="red", role="developer")
    caller, _ = made(crew, boss, "hers", owner=ann["id"])
    assert caller.chat() == (200, "")
    record = next(record for record in crew.records() if record["user"] == "Ann")
    assert (record["team"], record["outcome"]) == ("red", "completed")
    crew.run("users", "update", "Ann", "--role", "viewer")
    wait(lambda: everywhere(crew, caller.key) == {403})
    assert boss.call("DELETE", f"/users/{ann['id']}").status == 200
    wait(lambda: everywhere(crew, caller.key) == {401})
    assert boss.call("DELETE", "/teams/red").status == 200


def test_a_call_sent_to_two_workers_is_made_once(crew: Gateway, boss: Desk) -> None:
    """Whichever worker gets the repetition, it answers what the first one did, secret included."""
    asked = [boss.call("POST", "/keys", {"name": "once"}, idempotency_key="one-for-both") for _ in range(12)]
    assert {(answer.status, answer.raw) for answer in asked} == {(201, asked[0].raw)}
    assert sum(key["name"] == "once" for key in boss.get("/keys?limit=1000")["data"]) == 1
