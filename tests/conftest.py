"""Fixtures that every room of the tests shares."""

from __future__ import annotations

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of public data that nobody here wrote; skips where absent, fails where CI should have it."""
    path = pathlib.Path(os.environ.get("HEADGATE_SHARED_DATA") or ROOT / ".." / "shared" / "data").resolve()
    if not path.is_dir():
        reason = f"no shared data at {path}; set HEADGATE_SHARED_DATA"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
