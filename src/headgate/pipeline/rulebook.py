"""The Rulebook: which limits hold for a call, looked up by who asks for what; worked out once for calls alike."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from headgate.core.rule import ATTEMPT_UNITS, LimitRule
from headgate.pipeline.meter import Window
from headgate.pipeline.shown import Shown

Subject = tuple[str, str, str, str, str, str]
"""Key's id, user, team, feature, model, priority."""

_CACHED = 8192
"""Callers assert users and features: how many are remembered is not theirs to say."""
_LONGEST = 256
_SCOPES = ("key", "user", "team", "feature", "model")


class Applied:
    """What holds for calls that look alike.

    Attributes:
        requests: windows of requests, counted once per call.
        places: those of concurrent calls.
        attempts: windows of dollars and tokens, reserved per attempt.
        token_windows: of these, those of tokens.
        money: whether dollars are among them: then a deployment without a price is refused.
        shown: what answers say of what is left: where requests or tokens are limited.
    """

    __slots__ = ("attempts", "money", "places", "requests", "shown", "token_windows")

    def __init__(self, windows: Sequence[Window]) -> None:
        self.requests = tuple(window for window in windows if window.rule.unit == "requests")
        self.places = tuple(window for window in windows if window.rule.unit == "concurrency")
        self.attempts = tuple(window for window in windows if window.rule.unit in ATTEMPT_UNITS)
        self.token_windows = tuple(window for window in self.attempts if window.rule.unit != "dollars")
        self.money = len(self.attempts) > len(self.token_windows)
        kinds = (("requests", self.requests), ("tokens", self.token_windows))
        self.shown = tuple(Shown(kind, windows) for kind, windows in kinds if windows)


NOTHING = Applied(())


class Rulebook:
    """All limits, and for each call those that hold.

    A limit on one member of a scope takes the place of the one on every member, for the same unit, window and
    priority; where several say the same, the smallest amount holds. Calls that name no user (team, feature) are
    one user (team, feature) together: nobody escapes a limit by leaving its name out.
    """

    __slots__ = ("_cache", "_groups", "_open", "empty")

    def __init__(self, rules: Iterable[LimitRule], open: Callable[[LimitRule, str], Window]) -> None:
        """Args:
        rules: every limit, whatever it comes from.
        open: makes the window of a limit for one member of its scope ("" for everything).
        """
        # (scope, unit, per, priority) -> the limit of each member that has one, and under "" that of all others.
        self._groups: dict[tuple[str, str, str, str], dict[str, LimitRule]] = {}
        for rule in rules:
            members = self._groups.setdefault((rule.scope, rule.unit, rule.per, rule.priority), {})
            member = unicodedata.normalize("NFC", rule.value)
            known = members.get(member)
            if known is None or rule.amount < known.amount:
                members[member] = rule
        self._open = open
        self._cache: dict[Subject, Applied] = {}
        self.empty = not self._groups

    def find(self, subject: Subject) -> Applied:
        """Returns what holds for calls of this kind."""
        found = self._cache.get(subject)
        if found is None:
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            found = self._cache[subject] = self._work_out(subject)
        return found

    def _work_out(self, subject: Subject) -> Applied:
        names = {scope: _member(word) for scope, word in zip(_SCOPES, subject, strict=False)}
        priority = subject[5]
        windows = []
        for (scope, _, _, wanted), members in self._groups.items():
            if wanted and wanted != priority:
                continue
            member = names.get(scope, "")
            rule = members.get(member) or members.get("")
            if rule is not None:
                windows.append(self._open(rule, member))
        return Applied(windows) if windows else NOTHING


def _member(word: str) -> str:
    """The one spelling of a name; of one that is too long to be kept, a name of fixed length."""
    if len(word) > _LONGEST:
        return "sha256:" + hashlib.sha256(word.encode("utf-8", "surrogatepass")).hexdigest()
    return unicodedata.normalize("NFC", word)
