"""The admin API: who may do what, what is refused, and that no secret is ever told twice."""

from __future__ import annotations

import json
import pathlib
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
from tests.scenarios.conftest import Gateway, Upstream

from headgate.core.terms import ROLES, has_role
from headgate.server.admin.page import Cursor, show_cursor
from headgate.server.admin.route import Route
from headgate.server.admin.table import ROUTES
from headgate.stores.data import DataDir
from headgate.stores.leases.sql import SqlLeases

from .desk import Answer, Desk
from .stage import LIVELY, memory


@pytest.fixture(scope="module")
def office(up: Upstream, fresh: Callable[[str], pathlib.Path]) -> Iterator[Gateway]:
    """A gateway with one worker, which is administered."""
    config = LIVELY.format(port=up.port).replace("drain_seconds: 1", "drain_seconds: 1, body_seconds: 0.4")
    alerts = "alerts: {rules: {failing: {kind: error_rate}}}\n"
    one = Gateway(fresh("office"), config + "data: {payloads: full}\n" + alerts)
    yield one
    if one.process.poll() is None:
        one.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def boss(office: Gateway) -> Desk:
    """An admin; the key was made at the command line."""
    desk = Desk(office, office.run("keys", "create", "--name", "boss", "--role", "admin", "--quiet").strip())
    while desk.call("GET", "/me").status == 401:
        time.sleep(0.02)
    return desk


@pytest.fixture(scope="module")
def staff(office: Gateway, boss: Desk) -> dict[str, Desk]:
    """One caller of each role."""
    return {role: Desk(office, boss.post("/keys", name=f"a {role}", role=role)["key"]) for role in ROLES}


@pytest.fixture(scope="module")
def document(boss: Desk) -> dict[str, Any]:
    """The API's own description."""
    return dict(boss.get("/openapi.json"))


ABOUT_CALLS = ("get_record", "give_feedback", "replay_call", "play_call")


def fill(route: Route, boss: Desk, record: str) -> tuple[str, object]:
    """Returns a path and a body that this route takes, making what they name."""
    number = len(boss.get("/audit?limit=1000")["data"])
    path = route.path
    if "/keys/{id}" in path:
        path = path.replace("{id}", str(boss.post("/keys", name=f"key {number}")["id"]))
    if "/users/{id}" in path:
        path = path.replace("{id}", str(boss.post("/users", name=f"user {number}")["id"]))
    if "/teams/{name}" in path:
        path = path.replace("{name}", str(boss.post("/teams", name=f"team-{number}")["name"]))
    limit = {"scope": "feature", "value": f"none-{number}", "amount": "1.50", "per": "day"}
    if "/limits/{id}" in path:
        path = path.replace("{id}", str(boss.post("/limits", **limit)["id"]))
    if "/workers/{worker}" in path:
        gone = SqlLeases(DataDir(boss.gate.data).url, f"worker-{number}", "elsewhere")
        gone.renew([])
        gone.disconnect()
        path = path.replace("{worker}", f"worker-{number}")
    silence = {"rule": "failing", "subject": f"none-{number}", "until": "1h"}
    if "/silences/{id}" in path:
        path = path.replace("{id}", str(boss.post("/alerts/silences", **silence)["id"]))
    path = path.replace("{id}", record)
    bodies = {
        "create_key": {"name": "new"},
        "update_key": {"metadata": {"ticket": "1"}},
        "rotate_key": {"overlap": "0s"},
        "set_limit": limit,
        "create_alert_silence": silence,
        "test_alert": {"rule": "failing"},
        "write_off_worker": {"force": True},
        "create_team": {"name": f"team {number}"},
        "create_user": {"name": f"user {number}"},
        "update_user": {"role": "viewer"},
        "give_feedback": {"id": record, "score": 1},
        "erase_user": {"user": f"nobody {number}"},
    }
    return path, bodies.get(route.name)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_route_serves_the_roles_that_may_and_refuses_the_others(
    route: Route, office: Gateway, boss: Desk, staff: dict[str, Desk], document: dict[str, Any]
) -> None:
    """No key and a wrong one: 401. Too small a role: 403, and nothing changes. Else what its description says."""
    record = office.records()[0]["id"] if route.name in ABOUT_CALLS and office.chat() else "none"
    path, body = fill(route, boss, record)
    before = boss.get("/audit/head")
    assert Desk(office).call(route.method, path, body).code == "missing_api_key"
    assert Desk(office, "hg-wrong").call(route.method, path, body).code == "invalid_api_key"
    for role, desk in staff.items():
        if not has_role(role, route.role):
            answer = desk.call(route.method, path, body)
            assert (answer.status, answer.code) == (403, "forbidden")
    assert boss.get("/audit/head") == before
    for role, desk in staff.items():
        if has_role(role, route.role):
            answer = desk.call(route.method, path, body)
            assert answer.status == route.status, answer.raw
            check(answer, document, route)
            path, body = (path, body) if route.method == "GET" else fill(route, boss, record)


def check(answer: Answer, document: dict[str, Any], route: Route) -> None:
    """Holds an answer against the document."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    operation = document["paths"][f"/admin/v1{route.path}"][route.method.lower()]
    content = operation["responses"][str(route.status)]["content"]["application/json"]
    jsonschema.validate(answer.body, {**content["schema"], "components": document["components"]})


def test_the_life_of_a_key(office: Gateway, boss: Desk) -> None:
    """Made, shown, changed, rotated, revoked: each is seen at once where it was asked for, and stands in the log."""
    made = boss.post("/keys", name="life", models=["fast"], metadata={"ticket": "OPS-1"}, expires="30d")
    caller = Desk(office, made["key"])
    assert caller.chat() == (200, "")
    shown = boss.get(f"/keys/{made['id']}")
    assert shown == {name: value for name, value in made.items() if name != "key"}
    assert shown["state"] == "active"
    assert boss.call("PATCH", f"/keys/{made['id']}", {"models": ["steady"]}).body["models"] == ["steady"]
    assert caller.chat() == (404, "model_not_found")
    assert boss.call("PATCH", f"/keys/{made['id']}", {"models": None}).body["models"] is None
    fresh = boss.post(f"/keys/{made['id']}/rotate", overlap="1h")
    assert caller.chat() == Desk(office, fresh["key"]).chat() == (200, "")
    assert fresh["old_until"]
    assert boss.post(f"/keys/{made['id']}/revoke")["state"] == "revoked"
    assert caller.chat() == Desk(office, fresh["key"]).chat() == (401, "invalid_api_key")
    log = [entry for entry in boss.get("/audit")["data"] if entry["target"] == made["id"]]
    assert [entry["action"] for entry in reversed(log)] == [
        *("key.create", "key.update", "key.update", "key.rotate", "key.revoke"),
    ]
    assert {entry["actor"] for entry in log} == {boss.get("/me")["key_id"]}
    assert boss.get("/audit/verify")["whole"]
    assert "whole" in office.run("audit", "verify", "--head", boss.get("/audit/head")["head"])


def test_lists_come_in_pages(boss: Desk) -> None:
    """Following `next` shows every key and every audit entry once, in order, however small the pages."""
    for number in range(5):
        boss.post("/keys", name=f"page {number}")

    def follow(path: str, word: str) -> list[Any]:
        found: list[Any] = []
        page = boss.get(f"{path}?limit=3")
        while True:
            assert len(page["data"]) <= 3
            found += page["data"]
            if page["next"] is None:
                return found
            page = boss.get(f"{path}?limit=3&{word}={page['next']}")

    assert follow("/keys", "after") == boss.get("/keys?limit=1000")["data"]
    assert follow("/audit", "before") == boss.get("/audit?limit=1000")["data"]


def test_what_moved_tells_only_what_it_knows(office: Gateway, staff: dict[str, Desk]) -> None:
    """Of each group the plain numbers: no errors, finishes and quantiles that are empty because nobody read them."""
    office.chat()
    office.records()
    moved = staff["viewer"].get("/movers?by=model&order=calls")["data"]
    assert sum(one["now"]["calls"] for one in moved) > 0
    assert not {"errors", "finishes", "latency_ms"} & set(moved[0]["now"])
    assert set(moved[0]["now"]) == set(moved[0]["before"]) > {"calls", "completed", "cost_usd"}


def test_records_are_found_by_what_they_are(office: Gateway, staff: dict[str, Desk]) -> None:
    """Filters and pages work as at the command line; what was asked and answered is for developers alone."""
    ids = [
        office.chat(
            headers={
                "x-headgate-tags": f"app=billing,turn={turn}",
                "x-headgate-session": "s 1",
                "x-headgate-prompt": f"greeting-{turn}",
            }
        )[1]["x-headgate-id"]
        for turn in range(5)
    ]
    stored = {record["id"] for record in office.records()}
    assert set(ids) <= stored
    viewer = staff["viewer"]
    query = "/records?session=s%201&key=test&tag=app=billing&outcome=completed&since=1h&limit=2"
    page, found = viewer.get(query), []
    while True:
        found += page["data"]
        if page["next"] is None:
            break
        page = viewer.get(f"{query}&after={page['next']}")
    assert [record["id"] for record in found] == ids[::-1]
    assert viewer.get("/records?session=s%201&tag=app=billing&tag=turn=3")["data"][0]["id"] == ids[3]
    assert viewer.get("/records?session=s%201&until=1h")["data"] == []
    assert [one["id"] for one in viewer.get("/records?session=s%201&prompt=greeting-2")["data"]] == [ids[2]]
    assert "request_body" not in viewer.get(f"/records/{ids[0]}")["data"]
    assert "capital of France" in staff["developer"].get(f"/records/{ids[0]}")["data"]["request_body"]
    assert viewer.call("GET", "/records/hg_nothing").code == "record_not_found"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "param"),
    [
        ("POST", "/keys", b"", 400, "missing_field", "name"),
        ("POST", "/keys", b"{", 400, "invalid_json", None),
        ("GET", "/budgets?scope=nix", None, 400, "invalid_value", "scope"),
        ("GET", "/feedback/series?by=day,day", None, 400, "invalid_value", "by"),
        ("POST", "/keys", b"[]", 400, "invalid_json", None),
        ("POST", "/keys", b"\xff{}", 400, "invalid_utf8", None),
        ("POST", "/keys", b'{"name":"a","name":"b"}', 400, "duplicate_key", "name"),
        ("POST", "/keys", b'{"name":"\\ud800"}', 400, "invalid_json", None),
        ("POST", "/keys", b'{"name":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "too_deep", None),
        ("POST", "/keys", {"name": "x", "modles": []}, 400, "unknown_field", "modles"),
        ("POST", "/keys", {"name": 5}, 400, "invalid_type", "name"),
        ("POST", "/keys", {"name": "x", "models": ["a", 1]}, 400, "invalid_type", "models[1]"),
        ("POST", "/keys", {"name": "x", "metadata": {"a": 1}}, 400, "invalid_type", "metadata[...]"),
        ("POST", "/keys", {"name": "x", "direct": "yes"}, 400, "invalid_type", "direct"),
        ("POST", "/keys", {"name": "\u202ex"}, 400, "invalid_value", "name"),
        ("POST", "/keys", {"name": "x\u0000"}, 400, "invalid_value", "name"),
        ("POST", "/keys", {"name": "x" * 101}, 400, "invalid_value", "name"),
        ("POST", "/keys", {"name": "x", "role": "king"}, 400, "invalid_value", "role"),
        ("POST", "/keys", {"name": "x", "expires": "yesterday"}, 400, "invalid_value", "expires"),
        ("POST", "/keys", {"name": "x", "networks": ["10.0.0.0/99"]}, 400, "invalid_value", "networks[0]"),
        ("POST", "/keys", {"name": "x", "owner": "nobody"}, 404, "user_not_found", "user"),
        ("POST", "/keys", b'{"name":"x","metadata":{"a":"' + b"x" * 2**20 + b'"}}', 413, "body_too_large", None),
        ("GET", "/keys/nobody", None, 404, "key_not_found", None),
        ("GET", "/keys/%00", None, 404, "key_not_found", None),
        ("GET", "/keys/%ED%A0%80", None, 404, "key_not_found", None),
        ("POST", "/keys/nobody/revoke", None, 404, "key_not_found", None),
        ("POST", "/keys/nobody/revoke", {"x": 1}, 400, "unknown_field", "x"),
        ("DELETE", "/teams/nothing", None, 404, "team_not_found", "team"),
        ("PATCH", "/users/nobody", {"name": "x"}, 404, "user_not_found", "user"),
        ("GET", "/keys?limit=0", None, 400, "invalid_type", "limit"),
        ("GET", "/keys?limit=many", None, 400, "invalid_type", "limit"),
        ("GET", "/keys?after=nonsense", None, 400, "invalid_value", "after"),
        ("GET", "/keys?limt=5", None, 400, "unknown_field", "limt"),
        ("GET", "/records?user=a&user=b", None, 400, "duplicate_key", "user"),
        ("GET", "/records?user=%00", None, 400, "invalid_value", "user"),
        ("GET", "/records?outcome=splendid", None, 400, "invalid_request", "outcome"),
        ("GET", "/records?since=soon", None, 400, "invalid_request", None),
        ("GET", "/records?since=1h&until=2h", None, 400, "invalid_value", "since"),
        ("GET", "/stats?until=2020-01-01", None, 400, "invalid_value", "since"),
        ("GET", f"/records?after={show_cursor(Cursor(10**30, 1))}", None, 400, "invalid_value", "after"),
        ("GET", f"/feedback?after={show_cursor(Cursor(1, 10**30))}", None, 400, "invalid_value", "after"),
        ("GET", "/records?tag=x", None, 400, "invalid_value", "tag"),
        ("GET", "/audit?before=99999999999999999999", None, 400, "invalid_type", "before"),
        ("GET", "/audit/verify?head=xyz", None, 400, "invalid_request", "head"),
        ("POST", "/erasures", {}, 400, "missing_field", "user"),
        ("POST", "/erasures", {"user": ""}, 400, "invalid_value", "user"),
        ("POST", "/erasures", {"user": "a\x00"}, 400, "invalid_value", "user"),
        ("POST", "/erasures", {"user": "a", "dry-run": True}, 400, "unknown_field", "dry-run"),
        ("PUT", "/keys", {"name": "x"}, 405, "method_not_allowed", None),
        ("OPTIONS", "/keys", None, 405, "method_not_allowed", None),
        ("GET", "/keys/", None, 404, "unknown_path", None),
        ("GET", "/nothing", None, 404, "unknown_path", None),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    boss: Desk, method: str, path: str, body: object, status: int, code: str, param: str | None
) -> None:
    """The error has a stable code and names the field; nothing changes."""
    before = boss.get("/audit/head")
    answer = boss.call(method, path, body)
    assert (answer.status, answer.code, answer.body["error"]["param"]) == (status, code, param), answer.raw
    assert boss.get("/audit/head") == before


def test_what_is_no_json_is_refused(boss: Desk) -> None:
    """Forms, compressed bodies and absurd idempotency keys are refused before anything is done."""
    form = boss.call("POST", "/keys", b"name=x", content_type="application/x-www-form-urlencoded")
    assert (form.status, form.code) == (415, "unsupported_media_type")
    packed = boss.call("POST", "/keys", b"{}", content_encoding="gzip")
    assert (packed.status, packed.code) == (415, "unsupported_encoding")
    odd = boss.call("POST", "/keys", {"name": "x"}, idempotency_key="x" * 256)
    assert (odd.status, odd.code) == (400, "invalid_header")


def test_a_body_that_does_not_come_ends_the_request(office: Gateway, boss: Desk) -> None:
    """A client that announces a body and sends none is told so after the time that bodies have."""
    head = f"POST /admin/v1/keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {boss.key}\r\n"
    answer = office.raw(head.encode() + b"content-type: application/json\r\ncontent-length: 50\r\n\r\n{")
    assert b" 408 " in answer.splitlines()[0]
    assert b'"slow_body"' in answer


def test_a_call_sent_twice_is_made_once(boss: Desk) -> None:
    """The same Idempotency-Key: the same answer, secret included, one key and one entry; another body is refused."""
    first = boss.call("POST", "/keys", {"name": "once"}, idempotency_key="7f0c")
    again = boss.call("POST", "/keys", {"name": "once"}, idempotency_key="7f0c")
    assert (first.status, again.status) == (201, 201)
    assert first.raw == again.raw
    assert ("idempotency-replayed" in first.headers, again.headers.get("idempotency-replayed")) == (False, "true")
    assert sum(entry["target"] == first.body["id"] for entry in boss.get("/audit")["data"]) == 1
    other = boss.call("POST", "/keys", {"name": "twice"}, idempotency_key="7f0c")
    assert (other.status, other.code) == (409, "idempotency_conflict")
    rotate = f"/keys/{first.body['id']}/rotate"
    rotated = [boss.call("POST", rotate, {"overlap": "0s"}, idempotency_key="aa") for _ in range(2)]
    assert rotated[0].raw == rotated[1].raw
    assert Desk(boss.gate, rotated[0].body["key"]).chat() == (200, "")
    for _ in range(2):
        assert boss.call("POST", "/teams", {"name": "once"}, idempotency_key="bb").status == 201
        assert boss.call("DELETE", "/teams/once", idempotency_key="cc").status == 200


def test_the_document_describes_every_route(document: dict[str, Any]) -> None:
    """OpenAPI 3.1: every schema is one, every reference leads somewhere, every operation is whole and unique."""
    assert document["openapi"] == "3.1.0"
    jsonschema.validate(document, OPENAPI)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for ref in set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(document))):
        assert ref.removeprefix("#/components/schemas/") in document["components"]["schemas"], ref
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert sorted(name for name, _ in operations) == sorted(f"{route.method} /admin/v1{route.path}" for route in ROUTES)
    names = [operation["operationId"] for _, operation in operations]
    assert len(set(names)) == len(names)
    for name, operation in operations:
        named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", name))


_SCHEMA = {"type": ["object", "boolean"]}
_CONTENT = {
    "type": "object",
    "required": ["application/json"],
    "additionalProperties": {"type": "object", "required": ["schema"], "properties": {"schema": _SCHEMA}},
}
_PARAMETER = {
    "type": "object",
    "required": ["name", "in", "schema"],
    "properties": {
        "name": {"type": "string"},
        "in": {"enum": ["path", "query", "header", "cookie"]},
        "required": {"type": "boolean"},
        "description": {"type": "string"},
        "schema": _SCHEMA,
    },
    "if": {"properties": {"in": {"const": "path"}}},
    "then": {"properties": {"required": {"const": True}}, "required": ["required"]},
    "additionalProperties": False,
}
_OPERATION = {
    "type": "object",
    "required": ["operationId", "summary", "responses"],
    "properties": {
        "operationId": {"type": "string", "pattern": "^[a-z_]+$"},
        "summary": {"type": "string"},
        "description": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "parameters": {"type": "array", "items": _PARAMETER},
        "requestBody": {
            "type": "object",
            "required": ["content"],
            "properties": {"content": _CONTENT, "required": {"type": "boolean"}},
            "additionalProperties": False,
        },
        "responses": {
            "type": "object",
            "minProperties": 1,
            "patternProperties": {
                "^([1-5](\\d\\d|XX)|default)$": {
                    "type": "object",
                    "required": ["description"],
                    "properties": {"description": {"type": "string"}, "content": _CONTENT},
                    "additionalProperties": False,
                }
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
OPENAPI = {
    "type": "object",
    "required": ["openapi", "info", "paths"],
    "properties": {
        "openapi": {"type": "string", "pattern": r"^3\.1\.\d+$"},
        "info": {
            "type": "object",
            "required": ["title", "version"],
            "properties": {name: {"type": "string"} for name in ("title", "version", "summary", "description")}
            | {"license": {"type": "object", "required": ["name"]}},
            "additionalProperties": False,
        },
        "security": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "array"}}},
        "paths": {
            "type": "object",
            "patternProperties": {
                "^/": {
                    "type": "object",
                    "patternProperties": {"^(get|post|patch|delete)$": _OPERATION},
                    "additionalProperties": False,
                }
            },
            "additionalProperties": False,
        },
        "components": {
            "type": "object",
            "required": ["schemas", "securitySchemes"],
            "properties": {
                "schemas": {
                    "type": "object",
                    "patternProperties": {r"^[a-zA-Z0-9._-]+$": _SCHEMA},
                    "additionalProperties": False,
                },
                "securitySchemes": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "required": ["type"],
                        "properties": {"type": {"enum": ["apiKey", "http", "mutualTLS", "oauth2", "openIdConnect"]}},
                    },
                },
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
"""The shape that the OpenAPI 3.1 specification gives to the parts of a document that this one uses."""


def test_no_secret_is_told_twice(office: Gateway, boss: Desk, staff: dict[str, Desk]) -> None:
    """After its making a key's secret is in no answer, log, audit entry or file, whatever is sent with it."""
    secret = boss.post("/keys", name="hidden")["key"]
    caller = Desk(office, secret)
    answers = [
        caller.call("POST", f"/keys/{secret}/revoke"),
        boss.call("GET", f"/keys/{secret}"),
        boss.call("DELETE", f"/users/{secret}"),
        boss.call("GET", f"/teams/{secret}"),
        boss.call("POST", "/keys", {"name": f"key {secret}"}),
        boss.call("POST", "/keys", {"name": "x", "metadata": {"key": secret}}),
        boss.call("POST", "/keys", {"name": "x", "role": secret}),
        boss.call("POST", "/users", {"name": "x", "team": secret}),
        *(
            boss.call("GET", path)
            for path in ("/keys?limit=1000", "/audit?limit=1000", "/records?limit=1000", "/users")
        ),
        *(boss.call("GET", path) for path in ("/models", "/deployments", "/providers", "/openapi.json")),
    ]
    assert [answer.status for answer in answers[:8]] == [403, 404, 404, 404, 400, 400, 400, 404]
    hidden = [secret, boss.key, *(desk.key for desk in staff.values()), "sk-upstream-secret"]
    said = b"".join(answer.raw for answer in answers).decode() + "".join(office.log)
    said += office.run("audit", "list", "--format", "jsonl") + office.run("keys", "list", "--format", "jsonl")
    assert [word for word in hidden if word in said] == []
    for file in office.data.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(word.encode() in content for word in hidden), file


def test_a_worker_stays_small(office: Gateway, boss: Desk) -> None:
    """With the admin API loaded and used, a worker's memory never was over 80 MB."""
    assert boss.get("/me")["role"] == "admin"
    assert memory(office.process.pid) < 80 * 1024**2


def test_nothing_of_it_is_loaded_before_it_is_asked_for() -> None:
    """A server that nobody administers loads neither Starlette nor SQLAlchemy."""
    script = "import sys, headgate.server.run, headgate.asgi\n"
    script += "assert not {'starlette', 'sqlalchemy', 'anyio'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


@pytest.fixture(scope="module")
def open_house(up: Upstream, fresh: Callable[[str], pathlib.Path]) -> Iterator[Gateway]:
    """A gateway in keyless mode."""
    one = Gateway(fresh("open"), LIVELY.format(port=up.port), key=False)
    yield one
    if one.process.poll() is None:
        one.stop(signal.SIGKILL)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"host": "evil.example"},
        {"x_forwarded_for": "10.0.0.1"},
        {"content_type": "text/plain"},
    ],
    ids=str,
)
def test_keyless_mode_refuses_what_a_web_page_could_send(open_house: Gateway, headers: dict[str, str]) -> None:
    """Reading or changing, from another site's page, by another name for this machine, or through a proxy: refused."""
    desk = Desk(open_house)
    for method, path, body in (("POST", "/keys", {"name": "x"}), ("GET", "/keys", None), ("OPTIONS", "/keys", None)):
        answer = desk.call(method, path, body, **headers)
        wanted = (405, "method_not_allowed") if method == "OPTIONS" else (403, "keyless_refused")
        assert (answer.status, answer.code) == wanted
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_keyless_mode_administers_until_the_first_key(open_house: Gateway) -> None:
    """A program on this machine is admin until a key exists; then it needs one. The log says that it was nobody's."""
    desk = Desk(open_house)
    assert desk.get("/me")["role"] == "admin"
    made = Desk(open_house, "none").call("POST", "/keys", {"name": "first", "role": "admin"}, idempotency_key="first")
    assert made.status == 201
    with sqlite3.connect(open_house.data / "headgate.db") as connection:
        # Nothing from which somebody could make the secret again: the caller had none of their own.
        assert connection.execute("SELECT nonce FROM answered").fetchall() == [(None,)]
    connection.close()
    assert desk.call("GET", "/keys").code == "missing_api_key"
    assert desk.call("POST", "/keys", {"name": "first", "role": "admin"}, idempotency_key="first").status == 401
    boss = Desk(open_house, made.body["key"])
    assert [key["name"] for key in boss.get("/keys")["data"]] == ["first"]
    assert boss.get("/audit")["data"][0]["actor"] == "keyless"


def test_a_shutdown_lets_admin_requests_end(open_house: Gateway) -> None:
    """The server ends cleanly with the admin API loaded; nothing is logged."""
    with socket.create_connection(("127.0.0.1", open_house.port)):
        assert open_house.stop(signal.SIGTERM) == 0
    assert "Traceback" not in "".join(open_house.log)
