"""The one error tree: what failed, whose fault it is, and what to do next."""

from __future__ import annotations

from typing import Literal

Fault = Literal["caller", "upstream", "gateway"]


class HeadgateError(Exception):
    """Base of every error that Headgate raises on purpose.

    Attributes:
        message: one sentence: what failed, which name, what to do next. Holds no secret.
        code: a stable machine-readable word, e.g. ``"duplicate_key"``.
        fault: who must act: ``"caller"``, ``"upstream"`` or ``"gateway"``.
        sent: whether a whole request reached an upstream (and so may have been billed).
        retry_after: seconds after which another try makes sense, or None.
        hint: what to do next, or None where the message says it already.
        param: the request field that is to blame, e.g. ``"messages[0].role"``, or None.
        call_id: in the library, the id of the call that ended with it; else "".
    """

    code: str = "internal_error"
    fault: Fault = "gateway"
    call_id: str = ""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        fault: Fault | None = None,
        sent: bool = False,
        retry_after: float | None = None,
        hint: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if fault is not None:
            self.fault = fault
        self.sent = sent
        self.retry_after = retry_after
        self.hint = hint
        self.param = param


class BadRequest(HeadgateError):
    """The request can not be understood or may not be made: malformed, wrong type, too large."""

    code = "invalid_request"
    fault: Fault = "caller"


class Unauthenticated(HeadgateError):
    """No key, an unknown key, or an expired one."""

    code = "invalid_api_key"
    fault: Fault = "caller"


class Forbidden(HeadgateError):
    """A known caller who may not do this."""

    code = "forbidden"
    fault: Fault = "caller"


class UnknownModel(HeadgateError):
    """The model asked for is not configured, or may not be addressed by this key."""

    code = "model_not_found"
    fault: Fault = "caller"


class LimitExceeded(HeadgateError):
    """A rate (``rate_limit_exceeded``) or a budget (``budget_exceeded``) of ours is used up.

    Attributes:
        limit: the name of the limit.
    """

    code = "rate_limit_exceeded"
    fault: Fault = "caller"

    def __init__(
        self,
        message: str,
        *,
        limit: str = "",
        code: str | None = None,
        fault: Fault | None = None,
        retry_after: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, code=code, fault=fault, retry_after=retry_after, hint=hint)
        self.limit = limit


class Unavailable(HeadgateError):
    """The gateway itself can not serve now: draining, overloaded, nothing left to try."""

    code = "unavailable"


class Timeout(HeadgateError):
    """A bound in time ran out.

    ``code`` is one of ``connect_timeout``, ``headers_timeout``, ``first_content_timeout``,
    ``idle_timeout``, ``total_timeout`` (this attempt's), ``deadline_exceeded`` (the call's).
    """

    code = "total_timeout"
    fault: Fault = "upstream"


class ConnectFailed(HeadgateError):
    """No connection to the upstream: refused, unreachable, name not found, TLS not verified."""

    code = "connect_failed"
    fault: Fault = "upstream"


class UpstreamBroken(HeadgateError):
    """An upstream broke the protocol: cut, malformed, too large, wrong content type, no end marker."""

    code = "upstream_broken"
    fault: Fault = "upstream"


class UpstreamError(HeadgateError):
    """An upstream answered with an error.

    ``code`` is one of ``rate_limited``, ``overloaded``, ``server_error``, ``auth``,
    ``invalid_request``, ``not_found``, ``too_large``, ``context_length``, ``content_filter``, ``quota``.

    Attributes:
        status: the upstream's HTTP status; for an error inside a 200 stream, what its type stands for.
        body: the error body in the upstream's dialect, for same-dialect pass-through; may be empty.
        kind: the upstream's own word for it (its ``type`` or ``code``), or "".
    """

    code = "server_error"
    fault: Fault = "upstream"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        body: bytes = b"",
        kind: str = "",
        code: str | None = None,
        fault: Fault | None = None,
        sent: bool = True,
        retry_after: float | None = None,
        hint: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message, code=code, fault=fault, sent=sent, retry_after=retry_after, hint=hint, param=param)
        self.status = status
        self.body = body
        self.kind = kind


class ConfigError(HeadgateError):
    """A setting is wrong; the message names file, line, path and the nearest right name."""

    code = "config_error"
    fault: Fault = "caller"
