"""A PostgreSQL server of a test's (or a bench's) own: started in a fresh directory on a free port, gone at the end.

It never touches a server that runs already. Only the standard library is needed to run one; ``new_database`` needs
psycopg. PostgreSQL refuses to run as root, so that root runs it as the user ``postgres``, outside root's home.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

USER = "headgate"
START_SECONDS = 30.0
HOME = "headgate-pg-"
MEMORY = "/dev/shm"
PLENTY = 2 << 30  # bytes free in memory, for servers to live there
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "autovacuum": "off",
    "jit": "off",
}


def find_binaries() -> pathlib.Path | None:
    """Returns the folder with ``initdb`` and ``postgres``: Debian's newest, else PATH's; None where there is none."""

    def version(folder: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", folder)]

    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=version, reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        folders.append(str(pathlib.Path(on_path).resolve().parent))
    for folder in map(pathlib.Path, folders):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


def why_not() -> str:
    """Returns why no server can be run here, "" where one can."""
    if find_binaries() is None:
        return "PostgreSQL is not installed (apt-get install postgresql)"
    if os.geteuid() == 0 and not _has_user("postgres"):
        return "PostgreSQL does not run as root, and there is no user postgres"
    try:
        import psycopg  # noqa: F401 - whether it loads is the question
    except ImportError as error:
        return f"psycopg can not be loaded: {error}"
    return ""


class Postgres:
    """A server in a directory of its own; ``with Postgres() as server:`` ends and removes it.

    Args:
        settings: what to change in ``SETTINGS``, for one that is to be measured (``fsync="on"``).

    Attributes:
        port: where it listens, on 127.0.0.1; the same after a restart.
        home: the directory with all its files.
        process: the postmaster, None while the server is stopped.
        template: the database that ``tests.schema`` copies, "" until it made one.
    """

    _initdb: pathlib.Path | None = None  # a fresh cluster of this process, which later servers copy

    def __init__(self, **settings: str) -> None:
        binaries = find_binaries()
        assert binaries is not None, why_not()
        self._bin = binaries
        self._settings = {**SETTINGS, **settings}
        self.home = _make_home(in_memory=self._settings["fsync"] == "off")
        self._log = self.home / "log"
        self.password = secrets.token_hex(8)
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.template = ""
        self._frozen = False
        try:
            self._make_cluster()
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Postgres:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, database: str = "postgres") -> str:
        """Returns a database's URL, as SQLAlchemy with psycopg takes it."""
        return f"postgresql+psycopg://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self, like: str = "template0") -> str:
        """Makes a database, empty or the copy of one that nobody is connected to, and returns its URL."""
        name = f"t{secrets.token_hex(6)}"
        # Before version 15 files are copied anyway; since then that has to be asked for, and costs a third.
        version = float((self.home / "data" / "PG_VERSION").read_text())
        self.execute(f"CREATE DATABASE {name} TEMPLATE {like}" + (" STRATEGY file_copy" if version >= 15 else ""))
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drops a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Runs one statement on a connection of its own; returns its rows, none where it has none."""
        import psycopg

        place = self.url(database).replace("+psycopg", "")
        with contextlib.closing(psycopg.connect(place, autocommit=True)) as connection:
            cursor = connection.execute(sql)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Starts it (again); returns once it takes connections."""
        for _ in range(3):
            self.port = self.port or _free_port()
            command = [str(self._bin / "postgres"), "-D", str(self.home / "data"), "-p", str(self.port)]
            for name, value in self._settings.items():
                command += ["-c", f"{name}={value}"]
            if shutil.which("setpriv"):  # a test run that is killed takes its server with it
                command = ["setpriv", "--pdeathsig", "INT", *command]
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **_as_postgres()
                )
            if self._wait():
                return
            said = self._log.read_text(errors="replace")
            if "Address already in use" not in said:
                break
            self.port = 0  # somebody took it in between
        raise RuntimeError(f"PostgreSQL did not start: {self._log.read_text(errors='replace')[-500:]}")

    def stop(self, mode: str = "fast") -> None:
        """Stops it: ``fast`` cuts connections, ``immediate`` crashes. Idempotent; ``start`` brings it back."""
        if self.process is None:
            return
        if self._frozen:
            self.thaw()
        self.process.send_signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    def freeze(self) -> None:
        """Stops all its processes in their tracks: connections stay open, and nothing answers."""
        self._frozen = True
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen server go on."""
        self._signal_all(signal.SIGCONT)
        self._frozen = False

    def close(self) -> None:
        """Stops it and removes all its files. Idempotent."""
        self.stop("immediate")
        shutil.rmtree(self.home, ignore_errors=True)

    def _make_cluster(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.home, "postgres", "postgres")
        if Postgres._initdb is None:
            Postgres._initdb = _init(self._bin)
        _run("cp", "-R", str(Postgres._initdb), str(self.home / "data"))
        # The postmaster is not there yet: a single-user backend gives this server its own password.
        role = f"CREATE ROLE {USER} SUPERUSER LOGIN PASSWORD '{self.password}'\n"
        single = [
            str(self._bin / "postgres"),
            "--single",
            "-D",
            str(self.home / "data"),
            "-c",
            "fsync=off",
            "postgres",
        ]
        _run(*single, given=role)

    def _wait(self) -> bool:
        """Whether it takes connections, by what its own file says; False once it has ended."""
        assert self.process is not None
        end = time.monotonic() + START_SECONDS
        ready = self.home / "data" / "postmaster.pid"
        while time.monotonic() < end and self.process.poll() is None:
            try:
                lines = ready.read_text().splitlines()
            except OSError:
                lines = []
            if len(lines) >= 8 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready":
                return True
            time.sleep(0.01)
        return False

    def _signal_all(self, number: int) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        own = self.process.pid
        found = subprocess.run(["pgrep", "-P", str(own)], capture_output=True, check=False).stdout
        for pid in [own, *map(int, found.split())]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


@contextlib.contextmanager
def session() -> Iterator[Postgres]:
    """A server for many tests; at the end the files that later servers were copied from are removed, too."""
    sweep()
    try:
        with Postgres() as server:
            yield server
    finally:
        if Postgres._initdb is not None:
            shutil.rmtree(Postgres._initdb.parent, ignore_errors=True)
            Postgres._initdb = None


def _init(binaries: pathlib.Path) -> pathlib.Path:
    """Makes a fresh cluster, whose texts sort as people's do (not by bytes), as on most servers."""
    home = _make_home(in_memory=True)
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
    initdb = str(binaries / "initdb")
    help_text = subprocess.run([initdb, "--help"], capture_output=True, text=True, check=True).stdout
    sorting = ["--locale-provider=icu", "--icu-locale=en-US"] if "--icu-locale" in help_text else []
    arguments = ["-D", str(home / "data"), "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"]
    password = home / "password"
    password.write_text(secrets.token_hex(16))
    if os.geteuid() == 0:
        shutil.chown(password, "postgres", "postgres")
    _run(initdb, *arguments, *sorting, "--no-sync", "--no-instructions", f"--pwfile={password}")
    return home / "data"


def _make_home(*, in_memory: bool) -> pathlib.Path:
    """Makes a directory for a server, named by this process, so that others know when nobody needs it any more."""
    return pathlib.Path(tempfile.mkdtemp(prefix=f"{HOME}{os.getpid()}-", dir=_folder(in_memory=in_memory)))


def sweep() -> None:
    """Removes what processes that were killed have left, which may be in memory."""
    for home in [path for folder in (MEMORY, "/tmp") for path in pathlib.Path(folder).glob(f"{HOME}*-*")]:
        owner = home.name.removeprefix(HOME).partition("-")[0]
        if not owner.isdecimal():
            continue
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            shutil.rmtree(home, ignore_errors=True)
        except PermissionError:
            continue


def _folder(*, in_memory: bool) -> str:
    """Where servers live: not below TMPDIR, for root's may lie where the user postgres can not go.

    A database is a few hundred files. Making and dropping them costs ten times less in memory than on a disk, and every
    other process' fsync on that disk waits for them; so they lie in memory where there is plenty.
    """
    if in_memory and os.path.isdir(MEMORY) and os.access(MEMORY, os.W_OK):
        room = os.statvfs(MEMORY)
        if room.f_bavail * room.f_frsize >= PLENTY:
            return MEMORY
    return "/tmp"


def _run(*command: str, given: str = "") -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, cwd="/", **_as_postgres())
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-500:]}")


def _as_postgres() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": (), "env": {**os.environ, "HOME": "/tmp"}}


def _has_user(name: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
