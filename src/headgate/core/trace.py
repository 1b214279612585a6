"""What is exported as traces, and where to; and the caller's span, as W3C Trace Context hands it over."""

from __future__ import annotations

import msgspec

_SIZE = 55
_DIGITS = b"0123456789abcdef"
_DASH = 0x2D
_NO_TRACE = b"0" * 32
_NO_SPAN = b"0" * 16


class Provider(msgspec.Struct, frozen=True):
    """Where a provider's answers come from: the name of its row, and host and port ("" and 0: in this process)."""

    row: str
    host: str = ""
    port: int = 0


class TracePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is exported, and where to. Header values may be ``env:NAME`` or ``file:/path``, never a secret's value.

    Attributes:
        endpoint: the URL that spans are posted to.
        headers: sent along, names in lower case.
        headers_from: the environment variable that holds more of them (``name=value,…``), "" for none.
        service: the resource's ``service.name``.
        attributes: more attributes of the resource.
        sampling: the share of traces that is exported, 0 to 1; calls that went wrong always are.
        content: whether prompts and answers go along, as redacted as the store keeps them.
        every: at most so many seconds pass before what is stored is sent.
        timeout: seconds for one delivery.
        pending: calls that wait while the collector is away, at most.
        ca_file: certificates to trust, "" for the system's.
        compress: whether bodies are gzipped.
        providers: by their configured name.
    """

    endpoint: str
    headers: dict[str, str] = {}
    headers_from: str = ""
    service: str = "headgate"
    attributes: dict[str, str] = {}
    sampling: float = 1.0
    content: bool = False
    every: float = 1.0
    timeout: float = 10.0
    pending: int = 1_000_000
    ca_file: str = ""
    compress: bool = True
    providers: dict[str, Provider] = {}


def read_traceparent(header: bytes) -> str:
    """Returns the caller's span as ``trace id-span id-flags``, "" for a header that is not one.

    https://www.w3.org/TR/trace-context/#traceparent-header: one that is malformed counts as not sent. What a later
    version has behind the flags is left out.
    """
    if header[:3] != b"00-" and len(header) > _SIZE and header[_SIZE : _SIZE + 1] == b"-":
        header = header[:_SIZE]
    # Cheaper than a pattern, and asked of every call that has one: hex digits, three dashes, each at its place.
    if (
        len(header) != _SIZE
        or header.translate(None, _DIGITS) != b"---"
        or header[2::33] != b"--"
        or header[52] != _DASH
        or header[:2] == b"ff"
        or header[3:35] == _NO_TRACE
        or header[36:52] == _NO_SPAN
    ):
        return ""
    return header[3:].decode()
