"""The Call: one request on its way in, passed whole from layer to layer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from headgate.core.record import AttemptRecord, Record
from headgate.core.reply import Reply

Priority = Literal["interactive", "batch"]


class Principal:
    """Who asks: a virtual key's identity, or the one anonymous caller of keyless mode.

    ``models`` is None where every configured model may be used. ``direct`` allows ``provider/model``
    addressing. ``payloads`` is ``"none"`` or ``"full"``.
    """

    __slots__ = ("direct", "feature", "key_id", "key_name", "models", "payloads", "role", "team", "user")

    def __init__(
        self,
        key_id: str,
        key_name: str,
        *,
        role: str = "developer",
        user: str = "",
        team: str = "",
        feature: str = "",
        models: frozenset[str] | None = None,
        direct: bool = False,
        payloads: str = "",
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


class RequestView(Protocol):
    """A request as its dialect sees it without decoding it whole (see ``dialects.base``)."""

    raw: bytes
    model: str
    stream: bool
    max_tokens: int | None
    n: int
    user: str
    include_usage: bool


class Deployment:
    """One model at one provider, as a step of a plan: its name, its handler and its bounds in time.

    ``timeouts`` are seconds: connect, headers, first_content, idle, total.
    """

    __slots__ = ("handler", "max_tokens", "model", "name", "provider", "timeouts")

    def __init__(
        self, name: str, provider: str, model: str, handler: Handler, timeouts: Timeouts, max_tokens: int | None = None
    ) -> None:
        self.name = name
        self.provider = provider
        self.model = model
        self.handler = handler
        self.timeouts = timeouts
        self.max_tokens = max_tokens


class Timeouts:
    """The five bounds in time of an attempt, in seconds (DESIGN §7)."""

    __slots__ = ("connect", "first_content", "headers", "idle", "total")

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


class Plan:
    """An ordered list of deployments with one cursor that all attempts share."""

    __slots__ = ("_next", "deployments")

    def __init__(self, deployments: Sequence[Deployment]) -> None:
        self.deployments = deployments
        self._next = 0

    def take(self) -> Deployment | None:
        """Returns the next untried deployment and moves on, or None at the end."""
        if self._next >= len(self.deployments):
            return None
        deployment = self.deployments[self._next]
        self._next += 1
        return deployment


class Call:
    """One request: who asks, for what, in which dialect, by when; its plan and its Record.

    Attributes:
        id: the call's id, also its Record's and the ``x-headgate-id`` header.
        dialect: the client's dialect (``dialects.base.Dialect``).
        view: the request as its dialect sees it, the raw body in it.
        headers: the client's headers, lower-case names; empty in the library.
        started: when it arrived, on the monotonic clock (s).
        deadline: when it must have ended, on the monotonic clock (s), or None.
        principal: who asks; None until ``auth`` has passed.
        plan: the deployments to try, in order; None until ``route`` has passed.
        record: its story so far; closed by ``account``.
        peer: the client's address, ``""`` in the library.
        settle: an awaitable that is done once the Record is durable, or None if it is already.
        capture: request and answer bytes kept for the payload store, or None.
    """

    __slots__ = (
        "capture",
        "deadline",
        "dialect",
        "headers",
        "id",
        "peer",
        "plan",
        "principal",
        "record",
        "settle",
        "started",
        "view",
    )

    def __init__(
        self,
        id: str,
        dialect: Any,
        view: Any,
        record: Record,
        started: float,
        *,
        headers: Mapping[bytes, bytes] | None = None,
        deadline: float | None = None,
        peer: str = "",
        principal: Principal | None = None,
    ) -> None:
        self.id = id
        self.dialect = dialect
        self.view = view
        self.record = record
        self.started = started
        self.headers: Mapping[bytes, bytes] = headers if headers is not None else {}
        self.deadline = deadline
        self.peer = peer
        self.principal = principal
        self.plan: Plan | None = None
        self.settle: Awaitable[None] | None = None
        self.capture: Any = None


class Attempt:
    """One try at one deployment, from its dispatch to its end; holds what can stop it.

    ``abort`` ends the attempt from outside (a timer, a hedge that lost) with an error that the waiting
    layer then sees raised; it is set by the driver and does nothing before dispatch or after the end.
    """

    __slots__ = ("abort", "call", "deployment", "progress", "record", "timeouts")

    def __init__(self, call: Call, deployment: Deployment, record: AttemptRecord) -> None:
        self.call = call
        self.deployment = deployment
        self.record = record
        self.timeouts = deployment.timeouts
        self.abort: Callable[[Exception], None] | None = None
        self.progress = 0


Handler = Callable[[Call], Awaitable[Reply]]
Layer = Callable[[Handler], Handler]
