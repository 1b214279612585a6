"""What a browser's request says of itself, and the form that it brings, read within bounds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from headgate.core.errors import BadRequest

FORM_LIMIT = 1024 * 1024
FORM_SECONDS = 30.0
_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}", re.ASCII)


def peer_of(request: Request) -> str:
    """Returns the address of whoever is connected."""
    return request.client.host if request.client is not None else "127.0.0.1"


def origin_of(request: Request) -> str:
    """Where the gateway was reached, for commands that a page shows."""
    host = request.headers.get("host", "")
    return f"http{'s' if is_secure(request) else ''}://{host if _HOST.fullmatch(host) else '127.0.0.1:8484'}"


def is_secure(request: Request) -> bool:
    """Whether the browser speaks TLS, to us or to what stands before us; at worst a cookie is not sent back."""
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "").strip() == "https"


def wants_json(request: Request) -> bool:
    """Whether a script of ours asks, which reads JSON, and no person."""
    return "application/json" in request.headers.get("accept", "")


async def read_form(request: Request, headers: Mapping[bytes, bytes]) -> list[tuple[str, str]]:
    """Returns the fields of a form, in order.

    Raises:
        BadRequest: no form, too large, too slow.
    """
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/x-www-form-urlencoded":
        raise BadRequest("Send a form.", code="unsupported_media_type")
    parts, length = [], 0
    try:
        async with asyncio.timeout(FORM_SECONDS):
            async for part in request.stream():
                length += len(part)
                if length > FORM_LIMIT:
                    raise BadRequest(f"The form is larger than {FORM_LIMIT} bytes.", code="body_too_large")
                parts.append(part)
    except TimeoutError:
        raise BadRequest("The form did not arrive in time.", code="slow_body") from None
    try:
        return parse_qsl(b"".join(parts).decode("ascii"), keep_blank_values=True, max_num_fields=200)
    except ValueError as error:
        raise BadRequest("The form can not be read.", code="invalid_request") from error
