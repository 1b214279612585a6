"""Which status each error gets."""

from __future__ import annotations

import pytest

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
from headgate.server.status import status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 200),
        (BadRequest("x"), 400),
        (BadRequest("x", code="body_too_large"), 413),
        (BadRequest("x", code="unsupported_encoding"), 415),
        (Unauthenticated("x"), 401),
        (Forbidden("x"), 403),
        (UnknownModel("x"), 404),
        (LimitExceeded("x"), 429),
        (LimitExceeded("x", code="budget_exceeded"), 402),
        (Unavailable("x"), 503),
        (Timeout("x"), 504),
        (ConnectFailed("x"), 502),
        (UpstreamBroken("x"), 502),
        (HeadgateError("x"), 500),
        (UpstreamError("x", status=400), 400),
        (UpstreamError("x", status=429), 429),
        (UpstreamError("x", status=503), 503),
        (UpstreamError("x", status=529), 529),
        (UpstreamError("x", status=401), 502),
        (UpstreamError("x", status=403), 502),
        (UpstreamError("x", status=402), 502),
        (UpstreamError("x", status=302), 502),
        (UpstreamError("x", status=400, code="auth"), 502),
        (UpstreamError("x", status=400, code="quota"), 429),
        (UpstreamError("x", status=402, code="quota"), 429),
        (UpstreamError("x", status=429, code="quota"), 429),
    ],
)
def test_status(error: HeadgateError | None, status: int) -> None:
    """The caller's faults are 4xx, the upstream's 5xx; our own credentials' trouble is never told as the caller's."""
    assert status_of(error) == status
