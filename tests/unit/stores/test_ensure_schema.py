"""The schema is prepared by a process of its own, which can be ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest

from headgate.core.errors import Unavailable
from headgate.stores import database


def test_a_start_that_a_signal_cuts_off_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops a gateway while it starts is told that, and not that something has no message."""

    def ended(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], -signal.SIGTERM, "", "")

    monkeypatch.delitem(sys.modules, "sqlalchemy", raising=False)
    monkeypatch.setattr(database, "schema_version", lambda _: None)
    monkeypatch.setattr(subprocess, "run", ended)
    with pytest.raises(Unavailable, match="cut off by SIGTERM while the database schema was prepared; start again"):
        database.ensure_schema("sqlite:///nowhere.db")
