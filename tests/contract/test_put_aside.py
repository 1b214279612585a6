"""What can not be read of a journal: payloads are dropped, the rest is put aside, and goes when Records go."""

from __future__ import annotations

import os
import time

import msgspec
import pytest
from sqlalchemy import select

from headgate.stores.data import DataDir
from headgate.stores.journal.framing import PAYLOAD, PayloadEntry, frame
from headgate.stores.journal.segments import create_segment
from headgate.stores.recorder import Recorder
from headgate.stores.retention import Retention, save_retention
from headgate.stores.schema import payloads

SAID = b"my card is 4111"


def entry(call_id: str, said: bytes, salt: int) -> bytes:
    """Returns a call's payloads as they lie in a segment."""
    return frame(PAYLOAD, msgspec.msgpack.encode(PayloadEntry(call_id, said, b"", "redacted")), salt)


@pytest.mark.parametrize("kind", ["damaged", "not understood"])
def test_payloads_that_can_not_be_read_are_dropped(data: DataDir, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody can redact what nobody can read: no file keeps it, the log tells of it, and what follows is stored."""
    segment = create_segment(data.journal_path, ".payload", 0.0)
    damaged = bytearray(entry("hg_1", SAID, segment.salt))
    damaged[-1] ^= 1
    lost = bytes(damaged) if kind == "damaged" else frame(PAYLOAD, SAID, segment.salt)
    os.write(segment.fd, lost + entry("hg_2", b"hello", segment.salt))
    segment.close()
    recorder = Recorder(data)
    recorder.drain()
    recorder.close()
    engine = data.open_engine()
    with engine.connect() as connection:
        assert connection.execute(select(payloads.c.call_id)).scalars().all() == ["hg_2"]
    engine.dispose()
    assert not [path for path in data.path.rglob("*") if path.is_file() and SAID in path.read_bytes()]
    assert "dropped: what can not be read can not be redacted" in caplog.text


def test_what_was_put_aside_goes_when_records_go(data: DataDir) -> None:
    """Housekeeping removes side files that are older than retention lets Records and payloads be; others stay."""
    save_retention(data.path, Retention(retention_days=10, payload_days=2))
    recorder = Recorder(data)
    recorder.step()
    for name, age in {"a.records": 11, "b.records": 9, "c.payload": 3, "d.payload": 1}.items():
        path = data.journal_path / f"{name}.corrupt"
        path.write_bytes(b"\x00")
        when = time.time() - age * 86_400
        os.utime(path, (when, when))
    recorder.keep_house()
    left = {"b.records.corrupt", "d.payload.corrupt"}
    assert {path.name for path in data.journal_path.glob("*.corrupt")} == left
    save_retention(data.path, Retention())
    recorder.keep_house()
    recorder.close()
    assert {path.name for path in data.journal_path.glob("*.corrupt")} == left
