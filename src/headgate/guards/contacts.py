"""Addresses of people and machines: e-mail, and IP of both versions."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from headgate.guards.finding import Finding, begins, ends

_AT = re.compile(r"@|%40|\\{1,3}u0040", re.IGNORECASE)
_LOCAL = re.compile(r"[\w.%+'\-]{1,64}")
_DOMAIN = re.compile(r"[\w.\-]{3,253}")
_ESCAPED = re.compile(r"(?:[nrtbf]|u[0-9a-fA-F]{4})")
_FILES = frozenset(
    [
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "webp",
        "pdf",
        "css",
        "js",
        "mjs",
        "ts",
        "tsx",
        "json",
        "html",
        "xml",
        "txt",
        "csv",
        "yaml",
        "yml",
        "toml",
        "lock",
        "tgz",
        "gz",
        "zip",
        "shape",
        "dtype",
        "mean",
        "sum",
        "dot",
        "size",
        "numpy",
    ]
)
"""What stands behind the last dot of ``icon@2x.png`` and ``w@x.shape``, and in no address."""

_V4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9]|\.[0-9])")
_V6 = re.compile(r"[0-9A-Fa-f:]{6,45}")
_VERSION = re.compile(r"(?:\bv|version|release|build|\bver\.?)[ :=]{0,2}\Z", re.IGNORECASE)


def find_mail(text: str) -> Iterator[Finding]:
    """Yields e-mail addresses, also where a URL or JSON writes the ``@`` in another way."""
    for at in _AT.finditer(text):
        before = _LOCAL.match(text[max(0, at.start() - 64) : at.start()][::-1])
        after = _DOMAIN.match(text, at.end())
        if before is None or after is None:
            continue
        start = at.start() - before.end()
        if start and text[start - 1] == "\\":
            escape = _ESCAPED.match(text, start, at.start())
            start = escape.end() if escape is not None else start
        local = text[start : at.start()].lstrip(".-'+%")
        start = at.start() - len(local)
        domain = after[0].rstrip(".-_")
        name, dot, last = domain.rpartition(".")
        if not local or local == "git" or not dot or not name or ".." in domain or name.startswith((".", "-")):
            continue
        if not 2 <= len(last) <= 24 or not (last.isalpha() or last.startswith("xn--")) or last.lower() in _FILES:
            continue
        yield Finding(start, at.end() + len(domain), "EMAIL", f"{local}@{domain}".lower())


def find_ip(text: str) -> Iterator[Finding]:
    """Yields IP addresses that could be somebody's: neither this machine's own nor parts of a version."""
    if text.count(".") >= 3:
        for match in _V4.finditer(text):
            octets = match[0].split(".")
            if text[max(0, match.start() - 1) : match.start()] == ".":
                continue
            if any(int(octet) > 255 or (octet[0] == "0" and octet != "0") for octet in octets):
                continue
            if octets[0] in ("0", "127") or set(octets) == {"255"} or not begins(text, match.start()):
                continue
            if not ends(text, match.end()) or _VERSION.search(text, max(0, match.start() - 10), match.start()):
                continue
            yield Finding(match.start(), match.end(), "IP", match[0])
    if "::" in text or text.count(":") >= 7:
        for match in _V6.finditer(text):
            found = match[0]
            if (found.count(":") != 7 and "::" not in found) or not ends(text, match.end()):
                continue
            if not begins(text, match.start()):
                continue
            if sum(sign.isalnum() for sign in found) < 6:
                continue  # `a::b` is code far more often than an address
            try:
                address = ipaddress.IPv6Address(found)
            except ValueError:
                continue
            yield Finding(match.start(), match.end(), "IP", str(address))
