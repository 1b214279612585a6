"""The supervisor of the workers: who is replaced, when it gives up, and that nobody outlives it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable

CREW = """
import os, signal, sys, time
from headgate.server.workers import supervise

def serve(tell):
    open(f"born/{os.getpid()}", "w").close()
    try:
        os.mkdir("first")  # one worker alone can make it, however close together they start
        number = 0
    except FileExistsError:
        number = 1
    %s
    tell()
    time.sleep(60)
    return 0

def look(asked):
    if asked:
        open("asked", "a").write("1")
    return 0.01 if asked else 60.0

sys.exit(supervise(2, serve, lambda: print("ready", flush=True), look))
"""


class Crew:
    """A supervisor of two workers, in a process of its own."""

    def __init__(self, folder: pathlib.Path, start: str) -> None:
        self.born = folder / "born"
        self.born.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-c", CREW % start],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def workers(self) -> list[int]:
        """Every worker there ever was."""
        return [int(path.name) for path in self.born.iterdir()]

    def end(self) -> tuple[int, str, str]:
        """Waits for the supervisor; returns its exit code and what it said."""
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err


def until(condition: Callable[[], bool]) -> None:
    """Waits until something holds."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def lives(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_worker_killed_while_the_crew_starts_is_replaced(tmp_path: pathlib.Path) -> None:
    """The first worker is killed before it was ready: the other goes on, and with its replacement all are ready."""
    crew = Crew(tmp_path, "number or os.kill(os.getpid(), signal.SIGKILL)")
    assert crew.process.stdout is not None
    assert crew.process.stdout.readline() == "ready\n"
    assert len(crew.workers()) == 3
    crew.process.terminate()
    code, out, err = crew.end()
    assert (code, out) == (0, "")
    assert err.count("killed by SIGKILL") == 1
    assert not any(map(lives, crew.workers()))


def test_a_crew_that_can_not_start_gives_up(tmp_path: pathlib.Path) -> None:
    """Where no worker gets ready, the third death ends it all with exit code 1, and nobody is left behind."""
    crew = Crew(tmp_path, "sys.exit('broken')")
    code, out, err = crew.end()
    assert (code, out) == (1, "")
    assert "no worker can start (exit code 1)" in err
    assert len(crew.workers()) <= 4
    assert not any(map(lives, crew.workers()))


def test_a_stop_while_the_crew_starts_is_heeded(tmp_path: pathlib.Path) -> None:
    """SIGTERM before anybody is ready ends every worker, with exit code 0."""
    crew = Crew(tmp_path, "time.sleep(60)")
    until(lambda: len(crew.workers()) == 2)
    crew.process.terminate()
    assert crew.end()[:2] == (0, "")
    assert not any(map(lives, crew.workers()))


def test_workers_do_not_outlive_a_killed_supervisor(tmp_path: pathlib.Path) -> None:
    """SIGKILL of the supervisor ends its workers, be they ready or not."""
    crew = Crew(tmp_path, "number and time.sleep(60)")
    until(lambda: len(crew.workers()) == 2)
    os.kill(crew.process.pid, signal.SIGKILL)
    crew.end()
    until(lambda: not any(map(lives, crew.workers())))


def test_a_hang_up_ends_nobody(tmp_path: pathlib.Path) -> None:
    """SIGHUP is told to ``look`` at once, and every worker lives on, one that has only just begun too."""
    crew = Crew(tmp_path, "number and time.sleep(60)")
    until(lambda: len(crew.workers()) == 2)
    workers = crew.workers()
    for pid in (crew.process.pid, *workers, crew.process.pid):
        os.kill(pid, signal.SIGHUP)
    until(lambda: (tmp_path / "asked").exists())
    assert set(crew.workers()) == set(workers)
    assert all(map(lives, workers))
    crew.process.terminate()
    assert crew.end()[:2] == (0, "")


def test_a_closed_terminal_ends_the_crew(tmp_path: pathlib.Path) -> None:
    """SIGHUP from a terminal that was closed is no wish for a new configuration: all drain and end."""
    controller, terminal = pty.openpty()
    (tmp_path / "born").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n" + CREW % "pass"],
        cwd=tmp_path,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    os.close(terminal)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.close(controller)
    assert process.communicate(timeout=120)[1] == ""
    assert process.returncode == 0
    assert not (tmp_path / "asked").exists()
