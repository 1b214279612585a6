"""Processes under measurement: start them pinned to a core, read their CPU time and memory, end them.

Only the standard library, and Linux's ``/proc``: what is measured must not depend on what is installed.
"""

from __future__ import annotations

import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
CACHE = pathlib.Path(os.environ.get("HEADGATE_BENCH_CACHE") or "~/.cache/headgate-bench").expanduser()
TICKS = os.sysconf("SC_CLK_TCK")

_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
LOAD_CORE, GATE_CORE = _CORES[0], _CORES[min(1, len(_CORES) - 1)]


class BenchError(Exception):
    """A contestant could not be set up, started or trusted; its message is the reason the report shows."""


def free_port() -> int:
    """Returns a loopback TCP port that nothing listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def pin_self() -> None:
    """Keeps this process, and what it starts without a core of its own, on the load's core."""
    os.sched_setaffinity(0, {LOAD_CORE})


def spawn(
    cmd: Sequence[object],
    *,
    core: int,
    log: pathlib.Path,
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Starts a program on one core, in a process group of its own, its output in ``log``."""
    with log.open("ab") as out:
        return subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, cmd)],
            **{"stdout": out, "stderr": out, "stdin": subprocess.DEVNULL, **options},
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )


def stop(proc: subprocess.Popen[bytes], grace: float = 5.0) -> None:
    """Ends a process started by ``spawn`` and its group: SIGTERM, then SIGKILL after ``grace`` seconds."""
    for sig, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(proc.pid, sig)
        except ProcessLookupError:
            break
        try:
            proc.wait(wait)
        except subprocess.TimeoutExpired:
            continue
        if sig == signal.SIGTERM:
            time.sleep(0.1)


def wait_gone(find: Callable[[], list[int]], seconds: float) -> None:
    """Waits until a server's last recorder has gone by itself; ``find`` returns those that are there.

    Raises:
        BenchError: it has not.
    """
    end = time.monotonic() + seconds
    while find() and time.monotonic() < end:
        time.sleep(0.1)
    if find():
        raise BenchError("the recorder did not go")


def wait_port(port: int, proc: subprocess.Popen[bytes], seconds: float, log: pathlib.Path) -> None:
    """Returns once something listens on the port; raises with the log's end when it never does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if proc.poll() is not None:
            raise BenchError(f"ended with status {proc.returncode}: {tail(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.01)
    raise BenchError(f"nothing listens after {seconds:.0f} s: {tail(log)}")


def tail(log: pathlib.Path, size: int = 300) -> str:
    """Returns the last ``size`` characters of a log on one line."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return " ".join(text.split())[-size:]


def _children(pid: int) -> list[pathlib.Path]:
    """The files that list a process's children; none once it is gone (older Pythons' glob raises then)."""
    try:
        return list(pathlib.Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:
        return []


def tree(pid: int) -> list[int]:
    """Returns a process and all its descendants."""
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        out.append(p)
        for children in _children(p):
            try:
                todo += map(int, children.read_text().split())
            except OSError:
                continue
    return out


def command_line(pid: int) -> str:
    """Returns a process's command line, empty once it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def with_words(*words: str) -> list[int]:
    """Returns the processes whose command line holds all the words: finds a detached recorder by its data directory."""
    pids = (int(p.name) for p in pathlib.Path("/proc").iterdir() if p.name.isdigit())
    return [p for p in pids if (line := command_line(p)) and all(w in line for w in words)]


def cpu_seconds(pids: Sequence[int]) -> tuple[float, float]:
    """Returns the user and system CPU seconds used so far by the processes, threads included."""
    user = system = 0
    for p in pids:
        try:
            fields = pathlib.Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        user, system = user + int(fields[11]), system + int(fields[12])
    return user / TICKS, system / TICKS


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """Returns a process's resident memory in MB (10^6 bytes); ``VmHWM`` is its peak. 0 once it is gone."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    return 0.0


def need(*programs: str) -> str:
    """Returns what is missing to run the benchmarks, empty when nothing is."""
    missing = [p for p in programs if not shutil.which(p)]
    return f"{', '.join(missing)} not found (apt-get install {' '.join(missing)})" if missing else ""


def machine() -> dict[str, object]:
    """Returns what the figures were taken on."""
    model, mem = "unknown", 0
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            mem = int(line.split()[1]) * 1024
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_core": LOAD_CORE,
        "gateway_core": GATE_CORE,
        "memory_gb": round(mem / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }
