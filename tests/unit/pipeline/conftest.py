"""Calls and stand-ins for testing one layer at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from headgate.core.call import Attempt, Call, Deployment, Principal, Timeouts
from headgate.core.clock import FixedClock
from headgate.core.errors import HeadgateError
from headgate.core.record import Record
from headgate.core.rule import LimitRule


class View:
    """What the layers need of a request."""

    def __init__(self, model: str = "fast", stream: bool = False, user: str = "") -> None:
        self.model, self.stream, self.user = model, stream, user
        self.max_tokens, self.n, self.include_usage = None, 1, True


class Dialect:
    """What the layers need of the client's dialect."""

    name, billed = "openai_chat", True


class MemoryJournal:
    """A journal that keeps Records in a list."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.payloads: list[tuple[str, bytes, bytes]] = []

    def append(self, record: Record) -> None:
        self.records.append(record)

    def append_payload(self, call_id: str, request: bytes, response: bytes, policy: str = "full") -> None:
        self.payloads.append((call_id, request, response))

    def close(self) -> None:
        pass


class Keys:
    """A key ring of fixed keys, by digest."""

    def __init__(self, keys: Mapping[bytes, Principal] | None = None) -> None:
        self.keys = dict(keys or {})
        self.rules: tuple[LimitRule, ...] = ()
        self.changed: Callable[[], None] = lambda: None

    def watch(self, changed: Callable[[], None]) -> None:
        self.changed = changed

    @property
    def empty(self) -> bool:
        return not self.keys

    stale = False

    def find(self, digest: bytes) -> Principal | None:
        return self.keys.get(digest)

    def refresh(self) -> None:
        pass


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def make_call(clock: FixedClock) -> Callable[..., Call]:
    def make(view: View | None = None, **settings: Any) -> Call:
        def status(error: HeadgateError | None) -> int:
            return 200 if error is None else 500

        call = Call(
            Record("hg_1", clock.time_ns()), Dialect(), b"{}", clock.monotonic(), **{"status_of": status, **settings}
        )
        call.view = view or View()
        return call

    return make


@pytest.fixture
def make_deployment() -> Callable[..., Deployment]:
    def make(name: str, handler: Any = None, **bounds: float) -> Deployment:
        provider, _, model = name.partition("/")
        return Deployment(name, provider, model, handler, Timeouts(**bounds))

    return make


@pytest.fixture
def make_attempt(make_call: Callable[..., Call], make_deployment: Callable[..., Deployment]) -> Callable[..., Attempt]:
    def make(view: View | None = None, deadline: float | None = None, **bounds: float) -> Attempt:
        call = make_call(view)
        call.deadline = deadline
        return Attempt(call, make_deployment("up/m", **bounds), 0)

    return make
