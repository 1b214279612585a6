"""N worker processes on one listening socket: forked, watched, replaced when one dies, stopped together."""

from __future__ import annotations

import os
import select
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable

from headgate.server.terminal import Terminal, nothing

_MIN_LIFE = 1.0
"""A worker that dies younger than this (s) is replaced only after a pause, lest a broken start spins."""

_MAX_FAILURES = 3
"""So many deaths before any worker was ever ready mean that none can start."""

_PID = struct.Struct("=i")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def supervise(
    count: int,
    serve: Callable[[Callable[[], None]], int],
    ready: Callable[[], None],
    look: Callable[[bool], float] | None = None,
    stopping: Callable[[], object] | None = None,
) -> int:
    """Runs ``serve`` in ``count`` processes until SIGTERM or SIGINT; returns the exit code.

    A worker that ends is replaced. 1 is returned where three have ended before any was ready. Should this process
    itself be killed, the workers drain and end.

    Args:
        count: workers to keep alive.
        serve: one worker's life; it calls its argument once it accepts connections.
        ready: called here once all workers accept connections.
        look: called here, between other things, whenever the seconds have passed that it last returned, and with
            True upon SIGHUP, which the workers get as well.
        stopping: called here when it is to stop, maybe more than once: to close what the workers listen on.
    """
    return _Supervisor(count, serve, ready, look, stopping).run()


class _Supervisor:
    def __init__(
        self,
        count: int,
        serve: Callable[[Callable[[], None]], int],
        ready: Callable[[], None],
        look: Callable[[bool], float] | None,
        stopping: Callable[[], object] | None,
    ) -> None:
        self._count = count
        self._serve = serve
        self._ready = ready
        self._look = look
        self._on_stop = stopping
        self._look_at = 0.0
        self._hung_up = False
        self._terminal = Terminal()
        self._born: dict[int, float] = {}
        self._told: set[int] = set()
        self._any_ready = False
        self._all_ready = False
        self._failures = 0
        self._not_before = 0.0
        self._stopping = False
        self._code = 0
        self._told_read, self._told_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        # Nothing is ever written: its end tells the workers that their supervisor is gone, however it went.
        self._life_read, self._life_write = os.pipe()

    def run(self) -> int:
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for name in _SIGNALS:
            signal.signal(name, self._pass_on)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while self._born or not self._stopping:
            pause = min(self._fill(), self._look_around())
            readable, _, _ = select.select([self._told_read, self._wake_read], [], [], pause)
            if self._wake_read in readable:
                os.read(self._wake_read, 4096)
            if self._told_read in readable:
                self._hear(os.read(self._told_read, 1024 * _PID.size))
            self._reap()
        return self._code

    def _fill(self) -> float:
        """Starts the workers that are missing, or returns how long (s) to wait with that."""
        now = time.monotonic()
        if now >= self._not_before:
            while not self._stopping and len(self._born) < self._count:
                self._fork()
        return min(1.0, max(0.0, self._not_before - now)) or 1.0

    def _look_around(self) -> float:
        """Calls ``look`` when it is due; returns how long (s) until it is due again."""
        self._terminal.look()
        if self._look is None or self._stopping:
            return 1.0
        now = time.monotonic()
        asked, self._hung_up = self._hung_up, False
        if asked or now >= self._look_at:
            self._look_at = now + self._look(asked)
        return max(0.0, self._look_at - now)

    def _fork(self) -> None:
        # A signal in between would miss the child, or reach it while it still has its parent's handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = -1 if self._stopping else os.fork()
        if pid:
            if pid > 0:
                self._born[pid] = time.monotonic()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for name in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(name, signal.SIG_DFL)
            # What it asks for is read at the start anyway; the default would end the worker.
            signal.signal(signal.SIGHUP, nothing)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(self._life_write)
            threading.Thread(target=self._outlive_nobody, name="supervisor-watch", daemon=True).start()
            code = self._serve(self._tell)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _outlive_nobody(self) -> None:
        """In a worker: ends it, drained as by any SIGTERM, once the supervisor is gone."""
        os.read(self._life_read, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _tell(self) -> None:
        os.write(self._told_write, _PID.pack(os.getpid()))

    def _hear(self, pids: bytes) -> None:
        """Notes which workers are ready; once all are, says so, once."""
        self._told.update(pid for (pid,) in _PID.iter_unpack(pids))
        self._any_ready = True
        if not self._all_ready and len(self._told & self._born.keys()) == self._count:
            self._all_ready = True
            self._ready()

    def _reap(self) -> None:
        """Collects dead workers. Where none could ever start, gives up."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            born = self._born.pop(pid, None)
            self._told.discard(pid)
            if born is None or self._stopping:
                continue
            if not self._any_ready:
                self._failures += 1
                if self._failures >= _MAX_FAILURES:
                    print(f"headgate: no worker can start ({_how(status)})", file=sys.stderr, flush=True)
                    self._code = 1
                    self._pass_on(signal.SIGTERM, None)
                    continue
            print(f"headgate: worker {pid} ended ({_how(status)}); starting another", file=sys.stderr, flush=True)
            if time.monotonic() - born < _MIN_LIFE:
                self._not_before = time.monotonic() + _MIN_LIFE

    def _pass_on(self, number: int, frame: object) -> None:
        if number == signal.SIGHUP and self._terminal.has_closed():
            number = signal.SIGTERM
        if number == signal.SIGHUP:
            self._hung_up = True
        else:
            self._stopping = True
            if self._on_stop is not None:
                self._on_stop()
        for pid in self._born:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit code {os.waitstatus_to_exitcode(status)}"
