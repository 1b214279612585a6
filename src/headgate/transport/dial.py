"""Dialer: opens a connection to an origin: name, TCP, proxy and TLS, every failure mapped."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from typing import TypeVar, cast

from headgate.core.errors import ConfigError, ConnectFailed
from headgate.transport.origin import Origin, bracketed
from headgate.transport.proxy import Proxy

NAME_SECONDS = 30.0
"""How long a resolved name is believed."""

_TUNNEL_BYTES = 16 * 1024

P = TypeVar("P", bound=asyncio.Protocol)


@functools.cache
def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Returns a context that verifies certificates and host names, TLS 1.2 or later; one per process and file.

    Args:
        ca_file: PEM file of further authorities to trust beside the system's.

    Raises:
        ConfigError: the file can not be read or holds no certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:
            reason = "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else str(error.strerror)
            raise ConfigError(
                f"The CA file {ca_file!r} can not be used: {reason}.", code="bad_ca_file", hint="Give a PEM file."
            ) from None
    return context


class Dialer:
    """Opens connections to one origin, straight or through a proxy."""

    __slots__ = ("_addresses", "_lookup", "_origin", "_proxy", "_proxy_tls", "_resolved_until", "_tls", "who")

    def __init__(self, origin: Origin, tls: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        """Args:
        origin: where to.
        tls: for a https origin.
        proxy: through which; None for straight.
        """
        self._origin = origin
        self._tls = tls
        self._proxy = proxy
        self._proxy_tls = tls_context() if proxy is not None and proxy.secure else None
        self._addresses: list[str] = []
        self._resolved_until = 0.0
        self._lookup: asyncio.Task[list[str]] | None = None
        self.who = f"{bracketed(origin.host)}:{origin.port}"

    async def open(self, factory: Callable[[], P], seconds: float) -> P:
        """Returns the protocol that ``factory`` made, connected, ready for the first request.

        Args:
            factory: makes the protocol; called once per try.
            seconds: how long there is; parted among the addresses, so that a silent one leaves time for the next.

        Raises:
            ConnectFailed: ``connect_failed``, ``name_not_found``, ``tls_failed``, ``proxy_failed``.
        """
        end = time.monotonic() + seconds
        proxy = self._proxy
        host, port = (proxy.host, proxy.port) if proxy is not None else (self._origin.host, self._origin.port)
        addresses = await self._resolve(host, port)
        reason = "no address"
        for index, address in enumerate(addresses):
            share = (end - time.monotonic()) / (len(addresses) - index)
            try:
                async with asyncio.timeout(share if index < len(addresses) - 1 else None):
                    return await self._open_at(address, port, factory)
            except TimeoutError:
                reason = "timed out"
            except ssl.SSLError as error:
                raise self._tls_failed(host if self._proxy_tls is not None else self._origin.host, error) from None
            except OSError as error:
                reason = (error.strerror or str(error) or type(error).__name__).lower()
        self._resolved_until = 0.0
        via = f" through the proxy {host}:{port}" if proxy is not None else ""
        code = "proxy_failed" if proxy is not None else "connect_failed"
        raise ConnectFailed(f"No connection to {self.who}{via}: {reason}.", code=code)

    async def _open_at(self, address: str, port: int, factory: Callable[[], P]) -> P:
        loop = asyncio.get_running_loop()
        proxy, origin = self._proxy, self._origin
        if proxy is not None and self._tls is not None:
            return await self._tunnel(address, port, factory)
        context, name = (self._tls, origin.host) if proxy is None else (self._proxy_tls, proxy.host)
        try:
            _, protocol = await loop.create_connection(
                factory, address, port, ssl=context, server_hostname=name if context is not None else None
            )
        except (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, EOFError):
            if context is None:
                raise
            raise self._tls_failed(name, None) from None
        return protocol

    async def _tunnel(self, address: str, port: int, factory: Callable[[], P]) -> P:
        """CONNECT through the proxy, then TLS with the origin inside."""
        loop = asyncio.get_running_loop()
        proxy, tls = cast(Proxy, self._proxy), cast(ssl.SSLContext, self._tls)
        transport, tunnel = await loop.create_connection(
            lambda: _Tunnel(loop),
            address,
            port,
            ssl=self._proxy_tls,
            server_hostname=proxy.host if self._proxy_tls is not None else None,
        )
        try:
            head = f"CONNECT {self.who} HTTP/1.1\r\nhost: {self.who}\r\n".encode()
            if proxy.authorization:
                head += b"proxy-authorization: " + proxy.authorization + b"\r\n"
            transport.write(head + b"\r\n")
            status = await tunnel.reply
            if not 200 <= status < 300:
                hint = "Put user and password into the proxy's URL." if status == 407 else None
                raise ConnectFailed(
                    f"The proxy {proxy.host}:{proxy.port} refused to connect to {self.who}: "
                    + (f"status {status}." if status else "it closed the connection or did not speak HTTP."),
                    code="proxy_failed",
                    hint=hint,
                )
            protocol = factory()
            try:
                inner = await loop.start_tls(transport, protocol, tls, server_hostname=self._origin.host)
            except (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, EOFError):
                raise self._tls_failed(self._origin.host, None) from None
            except ssl.SSLError as error:
                raise self._tls_failed(self._origin.host, error) from None
            if inner is None:
                raise self._tls_failed(self._origin.host, None)
            protocol.connection_made(inner)
        except BaseException:
            transport.abort()
            raise
        return protocol

    async def _resolve(self, host: str, port: int) -> list[str]:
        """Returns the addresses of ``host``, from a small cache; look-ups under way are shared."""
        if self._addresses and time.monotonic() < self._resolved_until:
            return self._addresses
        try:
            ipaddress.ip_address(host)
        except ValueError:
            pass
        else:
            return [host]
        if self._lookup is None:
            self._lookup = asyncio.get_running_loop().create_task(self._look_up(host, port))
            self._lookup.add_done_callback(self._looked_up)
        return await asyncio.shield(self._lookup)

    async def _look_up(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                None, functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConnectFailed(f"The name {host!r} can not be resolved: {reason}.", code="name_not_found") from None
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def _looked_up(self, task: asyncio.Task[list[str]]) -> None:
        self._lookup = None
        # Asking for the exception also marks it as seen, when everybody who waited has left.
        if not task.cancelled() and task.exception() is None:
            self._addresses = task.result()
            self._resolved_until = time.monotonic() + NAME_SECONDS

    def _tls_failed(self, host: str, error: ssl.SSLError | None) -> ConnectFailed:
        hint = None
        if isinstance(error, ssl.SSLCertVerificationError):
            reason = f"its certificate is not trusted: {error.verify_message}"
            hint = "If it is signed by an authority of your own, name that authority's PEM file as `ca_file`."
        elif error is None:
            reason = "it closed the connection during the handshake"
        else:
            reason = (error.reason or str(error)).replace("_", " ").lower()
        return ConnectFailed(f"TLS with {host} ({self.who}) failed: {reason}.", code="tls_failed", hint=hint)


class _Tunnel(asyncio.Protocol):
    """Reads a proxy's answer to CONNECT; ``reply`` is its status, 0 where it gave none."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.reply: asyncio.Future[int] = loop.create_future()
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        if b"\r\n\r\n" in self._data:
            version, _, rest = self._data.partition(b" ")
            good = version.startswith(b"HTTP/1.") and rest[:3].isdigit()
            self._set(int(rest[:3]) if good else 0)
        elif len(self._data) > _TUNNEL_BYTES:
            self._set(0)

    def eof_received(self) -> None:
        self._set(0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set(0)

    def _set(self, status: int) -> None:
        if not self.reply.done():
            self.reply.set_result(status)
