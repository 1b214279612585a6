"""Posts spans to a collector: OTLP over HTTP with protobuf, one request at a time.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import email.utils
import gzip
import http.client
import ipaddress
import os
import pathlib
import ssl
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit

from headgate.core.errors import ConfigError
from headgate.core.trace import TracePlan
from headgate.providers.secret import Secret

_ANSWER_LIMIT = 1 << 20
_REFUSED = frozenset({400, 413, 414, 415, 422, 431})
"""What a collector says of the data itself: sent again it would say so again."""
_TOO_LARGE = frozenset({413, 431})
_LONGEST_WAIT_S = 300.0


class NotTakenError(Exception):
    """A collector did not take what was sent. The words hold no secret.

    Attributes:
        refused: whether it is the data that it does not want; else it may take them later.
        after: seconds that it asks to wait, None where it did not say.
    """

    def __init__(self, words: str, *, refused: bool = False, after: float | None = None) -> None:
        super().__init__(words)
        self.refused = refused
        self.after = after


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Secrets in headers go where they were meant to go, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post(plan: TracePlan, body: bytes, timeout: float | None = None, *, version: str) -> bytes:
    """Sends one export request; returns the answer's body.

    Args:
        plan: where to, and with which headers; those that are secrets are read now.
        body: protobuf.
        timeout: seconds, None for the plan's.
        version: of Headgate, for the user agent.

    Raises:
        NotTakenError: it was not taken.
    """
    headers = {"content-type": "application/x-protobuf", "user-agent": f"headgate/{version}", **find_headers(plan)}
    if plan.compress:
        headers["content-encoding"] = "gzip"
        body = gzip.compress(body, 1)
    request = urllib.request.Request(plan.endpoint, body, headers, method="POST")
    host = urlsplit(plan.endpoint).hostname or ""
    seconds = plan.timeout if timeout is None else timeout
    try:
        with _opener(plan, host).open(request, timeout=seconds) as answer:
            return bytes(answer.read(_ANSWER_LIMIT))
    except urllib.error.HTTPError as error:
        error.close()
        refused = error.code in _REFUSED
        raise NotTakenError(
            f"{host} answered with status {error.code}", refused=refused, after=_wait(error.headers.get("retry-after"))
        ) from error
    except TimeoutError as error:
        raise NotTakenError(f"{host} did not answer within {seconds:g} s") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = getattr(error, "reason", None)
        cause = cause if isinstance(cause, OSError) else error
        if isinstance(cause, TimeoutError):
            raise NotTakenError(f"{host} did not answer within {seconds:g} s") from error
        words = getattr(cause, "strerror", None) or type(cause).__name__
        raise NotTakenError(f"{host} can not be reached ({words})") from error


def find_headers(plan: TracePlan) -> dict[str, str]:
    """Returns the headers that a plan names, their secrets read where they live.

    Raises:
        NotTakenError: a secret is not there.
    """
    headers = {}
    try:
        if plan.headers_from:
            headers = read_header_list(os.environ.get(plan.headers_from, ""))
        for name, value in plan.headers.items():
            is_reference = value.startswith(("env:", "file:"))
            headers[name] = Secret.resolve(value, os.environ, pathlib.Path("/")).reveal() if is_reference else value
    except ConfigError as error:
        raise NotTakenError(error.message) from error
    return headers


def read_header_list(text: str) -> dict[str, str]:
    """Returns the headers of an ``OTEL_EXPORTER_OTLP_HEADERS``: ``name=value,name=value``, values percent-encoded.

    Raises:
        ConfigError: it is none; the message has nothing of it.
    """
    headers = {}
    for part in text.split(","):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        name, value = name.strip().lower(), unquote(value.strip())
        if not equals or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise ConfigError("expected name=value pairs with commas between them")
        if not value.isascii() or not value.isprintable():
            raise ConfigError(f"the value of {name} holds characters that can not stand in a header")
        headers[name] = value
    return headers


def _opener(plan: TracePlan, host: str) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if plan.endpoint.startswith("https:"):
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=plan.ca_file or None)))
    if _is_loopback(host):
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wait(text: str | None) -> float | None:
    """What a Retry-After asks for: seconds, or a date; never more than a few minutes."""
    if not text:
        return None
    if text.strip().isdigit():
        return min(float(text[:9]), _LONGEST_WAIT_S)
    try:
        seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (TypeError, ValueError):
        return None
    return min(max(0.0, seconds), _LONGEST_WAIT_S)
