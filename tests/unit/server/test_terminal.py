"""Which SIGHUP means that the terminal was closed."""

from __future__ import annotations

import os

import pytest

from headgate.server.terminal import Terminal


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether there is a terminal; the last one counts."""
    states = [True]
    monkeypatch.setattr(os, "isatty", lambda fd: states[-1])
    return states


def test_one_that_has_just_gone(there: list[bool]) -> None:
    """Once; the next SIGHUP is another."""
    terminal = Terminal()
    assert not terminal.has_closed()
    there.append(False)
    terminal.look()  # SIGHUP need not come at once
    assert terminal.has_closed()
    assert not terminal.has_closed()


def test_one_that_went_long_ago(there: list[bool]) -> None:
    """A job that was disowned goes on; SIGHUP is for its configuration, even if a terminal of that number is back."""
    terminal = Terminal()
    there.append(False)
    terminal.look()
    terminal.look()
    assert not terminal.has_closed()
    there.append(True)
    assert not terminal.has_closed()


def test_none_at_all(there: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """A service has no terminal, or not even a standard input."""
    there.append(False)
    assert not Terminal().has_closed()

    def broken(fd: int) -> bool:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(os, "isatty", broken)
    assert not Terminal().has_closed()
