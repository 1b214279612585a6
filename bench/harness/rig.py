"""The rig of the proofs about faults: simulators that are told what to do, and this gateway before them."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from harness import contestants, upstreams
from harness.procs import GATE_CORE, LOAD_CORE, ROOT, BenchError, free_port, spawn, stop, tail, wait_port

SCENARIOS = ROOT / "src" / "headgate" / "sim" / "scenarios"
WATCHED = pathlib.Path(__file__).with_name("watched.py")


UNSEEN = ("empty", "duplicate", "splice")
"""Faults of a stream that nobody can see from outside: HTTP and events are well, the model says something else."""


def scenario(name: str, *, without: Sequence[str] = (), **changes: Any) -> dict[str, Any]:
    """Returns a shipped scenario less some kinds of fault, some keys set anew; ``name`` "" starts from an empty one."""
    value: dict[str, Any] = yaml.safe_load((SCENARIOS / f"{name}.yaml").read_text()) if name else {}
    value["faults"] = [fault for fault in value.get("faults", ()) if fault["fault"] not in without]
    return value | changes


class Sim:
    """One ``headgate sim`` on the load's core."""

    def __init__(self, folder: pathlib.Path, name: str, script: Mapping[str, Any]) -> None:
        self.folder, self.name, self.port = folder, name, free_port()
        self.log = folder / f"sim-{name}.log"
        file = folder / f"sim-{name}.yaml"
        file.write_text(yaml.safe_dump(dict(script)))
        cmd = [contestants.headgate_binary(), "sim", "--port", self.port, "--scenario", file]
        self.proc = spawn(cmd, core=LOAD_CORE, log=self.log)
        wait_port(self.port, self.proc, 20, self.log)

    def meter(self) -> dict[str, Any]:
        """Returns what it has seen."""
        found: dict[str, Any] = json.loads(self._request("/sim/meter"))
        return found

    def load(self, script: Mapping[str, Any]) -> None:
        """Plays another scenario from now on; counts and schedules start anew."""
        self._request("/sim/scenario", yaml.safe_dump(dict(script)).encode())

    def _request(self, path: str, body: bytes | None = None) -> bytes:
        end = time.monotonic() + 5
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", body, timeout=5) as answer:
                    got: bytes = answer.read()
                return got
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)  # its port is closed for a moment: one of its faults

    def stop(self) -> None:
        """Ends it."""
        stop(self.proc)


class Gate(contestants.Headgate):
    """This gateway with one worker and a configuration given as text."""

    def __init__(self, folder: pathlib.Path, name: str, config: str, *, watched: bool = False) -> None:
        """Args:
        folder: where its files go.
        name: of its own folder.
        config: YAML.
        watched: whether ``watch`` shall work.
        """
        super().__init__(upstreams.Upstreams(folder), folder, name, contestants.headgate_binary())
        self.source = self.folder / "headgate.yaml"
        self.source.write_text(config)
        self.dump = self.folder / "watched.json" if watched else None

    def config(self, source: pathlib.Path) -> pathlib.Path:
        """The text has the ports in it."""
        return source

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts ``headgate serve``, where it is watched with a signal handler beside it."""
        if self.dump is None:
            return super().launch()
        cmd = [upstreams.python(), WATCHED, self.dump, "serve", "--config", self.source, "--port", self.port]
        cmd += ["--data", self.data, "--workers", "1"]
        return spawn(cmd, core=GATE_CORE, log=self.log, env={"UP_KEY": "sk-upstream"})

    def watch(self) -> dict[str, Any]:
        """Returns what the worker says about its own insides (see ``watched.py``)."""
        if self.dump is None or self.proc is None:
            raise BenchError("this gateway is not watched")
        self.dump.unlink(missing_ok=True)
        os.kill(self.worker, 10)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if self.dump.exists():
                found: dict[str, Any] = json.loads(self.dump.read_text())
                return found
            time.sleep(0.02)
        raise BenchError(f"the worker tells nothing about itself: {tail(self.log)}")

    @property
    def worker(self) -> int:
        """The serving process."""
        pids = self.pids()
        return pids[0] if pids else 0

    def probe(self) -> None:
        """The load itself is the probe."""

    def begin(self) -> None:
        """Sets it up and starts it."""
        self.set_up()
        self.start()

    def stories(self) -> list[dict[str, Any]]:
        """Returns every call's Record with its attempts, as ``headgate records`` tells them."""
        self.settle()
        cmd = [str(self.binary), "records", "--data", str(self.data), "--format", "jsonl"]
        env = {**os.environ, "UP_KEY": "sk-upstream"}
        done = subprocess.run(cmd, capture_output=True, text=True, env=env)
        if done.returncode:
            raise BenchError(f"headgate records: {done.stderr[-300:]}")
        return [json.loads(line) for line in done.stdout.splitlines()]


def attempts_at(stories: list[dict[str, Any]], deployment: str) -> list[dict[str, Any]]:
    """Returns the dispatched attempts at a deployment, each with ``time`` in seconds since 1970, in order."""
    found = []
    for story in stories:
        for attempt in story["attempts"]:
            if attempt["deployment"] == deployment and attempt["outcome"] != "skipped":
                found.append({**attempt, "time": story["time_ns"] / 1e9 + attempt["started_us"] / 1e6})
    return sorted(found, key=lambda attempt: attempt["time"])


def skipped_at(stories: list[dict[str, Any]], deployment: str) -> dict[str, int]:
    """Returns how often a deployment was left out, by the code that says why."""
    found = Counter(
        attempt["error"]
        for story in stories
        for attempt in story["attempts"]
        if attempt["deployment"] == deployment and attempt["outcome"] == "skipped"
    )
    return dict(found.most_common())


def shared_data() -> pathlib.Path:
    """Returns where the public data is; raises where it is not."""
    place = pathlib.Path(os.environ.get("HEADGATE_SHARED_DATA") or ROOT.parent / "shared" / "data").resolve()
    if not place.is_dir():
        raise BenchError(f"no shared data at {place}; set HEADGATE_SHARED_DATA")
    return place
