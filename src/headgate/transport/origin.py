"""Origin: where an upstream lives (scheme, host, port, base path), read from a provider's URL."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, urlsplit

import msgspec

from headgate.core.errors import ConfigError

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?\Z")
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(msgspec.Struct, frozen=True):
    """One upstream server and the path below which its API lives.

    Attributes:
        scheme: ``"http"`` or ``"https"``.
        host: lower-case name (IDNA-encoded) or IP literal, without brackets.
        port: 1..65535; the scheme's own where the URL names none.
        base_path: percent-encoded, no slash at its end, ``""`` for the root; e.g. ``"/v1"``.
    """

    scheme: str
    host: str
    port: int
    base_path: str = ""

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Reads a provider's URL, e.g. ``https://api.openai.com/v1``.

        Raises:
            ConfigError: no usable http(s) URL; the message says why and shows no credentials.
        """
        url = url.strip()
        if any(c <= " " or c == "\x7f" for c in url):
            raise _bad(url, "it holds white space or control characters")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise _bad(url, str(error)) from None
        scheme = parts.scheme.lower()
        if scheme not in _DEFAULT_PORTS:
            raise _bad(url, "it must begin with http:// or https://")
        if parts.username is not None or parts.password is not None:
            raise _bad(url, "credentials do not belong in it; give the key as `key: env:NAME`")
        if parts.query or parts.fragment:
            raise _bad(url, "it may have neither a query nor a fragment")
        if port == 0:
            raise _bad(url, "port 0 is no port to connect to")
        host = host_of(parts.hostname or "")
        if host is None:
            raise _bad(url, "it names no valid host")
        return cls(scheme, host, port or _DEFAULT_PORTS[scheme], quote(parts.path.rstrip("/"), safe=_PATH_SAFE))

    @property
    def secure(self) -> bool:
        """True for https."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """``host:port`` as a host header wants it: IPv6 in brackets, the scheme's own port left out."""
        host = bracketed(self.host)
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """True for this machine: ``localhost``, ``*.localhost``, 127.0.0.0/8 and ::1."""
        name = self.host.rstrip(".")
        if name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def join(self, path: str) -> bytes:
        """Returns the request target of ``path`` below the base path: ``/chat`` under ``/v1`` is ``b"/v1/chat"``."""
        return (self.base_path + path).encode("ascii")


def bracketed(host: str) -> str:
    """Returns ``host`` as it stands in a URL: an IPv6 literal in brackets."""
    return f"[{host}]" if ":" in host else host


def host_of(host: str) -> str | None:
    """Returns a host's canonical form, or None if it can not be one."""
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            return None
    try:
        # The codec's own answer for an ASCII name is that name.
        name = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    return name if _HOST.match(name) else None


def without_secrets(url: str) -> str:
    """Returns ``url`` fit for a message: no user information, no query, at most 200 characters."""
    shown = url.split("?", 1)[0].split("#", 1)[0]
    if "@" in shown:
        scheme, found, rest = shown.partition("://")
        shown = (f"{scheme}://" if found else "") + "***@" + (rest if found else scheme).rpartition("@")[2]
    return shown[:200]


def _bad(url: str, why: str) -> ConfigError:
    return ConfigError(
        f"The URL {without_secrets(url)!r} can not be used: {why}.",
        code="bad_url",
        hint="Write it like https://api.example.com/v1 or http://127.0.0.1:9000/v1.",
    )
