"""Proxies: which requests go through an HTTP proxy, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from headgate.core.errors import ConfigError
from headgate.transport.origin import Origin, host_of, without_secrets

_PORTS = {"http": 3128, "https": 443}


class Proxy:
    """One HTTP proxy. ``authorization`` is the value of its proxy-authorization header, or ``b""``; never shown."""

    __slots__ = ("authorization", "host", "port", "secure")

    def __init__(self, host: str, port: int, *, secure: bool = False, authorization: bytes = b"") -> None:
        self.host = host
        self.port = port
        self.secure = secure
        self.authorization = authorization

    def __repr__(self) -> str:
        return f"Proxy({self.host!r}, {self.port}, secure={self.secure})"

    @classmethod
    def parse(cls, url: str, setting: str = "proxy") -> Proxy:
        """Reads ``http://user:password@host:port``; the scheme may be left out, the port is then 3128.

        Args:
            url: the proxy's URL.
            setting: where it was found, for messages.

        Raises:
            ConfigError: a SOCKS proxy, another scheme, no host; shows no credentials.
        """
        url = url.strip()
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port
        except ValueError as error:
            raise _bad(setting, url, str(error)) from None
        scheme = parts.scheme.lower()
        if scheme.startswith("socks"):
            raise _bad(setting, url, "SOCKS proxies are not supported; name an HTTP proxy, or unset it")
        if scheme not in _PORTS:
            raise _bad(setting, url, "it must begin with http:// or https://")
        host = host_of(parts.hostname or "")
        if host is None:
            raise _bad(setting, url, "it names no valid host")
        authorization = b""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = b"Basic " + base64.b64encode(pair.encode())
        return cls(host, port or _PORTS[scheme], secure=scheme == "https", authorization=authorization)


class Proxies:
    """The proxies that an environment names, and the hosts that go without."""

    __slots__ = ("_exempt", "_proxies")

    def __init__(self, proxies: Mapping[str, Proxy], no_proxy: str = "") -> None:
        """Args:
        proxies: by the scheme of the origin: ``"http"``, ``"https"``.
        no_proxy: hosts that go without, as in NO_PROXY: separated by commas or spaces; ``*``, a name (and all
            below it), ``.name`` and ``*.name`` (the same), an address, a network in CIDR form, each with an
            optional ``:port``.
        """
        self._proxies = dict(proxies)
        self._exempt = no_proxy.replace(",", " ").lower().split()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Proxies:
        """Reads the environment; lower-case names win, and HTTP_PROXY is not believed under CGI (httpoxy).

        Raises:
            ConfigError: a variable holds no usable proxy.
        """
        found: dict[str, Proxy] = {}
        for scheme in ("http", "https"):
            names = [f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"]
            if "REQUEST_METHOD" in environment:
                names.remove("HTTP_PROXY") if scheme == "http" else None
            for name in names:
                if url := environment.get(name, "").strip():
                    found[scheme] = Proxy.parse(url, name)
                    break
        return cls(found, environment.get("no_proxy") or environment.get("NO_PROXY", ""))

    def find(self, origin: Origin) -> Proxy | None:
        """Returns the proxy for an origin, None to go straight there. Loopback always goes straight."""
        proxy = self._proxies.get(origin.scheme)
        if proxy is None or origin.loopback or any(_matches(rule, origin) for rule in self._exempt):
            return None
        return proxy


def _matches(rule: str, origin: Origin) -> bool:
    """Says whether one entry of NO_PROXY covers the origin."""
    if rule == "*":
        return True
    name, port = _split_port(rule)
    if port and port != str(origin.port):
        return False
    host = origin.host.rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = name.removeprefix("*").strip(".")
        return bool(name) and (host == name or host.endswith("." + name))
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _split_port(rule: str) -> tuple[str, str]:
    """Splits ``host:port``, ``[v6]:port``; a bare IPv6 address or network has no port."""
    if rule.startswith("["):
        name, _, rest = rule[1:].partition("]")
        return name, rest.removeprefix(":")
    if rule.count(":") == 1:
        name, _, port = rule.partition(":")
        return name, port
    return rule, ""


def _bad(setting: str, url: str, why: str) -> ConfigError:
    return ConfigError(
        f"{setting}: the proxy {without_secrets(url)!r} can not be used: {why}.",
        code="bad_proxy",
        hint="Write it like http://proxy.example.com:3128.",
    )
