"""The Call: one request on its way in, passed whole from layer to layer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, Protocol

from headgate.core.encoding import UNKNOWN_ENCODING, Encoding
from headgate.core.errors import HeadgateError
from headgate.core.price import Price
from headgate.core.record import AttemptRecord, Record
from headgate.core.reply import Reply
from headgate.core.tape import Tape
from headgate.core.terms import ModelPatterns, Terms

Priority = Literal["interactive", "batch"]

_NO_HEADERS: Mapping[bytes, bytes] = MappingProxyType({})
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _no_status(error: HeadgateError | None) -> int:
    return 0


class Principal:
    """Who asks: a virtual key's identity, or the one anonymous caller of keyless mode.

    ``models`` is None where every configured model may be used. ``direct`` allows ``provider/model``
    addressing. ``payloads`` is ``"none"``, ``"redacted"``, ``"full"`` or ``""`` (as configured).
    ``terms`` are further restrictions, None for most keys.
    """

    __slots__ = ("direct", "feature", "key_id", "key_name", "models", "payloads", "role", "team", "terms", "user")

    def __init__(
        self,
        key_id: str,
        key_name: str,
        *,
        role: str = "developer",
        user: str = "",
        team: str = "",
        feature: str = "",
        models: frozenset[str] | ModelPatterns | None = None,
        direct: bool = False,
        payloads: str = "",
        terms: Terms | None = None,
    ) -> None:
        self.key_id = key_id
        self.key_name = key_name
        self.role = role
        self.user = user
        self.team = team
        self.feature = feature
        self.models = models
        self.direct = direct
        self.payloads = payloads
        self.terms = terms


class Settlement(Protocol):
    """The moment from which a Record can no longer be lost. ``done`` says whether it has come; awaitable too."""

    done: bool

    def then(self, callback: Callable[[], None]) -> None:
        """Calls ``callback`` at that moment; at once if it has come."""

    def __await__(self) -> Generator[Any, None, None]: ...


class Timeouts:
    """The five bounds in time of an attempt, in seconds (DESIGN §7)."""

    __slots__ = ("connect", "first_content", "headers", "idle", "shortest", "total")

    def __init__(
        self,
        connect: float = 5.0,
        headers: float = 60.0,
        first_content: float = 120.0,
        idle: float = 60.0,
        total: float = 600.0,
    ) -> None:
        self.connect = connect
        self.headers = headers
        self.first_content = first_content
        self.idle = idle
        self.total = total
        self.shortest = min(headers, first_content, idle, total)


class Health(Protocol):
    """What is known at run time of one deployment in this worker (``pipeline.health``)."""

    def is_blocked(self, now: float) -> bool:
        """Whether a call would be turned away now: its breaker is open, it is paused, or it has no place free."""

    def heed(self, headers: Mapping[bytes, bytes]) -> None:
        """Takes in what a good answer's headers say of the provider's own limits."""


class Deployment:
    """One model at one provider, as a step of a plan: its name, its handler and its bounds in time.

    ``max_tokens`` is what is sent where the caller names none. ``handler`` is the chain of layers that is
    this deployment's own. ``health`` is None where nothing is known of it. ``price`` is what it costs now (it changes
    with the table's dates and hours), None where it has none; ``encoding`` how its input is counted before a call.
    """

    __slots__ = (
        "encoding",
        "handler",
        "health",
        "max_tokens",
        "model",
        "name",
        "price",
        "provider",
        "timeouts",
        "weight",
    )

    def __init__(
        self,
        name: str,
        provider: str,
        model: str,
        handler: AttemptHandler,
        timeouts: Timeouts,
        max_tokens: int = 4096,
        health: Health | None = None,
        weight: float = 1.0,
        *,
        price: Price | None = None,
        encoding: Encoding = UNKNOWN_ENCODING,
    ) -> None:
        self.name = name
        self.provider = provider
        self.model = model
        self.handler = handler
        self.timeouts = timeouts
        self.max_tokens = max_tokens
        self.health = health
        self.weight = weight
        self.price = price
        self.encoding = encoding


class Plan:
    """An ordered list of deployments with one cursor that all attempts share.

    ``on`` has other lists, by kind of failure: one of them takes the place of what is left, once. ``rest`` makes the
    part of the list that most calls never come to; it is asked once, when the list before it is at its end. It is given
    the call, and does not hold it: a call that its own plan kept alive would be left to the cycle collector.
    """

    __slots__ = ("_next", "_rest", "deployments", "on")

    def __init__(
        self,
        deployments: Sequence[Deployment],
        on: Mapping[str, Sequence[Deployment]] = _NOTHING,
        rest: Callable[[Call], Sequence[Deployment]] | None = None,
    ) -> None:
        self.deployments = deployments
        self.on = on
        self._next = 0
        self._rest = rest

    def take(self, call: Call) -> Deployment | None:
        """Returns the next untried deployment and moves on, or None at the end."""
        if self._next >= len(self.deployments):
            self._unfold(call)
            if self._next >= len(self.deployments):
                return None
        deployment = self.deployments[self._next]
        self._next += 1
        return deployment

    def redirect(self, kind: str) -> bool:
        """Goes on with the list for this kind of failure, instead of what is left; False where there is none."""
        instead = self.on.get(kind)
        if instead is None:
            return False
        tried = self.deployments[: self._next]
        names = {deployment.name for deployment in tried}
        self.deployments = [*tried, *(one for one in instead if one.name not in names)]
        self.on = _NOTHING
        self._rest = None
        return True

    def has_next(self, call: Call, now: float) -> bool:
        """Whether an untried deployment is left that would take the call now."""
        self._unfold(call)
        for deployment in self.deployments[self._next :]:
            if deployment.health is None or not deployment.health.is_blocked(now):
                return True
        return False

    def _unfold(self, call: Call) -> None:
        if self._rest is not None:
            rest, self._rest = self._rest, None
            self.deployments = [*self.deployments, *rest(call)]


class Call:
    """One request: who asks, for what, in which dialect, by when; its plan and its Record.

    Attributes:
        id: the call's id, also its Record's and the ``x-headgate-id`` header.
        dialect: the client's dialect (``dialects.base.Dialect``).
        raw: the body as it came.
        headers: the client's headers, lower-case names; empty in the library.
        record: its story so far; closed by ``account``.
        started: when it arrived, on the monotonic clock (s).
        deadline: when it must have ended, on the monotonic clock (s), or None.
        peer: the client's address, ``""`` in the library.
        principal: who asks; None until ``auth`` has passed.
        view: the request's top level (``dialects.base.View``); None until ``decode`` has passed.
        conversation: the neutral request, once somebody has needed it.
        limits: what holds for it (``pipeline.rulebook.Applied``); None where nothing does.
        plan: the deployments to try, in order; None until ``route`` has passed.
        settle: tells when the Record can no longer be lost; None if that is so already.
        status_of: the HTTP status that the server gives an outcome (None: success); 0 in the library.
        cut: why the server itself is cancelling the call; None while it is not, and where the client left.
        task: the task that handles it, where the server knows it; None in the library.
        begun: whether a heartbeat has begun the response already, with status 200.
        kept: how payloads are kept: ``"full"``…; as configured, until ``auth`` has passed; then as its key says.
        tapes: what its attempts have heard, where payloads are kept whole; None where nothing is.
    """

    __slots__ = (
        "begun",
        "conversation",
        "cut",
        "deadline",
        "dialect",
        "headers",
        "id",
        "kept",
        "limits",
        "peer",
        "plan",
        "principal",
        "raw",
        "record",
        "settle",
        "started",
        "status_of",
        "tapes",
        "task",
        "view",
    )

    def __init__(
        self,
        record: Record,
        dialect: Any,
        raw: bytes,
        started: float,
        *,
        headers: Mapping[bytes, bytes] = _NO_HEADERS,
        deadline: float | None = None,
        peer: str = "",
        principal: Principal | None = None,
        status_of: Callable[[HeadgateError | None], int] = _no_status,
    ) -> None:
        self.id = record.id
        self.record = record
        self.dialect = dialect
        self.raw = raw
        self.started = started
        self.headers = headers
        self.deadline = deadline
        self.peer = peer
        self.principal = principal
        self.status_of = status_of
        self.view: Any = None
        self.conversation: Any = None
        self.plan: Plan | None = None
        self.limits: Any = None
        self.cut: HeadgateError | None = None
        self.begun = False
        self.settle: Settlement | None = None
        self.kept = ""
        self.tapes: list[Tape] | None = None
        self.task: asyncio.Task[None] | None = None


class Attempt:
    """One try at one deployment, from its dispatch to its end; holds what can stop it.

    Attributes:
        call, deployment: what is tried where.
        record: this try's own part of the call's Record.
        abort: ends the attempt from outside (a timer, a hedge that lost) with an error that the waiting layer then
            sees raised. Set by the driver at dispatch; None before.
        head_at: when the response head came, on the monotonic clock; 0.0 before.
        content_at: when the first content came (the commit point); 0.0 before.
        waiting_since: since when we have been waiting for upstream bytes; 0.0 while we are not.
        position: its place in the Record's attempts.
        rotated: it failed by the provider's key, and another of its keys can be tried at once.
    """

    __slots__ = (
        "abort",
        "call",
        "content_at",
        "deployment",
        "head_at",
        "position",
        "record",
        "rotated",
        "waiting_since",
    )

    def __init__(self, call: Call, deployment: Deployment, started_us: int) -> None:
        self.call = call
        self.deployment = deployment
        self.record = AttemptRecord(deployment.name, deployment.provider, deployment.model, started_us)
        attempts = call.record.attempts
        self.position = len(attempts)
        attempts.append(self.record)
        self.rotated = False
        self.abort: Callable[[HeadgateError], None] | None = None
        self.head_at = 0.0
        self.content_at = 0.0
        self.waiting_since = 0.0

    def skip(self, error: HeadgateError) -> HeadgateError:
        """Notes that it was never dispatched, and why; returns the error, to be raised."""
        record = self.record
        record.outcome = "skipped"
        record.ended_us = record.started_us
        record.error = error.code
        record.error_message = error.message
        record.fault = error.fault
        return error

    def bind(self, abort: Callable[[HeadgateError], None]) -> None:
        """Tells what stops this attempt; for ``Transport.send``'s ``on_abort``."""
        self.abort = abort


Handler = Callable[[Call], Awaitable[Reply]]
Layer = Callable[[Handler], Handler]

AttemptHandler = Callable[[Attempt], Awaitable[Reply]]
"""What is inside ``route``: the layers that belong to one deployment see the Attempt, which holds its Call."""
AttemptLayer = Callable[[AttemptHandler], AttemptHandler]
