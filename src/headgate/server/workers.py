"""N worker processes on one listening socket: forked, watched, replaced when one dies, stopped together."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable

_MIN_LIFE = 1.0
"""A worker that dies younger than this (s) is replaced only after a pause, lest a broken start spins."""


def supervise(count: int, serve: Callable[[Callable[[], None]], int], ready: Callable[[], None]) -> int:
    """Runs ``serve`` in ``count`` processes until SIGTERM or SIGINT; returns the exit code.

    Args:
        count: workers to keep alive.
        serve: one worker's life; it calls its argument once it accepts connections.
        ready: called here once all workers accept connections.
    """
    return _Supervisor(count, serve, ready).run()


class _Supervisor:
    def __init__(self, count: int, serve: Callable[[Callable[[], None]], int], ready: Callable[[], None]) -> None:
        self._count = count
        self._serve = serve
        self._ready = ready
        self._born: dict[int, float] = {}
        self._stopping = False
        self._told_read, self._told_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> int:
        for number in (self._wake_write,):
            os.set_blocking(number, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(name, self._pass_on)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for _ in range(self._count):
            self._fork()
        told = 0
        while self._born:
            readable, _, _ = select.select([self._told_read, self._wake_read], [], [], 1.0)
            if self._wake_read in readable:
                os.read(self._wake_read, 4096)
            if self._told_read in readable:
                before, told = told, told + len(os.read(self._told_read, 4096))
                if before < self._count <= told:
                    self._ready()
            if not self._reap(told):
                return 1
        return 0

    def _fork(self) -> None:
        pid = os.fork()
        if pid:
            self._born[pid] = time.monotonic()
            return
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(name, signal.SIG_DFL)
            code = self._serve(self._tell)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _tell(self) -> None:
        os.write(self._told_write, b"r")

    def _reap(self, told: int) -> bool:
        """Collects dead workers and replaces them; False where they can not start at all."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return True
            born = self._born.pop(pid, None)
            if born is None or self._stopping:
                continue
            print(f"headgate: worker {pid} ended ({_how(status)}); starting another", file=sys.stderr, flush=True)
            if time.monotonic() - born < _MIN_LIFE:
                if told < self._count:
                    self._pass_on(signal.SIGTERM, None)
                    return False
                time.sleep(_MIN_LIFE)
            self._fork()

    def _pass_on(self, number: int, frame: object) -> None:
        if number != signal.SIGHUP:
            self._stopping = True
        for pid in self._born:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit code {os.waitstatus_to_exitcode(status)}"
