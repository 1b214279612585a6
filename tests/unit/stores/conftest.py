"""What the stores' tests share: Records, and a data directory with its schema."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from headgate.core.clock import Ids
from headgate.core.record import AttemptRecord, Record
from headgate.core.usage import Usage

MakeRecord = Callable[..., Record]


@pytest.fixture
def make_record() -> MakeRecord:
    """Makes a Record of a call that one deployment answered; keywords change it."""
    ids = Ids()

    def make(**fields: object) -> Record:
        usage = Usage(12, 34, cached=5)
        attempt = AttemptRecord(
            "up/gpt", "up", "gpt", 100, 2000, 9000, "completed", 200, sent=True, finish="stop", usage=usage
        )
        base: dict[str, object] = {
            "time_ns": time.time_ns(),
            "key_id": "key_1",
            "key_name": "one",
            "dialect": "openai_chat",
            "model": "fast",
            "outcome": "completed",
            "status": 200,
            "finish": "stop",
            "usage": usage,
            "attempts": [attempt],
            "winner": 0,
            "duration_us": 9500,
        }
        return Record(ids.new(), **{**base, **fields})  # type: ignore[arg-type]

    return make
