"""The contestants: how each gateway is set up, started, loaded and ended, all behind one interface."""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import select
import shutil
import subprocess
import time
from typing import Any

from harness import load, upstreams
from harness.load import Sample
from harness.procs import (
    BENCH,
    CACHE,
    GATE_CORE,
    ROOT,
    BenchError,
    command_line,
    cpu_seconds,
    free_port,
    memory_mb,
    need,
    spawn,
    stop,
    tree,
    wait_port,
    with_words,
)


class Contestant:
    """One gateway before the two upstreams. A subclass says how it is started; the rest is the same for all.

    Attributes:
        key: its name in files; ``title`` its name in the table.
        headers: what its clients must send beside the content type.
        note: what a reader of its row should know.
    """

    key = ""
    title = ""
    note = ""
    setup_script = ""
    ready_seconds = 30.0

    def __init__(self, ups: upstreams.Upstreams, folder: pathlib.Path) -> None:
        self.ups = ups
        self.folder = folder / self.key
        self.folder.mkdir(exist_ok=True)
        self.log = self.folder / "log"
        self.port = self.stream_port = free_port()
        self.headers = {"Authorization": "Bearer sk-client"}
        self.proc: subprocess.Popen[bytes] | None = None
        self.stream_bytes, self.stream_error = 0, ""

    @property
    def home(self) -> pathlib.Path:
        """The throw-away environment of a peer."""
        return CACHE / self.key

    def set_up(self) -> None:
        """Installs what is missing; raises with the reason where that fails."""
        if not self.setup_script:
            return
        CACHE.mkdir(parents=True, exist_ok=True)
        log = CACHE / f"{self.key}.install.log"
        with log.open("wb") as out:
            script = BENCH / "peers" / self.setup_script
            done = subprocess.run([str(script), str(self.home)], stdout=out, stderr=out, timeout=1800)
        if done.returncode:
            last = log.read_text(errors="replace").strip()[-200:]
            raise BenchError(f"could not be installed: {last}")

    def config(self, source: pathlib.Path) -> pathlib.Path:
        """Returns a copy of a configuration with the upstreams' real ports in it."""
        text = source.read_text().replace(":9001", f":{self.ups.unary}").replace(":9002", f":{self.ups.sse}")
        copy = self.folder / source.name
        copy.write_text(text)
        return copy

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts the process, pinned to the gateway's core."""
        raise NotImplementedError

    def start(self) -> float:
        """Starts it and returns the seconds until its port accepts; raises when its answers are not the upstream's."""
        begin = time.monotonic()
        self.proc = self.launch()
        wait_port(self.port, self.proc, self.ready_seconds, self.log)
        ready = time.monotonic() - begin
        self.probe()
        return ready

    def target(self, *, stream: bool) -> tuple[int, dict[str, str]]:
        """Returns the port and the headers that a kind of load goes to."""
        return (self.stream_port if stream else self.port), self.headers

    def probe(self) -> None:
        """Raises unless its unary answer is the upstream's; a stream that is not whole is kept in ``stream_error``."""
        load.probe_unary(*self.target(stream=False))
        try:
            self.stream_bytes = load.probe_stream(*self.target(stream=True))
        except BenchError as error:
            self.stream_error = str(error)

    def stop(self) -> None:
        """Ends it."""
        if self.proc:
            stop(self.proc)
            self.proc = None

    def pids(self) -> list[int]:
        """Returns the processes that serve requests."""
        return tree(self.proc.pid) if self.proc else []

    def recorder(self) -> list[int]:
        """Returns the processes that work beside the requests."""
        return []

    def settle(self) -> None:
        """Waits, at most 30 s, until nothing of the past load is left: answers nobody awaits, records not in SQL."""
        pids = [*self.pids(), *self.recorder()]
        end, quiet, before = time.monotonic() + 30, 0, sum(cpu_seconds(pids))
        while quiet < 2 and time.monotonic() < end:
            time.sleep(0.2)
            now = sum(cpu_seconds(pids))
            quiet, before = (quiet + 1 if now - before <= 0.02 else 0), now

    def memory(self) -> float:
        """Returns the resident memory of the largest process that serves, in MB."""
        return max((memory_mb(p) for p in self.pids()), default=0.0)

    def sample(self, connections: int, seconds: float, *, stream: bool = False) -> Sample:
        """Loads it and returns what the load saw."""
        port, headers = self.target(stream=stream)
        return load.wrk(port, headers, connections, seconds, self.folder, stream=stream)

    def events(self, sample: Sample) -> float:
        """Returns the events relayed in a streamed sample, those of streams cut by its end included."""
        return sample.received / self.stream_bytes * load.STREAM_EVENTS

    def first_content(self, seconds: float) -> tuple[float, float]:
        """Returns p50 and p99 of the time to a stream's first content, in µs."""
        return load.first_content(*self.target(stream=True), seconds)


class Direct(Contestant):
    """No gateway: what the upstreams themselves take."""

    key, title = "direct", "no gateway (direct)"

    def start(self) -> float:
        """Takes the upstreams' own ports."""
        self.port, self.stream_port = self.ups.unary, self.ups.sse
        self.probe()
        return 0.0


class Nginx(Contestant):
    """The floor."""

    key, title = "nginx", "nginx as plain proxy"

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts nginx with one worker."""
        self.stream_port = free_port()
        return upstreams.plain_proxy(self.ups, self.port, self.stream_port, self.folder).start(self.port)


class Headgate(Contestant):
    """This gateway, with one worker and one of the configurations in ``bench/``."""

    def __init__(self, ups: upstreams.Upstreams, folder: pathlib.Path, name: str, binary: pathlib.Path) -> None:
        self.key, self.title = f"headgate-{name}", f"Headgate, {name}"
        super().__init__(ups, folder)
        self.source, self.binary = BENCH / f"{name}.yaml", binary
        self.data = self.folder / "data"
        self.side: list[int] = []

    def set_up(self) -> None:
        """Makes a migrated data directory with one key in it."""
        if not self.binary.exists():
            raise BenchError(f"{self.binary} does not exist; make setup first")
        cmd = [str(self.binary), "keys", "create", "--name", "bench", "--data", str(self.data), "--quiet"]
        done = subprocess.run(cmd, capture_output=True, text=True, env={**os.environ, "UP_KEY": "sk-upstream"})
        if done.returncode or not done.stdout.strip():
            raise BenchError(f"keys create: {(done.stderr or done.stdout)[-200:]}")
        self.headers = {"Authorization": f"Bearer {done.stdout.strip()}"}

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts ``headgate serve``."""
        cmd = [self.binary, "serve", "--config", self.config(self.source), "--port", self.port]
        cmd += ["--data", self.data, "--workers", "1"]
        return spawn(cmd, core=GATE_CORE, log=self.log, env={"UP_KEY": "sk-upstream"})

    def recorder(self) -> list[int]:
        """Returns the recorder, whether it is the server's child or was detached from it."""
        if self.proc and not [p for p in self.side if command_line(p)]:
            own = [p for p in tree(self.proc.pid) if "recorder" in command_line(p)]
            self.side = sorted({*own, *with_words("recorder", str(self.data))})
        return self.side

    def pids(self) -> list[int]:
        """Returns the server's processes without the recorder."""
        return [p for p in super().pids() if p not in self.recorder()]

    def stop(self) -> None:
        """Ends the server, which ends the recorder; makes sure of both."""
        recorder = self.recorder()
        super().stop()
        end = time.monotonic() + 10
        while [p for p in recorder if "recorder" in command_line(p)] and time.monotonic() < end:
            time.sleep(0.05)
        for p in recorder:
            if "recorder" in command_line(p):
                os.kill(p, 9)
        self.side = []


class LiteLLM(Contestant):
    """LiteLLM proxy with one worker, no database."""

    key, title, setup_script = "litellm", "LiteLLM proxy", "litellm.sh"
    ready_seconds = 180.0

    def set_up(self) -> None:
        """Installs it; without a strong master key it refuses to start."""
        super().set_up()
        self.master_key = "sk-" + secrets.token_hex(24)
        self.headers = {"Authorization": f"Bearer {self.master_key}"}

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts ``litellm`` as its production guide asks, its request log off."""
        env = {
            "LITELLM_MASTER_KEY": self.master_key,
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NO_DOCS": "True",
            "DISABLE_ADMIN_UI": "True",
        }
        cmd = [self.home / "bin" / "litellm", "--config", self.config(BENCH / "peers" / "litellm.yaml")]
        cmd += ["--host", "127.0.0.1", "--port", self.port, "--num_workers", "1", "--telemetry", "False"]
        return spawn(cmd, core=GATE_CORE, log=self.log, env=env, cwd=self.folder)


class Portkey(Contestant):
    """Portkey's open gateway on Node."""

    key, title, setup_script = "portkey", "Portkey gateway", "portkey.sh"

    def set_up(self) -> None:
        """Installs it; it finds its upstream by a header, so each kind of load has its own."""
        if missing := need("node", "npm"):
            raise BenchError(missing)
        super().set_up()
        self.headers |= {"x-portkey-provider": "openai"}

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts it without its console."""
        script = self.home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
        cmd = ["node", script, f"--port={self.port}", "--headless"]
        return spawn(cmd, core=GATE_CORE, log=self.log, env={"NODE_ENV": "production"})

    def target(self, *, stream: bool) -> tuple[int, dict[str, str]]:
        """Adds the header that names the upstream."""
        upstream = self.ups.sse if stream else self.ups.unary
        return self.port, {**self.headers, "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1"}


class TensorZero(Contestant):
    """TensorZero's Rust gateway inside a Python process, its recording off."""

    key, title, setup_script = "tensorzero", "TensorZero embedded", "tensorzero.sh"
    note = "called in process: the calling loop is in its figure, an HTTP server is not"
    ready_seconds = 60.0

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts the process that holds the gateway and calls it."""
        python = self.home / "bin" / "python"
        config = self.config(BENCH / "peers" / "tensorzero.toml")
        cmd = [python, BENCH / "peers" / "tensorzero_load.py", config, load.request_body().decode()]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return spawn(cmd, core=GATE_CORE, log=self.log, env={"RUST_LOG": "error"}, **pipes)

    def _command(self, op: str, connections: int, seconds: float) -> dict[str, Any]:
        proc = self.proc
        if proc is None or proc.stdin is None or proc.stdout is None:
            raise BenchError("not started")
        command = {"op": op, "connections": connections, "seconds": seconds}
        try:
            proc.stdin.write(json.dumps(command).encode() + b"\n")
            proc.stdin.flush()
        except BrokenPipeError:
            pass
        waiting, _, _ = select.select([proc.stdout], [], [], seconds + self.ready_seconds)
        line = proc.stdout.readline() if waiting else b""
        if not line:
            raise BenchError(f"no answer: {self.log.read_text(errors='replace')[-300:]}")
        answer: dict[str, Any] = json.loads(line)
        if answer["errors"]:
            raise BenchError(f"{answer['errors']} errors, the first: {answer['error']}")
        return answer

    def start(self) -> float:
        """Starts it; ready once the first call is answered."""
        begin = time.monotonic()
        self.proc = self.launch()
        self._command("unary", 1, 0)
        ready = time.monotonic() - begin
        self._command("stream", 1, 0)
        return ready

    def sample(self, connections: int, seconds: float, *, stream: bool = False) -> Sample:
        """Lets it call itself."""
        got = self._command("stream" if stream else "unary", connections, seconds)
        return Sample(got["requests"], got["seconds"], got["p50_us"], got["p99_us"], got["errors"], got["pieces"])

    def events(self, sample: Sample) -> float:
        """Every stream is read to its end, so the count is exact."""
        return float(sample.requests * load.STREAM_EVENTS)

    def first_content(self, seconds: float) -> tuple[float, float]:
        """Asks the process for the times it saw."""
        got = self._command("first", 1, seconds)
        return got["first_p50_us"], got["first_p99_us"]


def headgate_binary() -> pathlib.Path:
    """Returns the gateway's entry point: ``HEADGATE_BIN``, else the one in the project's environment."""
    found = os.environ.get("HEADGATE_BIN") or shutil.which("headgate", path=str(ROOT / ".venv" / "bin"))
    return pathlib.Path(found) if found else ROOT / ".venv" / "bin" / "headgate"
