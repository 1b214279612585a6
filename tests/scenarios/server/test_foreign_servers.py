"""The gateway under other ASGI servers, alone or mounted in an application."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
from tests.scenarios.conftest import ASK, Gateway, completion, free_port

from .stage import STEADY, Client, refused, wait, words

MOUNTED = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from headgate.asgi import app as headgate

@asynccontextmanager
async def lifespan(_):
    await headgate.startup()
    yield
    await headgate.shutdown()

routes = [Route("/mine", lambda request: PlainTextResponse("mine")), Mount("/llm", headgate)]
with_lifespan = Starlette(routes=routes, lifespan=lifespan)
without = Starlette(routes=routes)
"""


@pytest.fixture(scope="module")
def folder(gate: Gateway) -> pathlib.Path:
    """Where the applications under foreign servers lie."""
    (gate.directory / "mounted.py").write_text(MOUNTED)
    return gate.directory


class Foreign:
    """A client of a server that is not ours."""

    def __init__(self, gate: Gateway, port: int) -> None:
        self._gate, self._port = gate, port

    def chat(self, path: str, key: str = "") -> tuple[int, dict[str, str], bytes]:
        """Posts one unary chat request."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        sent = {"content-type": "application/json", "authorization": f"Bearer {key or self._gate.key}"}
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(ASK), sent)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def get(self, path: str) -> tuple[int, bytes]:
        """Gets one page."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()


@pytest.mark.parametrize(
    ("command", "prefix"),
    [
        (["uvicorn", "headgate.asgi:app", "--port", "{port}", "--log-level", "warning"], ""),
        (["hypercorn", "headgate.asgi:app", "--bind", "127.0.0.1:{port}"], ""),
        (["uvicorn", "mounted:with_lifespan", "--port", "{port}"], "/llm"),
        (["uvicorn", "mounted:without", "--port", "{port}"], "/llm"),
    ],
    ids=["uvicorn", "hypercorn", "mounted", "mounted-without-lifespan"],
)
def test_any_asgi_server(gate: Gateway, folder: pathlib.Path, command: list[str], prefix: str) -> None:
    """``headgate.asgi:app`` answers whole and streamed, takes keys, records, and ends well under any ASGI server."""
    program = pathlib.Path(sys.executable).with_name(command[0])
    if not program.exists():
        pytest.skip(f"{command[0]} is not installed")
    port = free_port()
    environment = {**gate.env, "HEADGATE_CONFIG": str(gate.config), "HEADGATE_DATA": str(gate.data)}
    with (folder / "server.log").open("w+") as log:
        process = subprocess.Popen(
            [program, *(word.format(port=port) for word in command[1:])],
            cwd=folder,
            env={**environment, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])},
            stdout=log,
            stderr=log,
        )
        try:
            wait(lambda: process.poll() is not None or not refused(port))
            foreign = Foreign(gate, port)
            status, headers, body = foreign.chat(f"{prefix}/v1/chat/completions")
            assert (status, body) == (200, completion("Paris."))
            assert gate.record(headers["x-headgate-id"])["key_name"] == "test"
            client = Client(gate, "steady", path=f"{prefix}/v1/chat/completions", port=port)
            with contextlib.closing(client):
                assert client.begin().status == 200
                assert words(client.rest()) == STEADY
            assert foreign.chat(f"{prefix}/v1/chat/completions", key="hg-wrong")[0] == 401
            assert foreign.chat(f"{prefix}/v1/nothing")[0] == 404
            if prefix:
                assert foreign.get("/mine") == (200, b"mine")
            assert foreign.get(f"{prefix}/readyz")[0] == 200
            status, body = foreign.get(f"{prefix}/admin/v1/me")
            assert (status, json.loads(body)["error"]["code"]) == (401, "missing_api_key")
        finally:
            process.terminate()
            code = process.wait(60)
        log.seek(0)
        said = log.read()
    assert "Traceback" not in said, said
    assert code in (0, -signal.SIGTERM)


def test_changes_apply_under_a_foreign_server_too(gate: Gateway, folder: pathlib.Path) -> None:
    """The file is followed; a wrong one is refused with a word on standard error."""
    program = pathlib.Path(sys.executable).with_name("uvicorn")
    port, config = free_port(), folder / "followed.yaml"
    config.write_text("models: {one: {route: [sim/echo]}}\n")
    log = (folder / "followed.log").open("w+")
    process = subprocess.Popen(
        [program, "headgate.asgi:app", "--port", str(port), "--log-level", "warning"],
        cwd=folder,
        env={**gate.env, "HEADGATE_CONFIG": str(config), "HEADGATE_DATA": str(gate.data)},
        stdout=log,
        stderr=log,
    )

    def models() -> list[str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {gate.key}"})
            return [model["id"] for model in json.loads(connection.getresponse().read())["data"]]

    try:
        wait(lambda: process.poll() is not None or not refused(port))
        assert models() == ["one"]
        config.write_text("models: {two: {route: [sim/echo]}}\n")
        wait(lambda: models() == ["two"])
        config.write_text("models: {three: {route: [sim/ecko]}}\n")
        wait(lambda: "refused" in (folder / "followed.log").read_text())
        assert models() == ["two"]
    finally:
        process.terminate()
        process.wait(60)
        log.close()
    assert "Traceback" not in (folder / "followed.log").read_text()


def test_a_bad_configuration_stops_a_foreign_server_with_a_clear_word(tmp_path: pathlib.Path) -> None:
    """The error names file, line and nearest key; it is the last thing said, and the server does not start."""
    config = tmp_path / "headgate.yaml"
    config.write_text("providers:\n  up: {dialect: openai_chat, url: 'http://127.0.0.1:9/v1', kee: 1}\n")
    program = pathlib.Path(sys.executable).with_name("uvicorn")
    done = subprocess.run(
        [program, "headgate.asgi:app", "--port", str(free_port())],
        env={**os.environ, "HEADGATE_CONFIG": str(config), "HEADGATE_DATA": str(tmp_path / "data")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert f"{config}:2" in done.stderr
    assert "did you mean" in done.stderr
