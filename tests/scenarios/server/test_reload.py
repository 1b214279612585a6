"""The configuration changes while it runs: no call is dropped, and what is wrong changes nothing."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.scenarios.conftest import ASK, Gateway, Upstream

from .stage import STEADY, Client, Stage, children, wait, words

CONFIG = """\
providers:
  up: {{dialect: openai_chat, url: "http://127.0.0.1:{port}/v1", key: "file:key"}}
models:
  steady: {{route: [up/steady]}}
  quick: {{route: [up/quick]}}
  endless: {{route: [up/endless]}}
"""


class Live:
    """A gateway whose configuration is changed, and what it says of itself."""

    def __init__(self, gate: Gateway) -> None:
        self.gate = gate

    def get(self, path: str) -> Any:
        """Gets one page on a connection of its own: whichever worker takes it answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gate.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"authorization": f"Bearer {self.gate.key}"})
            return json.loads(connection.getresponse().read())

    def models(self) -> list[str]:
        """What /v1/models lists."""
        return [model["id"] for model in self.get("/v1/models")["data"]]

    def version(self) -> str:
        """What /readyz says."""
        return str(self.get("/readyz")["config"])

    def write(self, text: str, *, hang_up: bool = False) -> str:
        """Replaces the file as editors do; returns its version."""
        new = self.gate.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.gate.config)
        if hang_up:
            self.gate.process.send_signal(signal.SIGHUP)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def change(self, text: str, *, hang_up: bool = False) -> None:
        """Writes a right configuration and waits until it holds (with several workers: in as many as answer)."""
        version = self.write(text, hang_up=hang_up)
        wait(lambda: {self.version() for _ in range(8 * self.gate.workers)} == {version})

    def said(self, what: str) -> int:
        """How many lines of the log hold this."""
        return sum(what in line for line in self.gate.log)


@pytest.fixture(scope="module")
def up(stage: Stage) -> Iterator[Upstream]:
    """An upstream of these tests alone: connections are counted."""
    one = Upstream(stage.play)
    yield one
    one.close()


@pytest.fixture(scope="module")
def second(stage: Stage) -> Iterator[Upstream]:
    """Another upstream, to move to."""
    one = Upstream(stage.play)
    yield one
    one.close()


def begin(up: Upstream, folder: pathlib.Path, workers: int) -> Gateway:
    (folder / "key").write_text("sk-first\n")
    return Gateway(folder, CONFIG.format(port=up.port), workers=workers)


@pytest.fixture(scope="module")
def process(up: Upstream, fresh: Callable[[str], pathlib.Path]) -> Iterator[Live]:
    """A gateway of one process."""
    gate = begin(up, fresh("live"), 1)
    yield Live(gate)
    gate.stop(signal.SIGKILL)


@pytest.fixture
def live(process: Live, up: Upstream) -> Live:
    """The same, its configuration as it was at first."""
    process.change(CONFIG.format(port=up.port), hang_up=True)
    return process


@pytest.fixture(scope="module")
def crew(up: Upstream, fresh: Callable[[str], pathlib.Path]) -> Iterator[Live]:
    """A gateway of two workers."""
    gate = begin(up, fresh("live-crew"), 2)
    yield Live(gate)
    gate.stop(signal.SIGKILL)


@pytest.mark.parametrize("hang_up", [True, False], ids=["SIGHUP", "file"])
def test_a_stream_survives_the_end_of_its_model(live: Live, up: Upstream, hang_up: bool) -> None:
    """It ends whole, and is recorded so; new calls, and /v1/models, know only what the new configuration has."""
    client = Client(live.gate, "steady")
    with contextlib.closing(client):
        call_id = client.begin().headers["x-headgate-id"]
        text = CONFIG.format(port=up.port).replace("  steady: {route: [up/steady]}\n", "  other: {route: [up/quick]}\n")
        live.change(text, hang_up=hang_up)
        assert live.models() == ["other", "quick", "endless"]
        assert live.gate.chat(model="other")[0] == 200
        assert live.gate.chat(model="steady")[0] == 404
        body = client.rest()
    assert (words(body), body.endswith(b"data: [DONE]\n\n")) == (STEADY, True)
    assert live.gate.record(call_id)["outcome"] == "completed"
    wait(lambda: live.said("added models.other; removed models.steady"))


def test_a_wrong_configuration_is_refused_whole(live: Live, up: Upstream) -> None:
    """Its right parts too. The log says once which line is wrong, and shows no secret."""
    before, lines = live.version(), len(live.gate.log)
    text = CONFIG.format(port=up.port).replace("file:key", "sk-pasted")
    live.write(text + "  new: {route: [up/quick]}\n  bad: {route: [up/quick], mx_tokens: 1}\n")
    wait(lambda: live.said("refused") >= 1 and len(live.gate.log) > lines)
    time.sleep(1.2)
    said = "".join(live.gate.log[lines:])
    assert said.count("refused") == 1
    assert f"{live.gate.config}:8: models.bad.mx_tokens: unknown setting" in said
    assert 'did you mean "max_tokens"?' in said
    assert f"{live.gate.config}:2: providers.up.key: a key is given by where it lives" in said
    assert "sk-" not in said
    assert (live.version(), live.models()) == (before, ["steady", "quick", "endless"])
    assert live.gate.chat(model="quick")[0] == 200


def test_an_emptied_file_changes_nothing(live: Live) -> None:
    """As by an editor that truncates first and writes later; not even if asked to."""
    before = live.version()
    lines = len(live.gate.log)
    live.gate.config.write_text("")
    live.gate.process.send_signal(signal.SIGHUP)
    wait(lambda: "holds no settings any more" in "".join(live.gate.log[lines:]))
    assert (live.version(), live.models()) == (before, ["steady", "quick", "endless"])


def test_a_changed_key_file_is_used(live: Live, up: Upstream) -> None:
    """The next request upstream carries the new key; nothing is restarted, no connection given up, no key logged."""
    assert live.gate.chat(model="quick")[0] == 200
    assert b"authorization: Bearer sk-first\r\n" in up.requests[-1][1]
    mounted = live.gate.directory / "key"
    mounted.with_suffix(".new").write_text("sk-second\n")
    connections = up.open
    mounted.with_suffix(".new").replace(mounted)

    def renewed() -> bool:
        assert live.gate.chat(model="quick")[0] == 200
        return b"authorization: Bearer sk-second\r\n" in up.requests[-1][1]

    wait(renewed)
    assert up.open == connections
    wait(lambda: live.said("changed providers.up.key") >= 1)  # The new key may be on its way before its line is.
    assert live.said("sk-") == 0
    mounted.write_text("sk-first\n")
    wait(lambda: live.gate.chat(model="quick")[0] == 200 and b"sk-first" in up.requests[-1][1])


def test_old_connections_close_after_the_last_call(live: Live, up: Upstream, second: Upstream) -> None:
    """Another URL: new calls go there at once; what is under way keeps its connection, and with it all others go."""
    wait(lambda: live.gate.chat(model="quick")[0] == 200)
    client = Client(live.gate, "endless")
    with contextlib.closing(client):
        client.begin()
        assert live.gate.chat(model="quick")[0] == 200
        assert up.open >= 2
        live.change(CONFIG.format(port=second.port), hang_up=True)
        seen = len(up.requests)
        assert live.gate.chat(model="quick")[0] == 200
        assert (len(up.requests), second.open) == (seen, 1)
        more = client.answer.read(8000)
        assert (len(more), b"error" in more) == (8000, False)
        assert up.open >= 1
    wait(lambda: up.open == 0)


def test_limits_apply_to_the_next_call(live: Live, up: Upstream) -> None:
    """The size of a body, for one; the port, which can not change, is named in a warning."""
    big = {"messages": [{"role": "user", "content": "x" * 5000}]}
    assert live.gate.chat(model="quick", **big)[0] == 200
    live.change(CONFIG.format(port=up.port) + "server: {body_limit: 2048, header_count: 50}\n", hang_up=True)
    assert live.gate.chat(model="quick", **big)[0] == 413
    assert live.gate.chat(model="quick")[0] == 200
    wait(lambda: live.said("WARNING changed, but not before a restart: server.header_count") == 1)


def test_no_call_fails_while_it_changes(live: Live, up: Upstream, second: Upstream) -> None:
    """Callers on kept connections, whole and streamed, while models and URLs change twenty times."""
    stop = threading.Event()
    results: list[tuple[int, bool]] = []

    def call(stream: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", live.gate.port, timeout=60)
        body = json.dumps({**ASK, "model": "steady", "stream": stream})
        head = {"content-type": "application/json", "authorization": f"Bearer {live.gate.key}"}
        with contextlib.closing(connection):
            while not stop.is_set():
                connection.request("POST", "/v1/chat/completions", body, head)
                answer = connection.getresponse()
                text = answer.read()
                results.append((answer.status, text.endswith(b"data: [DONE]\n\n") if stream else b"Paris." in text))

    callers = [threading.Thread(target=call, args=(number % 2 == 0,)) for number in range(6)]
    for caller in callers:
        caller.start()
    try:
        for number in range(20):
            text = CONFIG.format(port=(second, up)[number % 2].port) + f"  m{number}: {{route: [sim/echo]}}\n"
            live.change(text, hang_up=True)
            assert live.models()[-1] == f"m{number}"
        wait(lambda: len(results) > 40)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert set(results) == {(200, True)}
    wait(lambda: second.open == 0)


def test_a_closed_terminal_is_no_wish_for_a_change(up: Upstream, fresh: Callable[[str], pathlib.Path]) -> None:
    """Where ``serve`` runs in a terminal and that is closed, it drains and ends, as it would without live changes."""
    folder = fresh("terminal")
    (folder / "headgate.yaml").write_text("{}\n")
    controller, terminal = pty.openpty()
    # The session's leader owns the terminal; `serve` is its foreground job, as in a shell.
    shell = (
        "import fcntl, subprocess, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); subprocess.call(sys.argv[1:])"
    )
    serve = [pathlib.Path(sys.executable).with_name("headgate"), "serve", "--port", "0", "--data", str(folder / "data")]
    process = subprocess.Popen(
        [sys.executable, "-c", shell, *serve],
        cwd=folder,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    os.close(terminal)
    assert process.stdout is not None
    assert "ready" in process.stdout.readline()
    gateway = children(process.pid)
    assert len(gateway) == 1
    os.close(controller)
    try:
        wait(lambda: not pathlib.Path(f"/proc/{gateway[0]}").exists())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(gateway[0], signal.SIGKILL)
        said = process.communicate(timeout=60)[0]
    assert "Traceback" not in said


def test_all_workers_change(crew: Live, up: Upstream) -> None:
    """One SIGHUP to the supervisor reaches them all; it is told once; nobody dies of it."""
    workers = children(crew.gate.process.pid)
    client = Client(crew.gate, "steady")
    with contextlib.closing(client):
        client.begin()
        crew.change(CONFIG.format(port=up.port).replace("steady", "other"), hang_up=True)
        wait(lambda: all(crew.models() == ["other", "quick", "endless"] for _ in range(20)))
        assert client.rest().endswith(b"data: [DONE]\n\n")
    assert children(crew.gate.process.pid) == workers
    wait(lambda: crew.said("configuration applied") >= 1)
    assert crew.said("configuration applied") == 1


def test_all_workers_refuse(crew: Live, up: Upstream) -> None:
    """Told once. A worker that is killed now is replaced by one with what held last, not with what it began with."""
    crew.change(CONFIG.format(port=up.port).replace("steady", "kept"), hang_up=True)
    wait(lambda: crew.said("added models.kept"))
    crew.write("models: {nowhere: {route: [nobody/m]}}\n", hang_up=True)
    wait(lambda: crew.said("refused"))
    for pid in children(crew.gate.process.pid):
        os.kill(pid, signal.SIGKILL)
    wait(lambda: crew.said("starting another") == 2)
    gone = (http.client.HTTPException, OSError)

    def answers() -> bool:
        with contextlib.suppress(*gone):
            return crew.models() == ["kept", "quick", "endless"]
        return False

    wait(answers)
    time.sleep(1.5)
    assert all(crew.models() == ["kept", "quick", "endless"] for _ in range(20))
    assert crew.said("refused") == 1
    crew.change(CONFIG.format(port=up.port))
    assert "Traceback" not in "".join(crew.gate.log)
