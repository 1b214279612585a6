"""Follower: sees that the files behind the settings have changed, and applies what they say now or refuses it whole."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection

from headgate.config.changes import changes, hold, secrets, summary
from headgate.config.settings import Settings
from headgate.config.source import Source, Stamps, look_at
from headgate.core.errors import ConfigError

PERIOD = 1.0
"""Seconds between two looks."""

SETTLE = 0.25
"""Files must have been left alone for so long (s) before they are read: editors write in pieces."""

RETRY = 5.0
"""Seconds until something refused is read again: what was missing may be there by then."""

Apply = Callable[[Settings, str], None]
"""Takes settings and their version. Raises ConfigError where they can not be used; nothing has changed then."""

_log = logging.getLogger("headgate.config")


class Follower:
    """Follows one Source. Does no waiting of its own: who owns it calls ``look`` when it says so. It may block for as
    long as reading the files takes, so it belongs on no event loop.

    Everything is read at the first look, too: what changed between the start of a process and then is not missed.

    Attributes:
        settings: those that hold now.
        version: their ``Source.version``.
    """

    def __init__(
        self,
        source: Source,
        settings: Settings,
        apply: Apply,
        *,
        version: str = "",
        fixed: Collection[str] = (),
        speaks: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        source: where settings come from.
        settings: what was read there and holds now.
        apply: makes new ones hold.
        version: of ``settings``.
        fixed: which can not change (see ``changes.hold``).
        speaks: False where another process says in the log what was applied and refused.
        clock: monotonic seconds; injected by tests.
        """
        self.settings = settings
        self.version = version
        self._source = source
        self._apply = apply
        self._fixed = fixed
        self._good = logging.INFO if speaks else logging.DEBUG
        self._odd = logging.WARNING if speaks else logging.DEBUG
        self._bad = logging.ERROR if speaks else logging.DEBUG
        self._clock = clock
        self._paths = source.watched(settings)
        self._seen: Stamps = {}
        self._since = 0.0
        self._done: Stamps | None = None
        self._asked = False
        self._refused = ""
        self._retry_at = 0.0
        self._waiting: list[str] = []

    def look(self, *, asked: bool = False) -> float:
        """Looks at the files, and reads and applies them if they have changed and come to rest. Never raises.

        Args:
            asked: read them even if they have not changed (SIGHUP).

        Returns:
            Seconds until it wants to be called again.
        """
        now = self._clock()
        self._asked = self._asked or asked
        stamps = look_at(self._paths)
        if stamps != self._seen:
            self._seen, self._since = stamps, now
        again = self._refused and now >= self._retry_at
        if stamps == self._done and not self._asked and not again:
            return PERIOD
        left = self._since + SETTLE - now
        if left > 0:
            return left
        asked, self._asked = self._asked, False
        self._done, self._retry_at = stamps, now + RETRY
        try:
            self._read(asked)
        except Exception:
            _log.exception("the configuration could not be applied; the one before holds")
        return PERIOD if self._done is not None else SETTLE

    def _read(self, asked: bool) -> None:
        """Reads everything, and applies or refuses it."""
        wanted, problem = None, ""
        try:
            wanted = self._source.load()
        except ConfigError as error:
            problem = error.message
        if look_at(self._paths) != self._done:
            # Somebody wrote while we read.
            self._done, self._asked = None, asked
        elif wanted is None:
            self._refuse(problem, asked, self._bad)
            renewed = self._renew_secrets()
            if renewed:
                self._take(self.settings, self.version, renewed, asked)
        else:
            settings, waiting = hold(wanted, self.settings, self._fixed)
            changed, version = changes(self.settings, settings), self._source.version
            if changed or version != self.version:
                if not self._take(settings, version, changed, asked):
                    return
            elif asked or self._refused:
                _log.log(self._good, "configuration read again: nothing changed")
            self._refused = ""
            if waiting and waiting != self._waiting:
                _log.log(self._odd, "changed, but not before a restart: %s", ", ".join(waiting))
            self._waiting = waiting

    def _take(self, settings: Settings, version: str, changed: list[str], asked: bool) -> bool:
        """Applies settings; returns whether they hold now."""
        try:
            self._apply(settings, version)
        except ConfigError as error:
            # What one process can not apply is said by it, whoever speaks.
            self._refuse(error.message, asked, logging.ERROR)
            return False
        self.settings, self.version = settings, version
        self._paths = self._source.watched(settings)
        shown = f" (version {version})" if version else ""
        _log.log(self._good, "configuration applied%s: %s", shown, summary(changed))
        return True

    def _refuse(self, problem: str, asked: bool, level: int) -> None:
        """Says why, once for each thing that is wrong; again if somebody asked."""
        if asked or problem != self._refused:
            _log.log(level, "configuration refused, the one before holds: %s", problem)
        self._refused = problem

    def _renew_secrets(self) -> list[str]:
        """Reads the mounted secrets alone, so that a wrong configuration keeps no new key out."""
        changed = []
        for path, secret in secrets(self.settings):
            try:
                if secret.refresh():
                    changed.append(f"changed {path}")
            except ConfigError as error:
                # The refusal has told it, unless the file was wrong before that.
                _log.debug("%s: %s", path, error.message)
        return changed
