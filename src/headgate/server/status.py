"""Which HTTP status each error gets: the only place that picks one."""

from __future__ import annotations

from headgate.core.errors import (
    BadRequest,
    ConnectFailed,
    Forbidden,
    HeadgateError,
    LimitExceeded,
    Timeout,
    Unauthenticated,
    Unavailable,
    UnknownModel,
    UpstreamBroken,
    UpstreamError,
)

_BY_CODE = {
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "unsupported_encoding": 415,
    "method_not_allowed": 405,
    "unknown_path": 404,
    "slow_body": 408,
    "headers_too_large": 431,
    "budget_exceeded": 402,
    "unpriced_model": 402,
    "key_not_found": 404,
    "user_not_found": 404,
    "team_not_found": 404,
    "alert_rule_not_found": 404,
    "silence_not_found": 404,
    "record_not_found": 404,
    "limit_not_found": 404,
    "worker_not_found": 404,
    "worker_alive": 409,
    "ambiguous_key": 409,
    "key_revoked": 409,
    "key_expired": 409,
    "already_exists": 409,
    "team_in_use": 409,
    "idempotency_conflict": 409,
    "secret_not_kept": 409,
    "payloads_not_kept": 409,
    "nothing_to_play": 409,
}
_BY_TYPE: dict[type[HeadgateError], int] = {
    BadRequest: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    UnknownModel: 404,
    LimitExceeded: 429,
    Unavailable: 503,
    Timeout: 504,
    ConnectFailed: 502,
    UpstreamBroken: 502,
}
_OURS = frozenset({401, 402, 403, 407})
"""Upstream statuses that speak of our credentials, not the caller's."""


def status_of(error: HeadgateError | None) -> int:
    """Returns the HTTP status for an error that no status has gone out before; 200 for None."""
    if error is None:
        return 200
    if isinstance(error, UpstreamError):
        if error.code == "quota":
            return 429  # whichever status the provider has for it: OpenAI's is 429, Anthropic's 400, others' 402
        if error.status in _OURS or not 400 <= error.status <= 599:
            return 502
        if error.code == "auth" and error.status < 429:
            return 502  # some upstreams say so under a 400
        return error.status
    if isinstance(error, (BadRequest, LimitExceeded)):
        found = _BY_CODE.get(error.code)
        if found is not None:
            return found
    return _BY_TYPE.get(type(error), 500)
