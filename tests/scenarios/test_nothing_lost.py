"""Nothing is lost: writers and recorders killed at random moments, every announced Record in the store once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select
from tests.schema import lay_schema

from headgate.core.clock import Ids
from headgate.core.record import Record
from headgate.stores.data import DataDir
from headgate.stores.keeper import RecorderKeeper, ensure_recorder, take_recorder_lock
from headgate.stores.schema import calls

WRITER = """
import os, sys, time
from headgate.core.clock import Ids
from headgate.core.record import Record
from headgate.stores.data import DataDir
from headgate.stores.keeper import RecorderKeeper
data = DataDir(sys.argv[1])
journal, keeper, ids = data.open_journal(segment_bytes=20_000), RecorderKeeper(data), Ids()
keeper.start()
while True:
    one = Record(ids.new(), time.time_ns(), model="m", outcome="completed", notes={"filler": "x" * 200})
    journal.append(one)
    os.write(1, one.id.encode() + b"\\n")
    time.sleep(0.0002)
"""


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A data directory whose schema is there."""
    return DataDir(lay_schema(tmp_path / "data"))


def recorder_pid(data: DataDir) -> int | None:
    """Returns the process id of the directory's recorder, looked up as a user would: by its command line."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            running = (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            continue
        if running and b"headgate.stores.recorder_process" in words and os.fsencode(data.path) in words:
            return int(process.name)
    return None


def wait_for_recorder_to_leave(data: DataDir, seconds: float = 60.0) -> None:
    """Waits until the directory's recorder has ended by itself."""
    until = time.monotonic() + seconds
    while (lock := take_recorder_lock(data.path)) is None:
        assert time.monotonic() < until, (data.path / "recorder.log").read_text()
        time.sleep(0.05)
    os.close(lock)


def stored(data: DataDir) -> list[str]:
    """Returns the ids of all stored calls."""
    engine = data.open_engine()
    with engine.connect() as connection:
        ids = list(connection.execute(select(calls.c.id)).scalars())
    engine.dispose()
    return ids


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds the recorder through /proc")
def test_killed_writers_and_recorders_lose_nothing(data: DataDir) -> None:
    """In every round the writer is killed at a random moment, in some the recorder too: no announced id is missing."""
    chance = random.Random(7)
    announced: list[str] = []
    for number in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(data.path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            announced.append(writer.stdout.readline().decode().strip())
            time.sleep(chance.uniform(0.1, 0.6))
            if number % 2 == 0:
                pid = recorder_pid(data)
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                time.sleep(chance.uniform(0.0, 0.7))
            writer.kill()
            announced += [line for line in writer.stdout.read().decode().split("\n") if len(line) == 30]
    ensure_recorder(data.path)
    wait_for_recorder_to_leave(data)
    ids = stored(data)
    assert len(announced) > 100
    assert len(ids) == len(set(ids))
    assert set(announced) <= set(ids)
    assert len(set(ids) - set(announced)) <= 4, "more than one unannounced record per killed writer"
    assert list(data.journal_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds the recorder through /proc")
def test_a_killed_recorder_comes_back_while_somebody_writes(data: DataDir) -> None:
    """The keeper starts one recorder, a new one after a kill, and none is left when the journal is closed."""
    journal, keeper = data.open_journal(), RecorderKeeper(data)
    keeper.start()
    until = time.monotonic() + 60
    while (first := recorder_pid(data)) is None:  # for some ms a new process has no command line
        assert time.monotonic() < until
        time.sleep(0.01)
    assert ensure_recorder(data.path) is None
    os.kill(first, signal.SIGKILL)
    until = time.monotonic() + 60
    while (second := recorder_pid(data)) in (None, first):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert second != first
    one = Record(Ids().new(), time.time_ns(), model="m", outcome="completed")
    journal.append(one)
    journal.close()
    keeper.close()
    wait_for_recorder_to_leave(data)
    assert stored(data) == [one.id]


def test_records_on_the_command_line_include_the_newest(data: DataDir) -> None:
    """``headgate records`` shows a call that is in the journal and not yet stored, and ``record`` tells its story."""
    journal = data.open_journal()
    one = Record(Ids().new(), time.time_ns(), model="m\x1b[31m", outcome="failed", error="overloaded", status=503)
    journal.append(one)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "import sys; from headgate.cli.main import main; sys.exit(main())"]
        return subprocess.run(
            [*command, *arguments, "--data", str(data.path)], capture_output=True, text=True, timeout=120, check=False
        )

    listed = run("records", "--format", "jsonl")
    assert listed.returncode == 0, listed.stderr
    (line,) = listed.stdout.splitlines()
    story = msgspec.json.decode(line)
    assert (story["id"], story["outcome"], story["error"]) == (one.id, "failed", "overloaded")
    told = run("record", one.id)
    assert one.id in told.stdout
    assert "\x1b" not in told.stdout
    unknown = run("record", "hg_nobody")
    assert unknown.returncode != 0
    assert "hg_nobody" in unknown.stderr
    journal.close()
