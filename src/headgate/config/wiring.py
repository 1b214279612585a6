"""What settings become at run time: a provider's connections and what its requests carry, and the limits' meter."""

from __future__ import annotations

import asyncio
import os
import secrets
from typing import cast

from headgate.config.settings import ProviderSettings, Settings, TimeoutSettings
from headgate.core.call import Timeouts
from headgate.core.clock import Clock
from headgate.core.ports import Transport
from headgate.pipeline.lease_meter import LeaseMeter
from headgate.providers.driver import AllowList, Provider
from headgate.providers.keychain import KeyChain
from headgate.stores.data import DataDir
from headgate.stores.leases.desk import LeaseDesk
from headgate.stores.leases.sql import SqlLeases
from headgate.transport.local import LocalApp, LocalTransport
from headgate.transport.origin import Origin
from headgate.transport.pool import Pool
from headgate.transport.proxy import Proxies, Proxy

USER_AGENT = "headgate/0.1"


def make_timeouts(settings: TimeoutSettings) -> Timeouts:
    """Returns the bounds in time as an attempt has them."""
    return Timeouts(settings.connect, settings.headers, settings.first_content, settings.idle, settings.total)


def wiring(settings: ProviderSettings) -> tuple[object, ...]:
    """Returns what ``make_transport`` goes by."""
    return settings.row.embedded, settings.url, settings.proxy, settings.ca_file, settings.max_connections


def make_transport(settings: ProviderSettings) -> Transport:
    """Returns the connections to it; to the simulator inside, none that a network sees."""
    if settings.row.embedded:
        from headgate.sim.local import SimApp

        return LocalTransport(cast(LocalApp, SimApp()))
    origin = Origin.parse(settings.url)
    if settings.proxy == "none":
        proxy = None
    elif settings.proxy == "environment":
        proxy = Proxies.from_environment(os.environ).find(origin)
    else:
        proxy = Proxy.parse(settings.proxy)
    return Pool(origin, ca_file=settings.ca_file, proxy=proxy, max_connections=settings.max_connections)


def make_provider(settings: ProviderSettings, transport: Transport, known: KeyChain | None) -> Provider:
    """Returns a provider as its drivers have it.

    Args:
        settings: what it is made of.
        transport: its connections.
        known: the key chain that it has had so far; goes on, with what is known of each key, where these are the same.
    """
    row = settings.row
    base = settings.url.partition("://")[2].partition("/")[2]
    prefix = "/v1" if row.embedded else f"/{base}" if base else ""
    overridable = {name.encode() for name in row.static_headers} & row.request_headers
    lines = {name.encode(): f"{name}: {value}\r\n".encode("latin-1") for name, value in row.static_headers.items()}
    return Provider(
        settings.name,
        transport,
        {name: f"{prefix}{path}".encode() for name, path in row.endpoints.items()},
        _constant_headers(settings) + b"".join(line for name, line in lines.items() if name not in overridable),
        defaults={name: line for name, line in lines.items() if name in overridable},
        request_headers=sorted(row.request_headers),
        response_headers=AllowList(row.response_headers, row.response_prefixes),
        max_tokens_field=settings.max_tokens_field,
        stream_usage=settings.stream_usage,
        keys=_keychain(settings, known),
    )


def _constant_headers(settings: ProviderSettings) -> bytes:
    """Returns the header lines of every request to it, its one key among them."""
    lines = {"content-type": "application/json", "accept": "*/*", "user-agent": USER_AGENT}
    for name, value in settings.headers.items():
        lines[name] = value if isinstance(value, str) else value.reveal()
    if len(settings.keys) == 1:
        lines[settings.row.auth_header] = settings.row.auth_prefix + settings.keys[0].reveal()
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1")


def _keychain(settings: ProviderSettings, known: KeyChain | None) -> KeyChain | None:
    if len(settings.keys) < 2:
        return None
    start = f"{settings.row.auth_header}: {settings.row.auth_prefix}"
    lines = [f"{start}{key.reveal()}\r\n".encode("latin-1") for key in settings.keys]
    return known if known is not None and known.has(lines) else KeyChain(lines)


def make_meter(settings: Settings, data: DataDir, clock: Clock) -> tuple[LeaseMeter, SqlLeases] | None:
    """Returns the meter of limits that all workers on one database share; None where limits are one worker's alone."""
    if settings.leases.store == "memory":
        return None
    holder = f"{os.getpid()}-{secrets.token_hex(8)}"
    leases = SqlLeases(data.url, holder, data.owner)
    loop = asyncio.get_running_loop()
    desk = LeaseDesk(leases, loop, data.path, holder)
    return LeaseMeter(desk, clock, loop, closed=settings.leases.store_lost == "closed"), leases
