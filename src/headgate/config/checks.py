"""Checks of single texts in the configuration; each returns what is wrong, or "". No check repeats a secret."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from headgate.stores import postgres

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_MODEL = re.compile(r"[!-~]{1,256}", re.ASCII)
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\]?", re.ASCII)

_OWN_HEADERS = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer"),
        *("expect", "content-type", "content-encoding", "accept-encoding", "proxy-authorization"),
    }
)
_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"})


def is_reference(text: str) -> bool:
    """Returns whether a text names a secret by where it lives."""
    return text.startswith(("env:", "file:"))


def check_name(text: str) -> str:
    """A provider's name: it stands before the slash of ``provider/model``."""
    if _NAME.fullmatch(text):
        return ""
    return "a provider's name is letters, digits, '.', '_' and '-' (at most 64), beginning with a letter or digit"


def check_model(text: str) -> str:
    """A model's name: what callers write in ``model``."""
    return "" if _MODEL.fullmatch(text) else "a model's name is 1 to 256 printable ASCII characters without spaces"


def check_url(text: str) -> str:
    """A base URL: http or https, a host, no credentials, query or fragment."""
    return _check_url(text, path=True)


def check_proxy(text: str) -> str:
    """``environment``, ``none``, or a proxy's URL without credentials."""
    if text in ("environment", "none"):
        return ""
    wrong = _check_url(text, path=False)
    if "credentials" in wrong:
        return "a proxy's URL holds no credentials here; put it in HTTPS_PROXY and write `environment`"
    return f"expected `environment`, `none` or a URL: {wrong}" if wrong else ""


def _check_url(text: str, *, path: bool) -> str:
    if not text.isascii() or not text.isprintable() or " " in text:
        return "not a URL: it holds spaces or characters outside ASCII"
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return "not a URL: its host or port is malformed"
    if "@" in text:
        return "a URL holds no credentials here; write the key as `key: env:NAME`"
    if url.scheme not in ("http", "https"):
        return f"not a URL: expected http:// or https:// in front, found {text[:80]!r}"
    if not url.hostname or port == 0 or not _HOST.fullmatch(url.hostname):
        return f"not a URL: no valid host in {text[:80]!r}"
    if url.query or url.fragment or text.endswith(("?", "#")):
        return "a base URL has no query and no fragment"
    if not path and url.path not in ("", "/"):
        return "a proxy's URL has no path"
    return ""


def check_secret(text: str) -> str:
    """A secret's reference, or ``none``."""
    if text == "none" or (text.startswith("file:") and len(text) > 5):
        return ""
    if text.startswith("env:"):
        return "" if _ENV.fullmatch(text[4:]) else "env: wants the name of an environment variable behind it"
    return "a key is given by where it lives, `env:NAME` or `file:/path`, never by its value"


def check_reference(text: str) -> str:
    """A secret's reference."""
    return (
        "expected `env:NAME` or `file:/path`; `key: none` is for a provider without a key"
        if text == "none"
        else (check_secret(text))
    )


def check_header(text: str) -> str:
    """One extra header as ``name: value``."""
    name, _, value = text.partition(": ")
    lower = name.lower()
    if not _TOKEN.fullmatch(name):
        return "not a header name"
    if lower in _OWN_HEADERS:
        return "this header is written by Headgate itself"
    if is_reference(value):
        return check_secret(value)
    if lower in _SECRET_HEADERS:
        return "this header holds a secret: give it by where it lives, `env:NAME` or `file:/path`"
    if not value.isascii() or not value.isprintable():
        return "a header's value is printable ASCII"
    return ""


def check_database(text: str) -> str:
    """Where the store is: a reference to a Postgres URL, or such a URL without a password; "" for SQLite."""
    if not text:
        return ""
    if is_reference(text):
        return check_secret(text)
    wrong = postgres.check_url(text)
    if wrong:
        return f"{wrong}; or write `env:NAME` or `file:/path` of one"
    if postgres.has_password(text):
        return "the URL holds a password: put it into a variable or file, and write `env:NAME` or `file:/path`"
    return ""


def check_host(text: str) -> str:
    """An address or name to listen on."""
    return "" if _HOST.fullmatch(text) else "not a host name or IP address"


def check_network(text: str) -> str:
    """An IP address, or a network like ``10.0.0.0/8``."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return "not an address or network; write 127.0.0.1, 10.0.0.0/8 or 2001:db8::/32"
    return ""


def check_answer(text: str) -> str:
    """A static answer."""
    return "" if text.strip() else "an answer is not empty; leave it out where the error is wanted"


def check_path(text: str) -> str:
    """A path in the file system."""
    return "" if text and "\0" not in text else "not a path"


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach ``host``; of names, ``localhost`` alone."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"
