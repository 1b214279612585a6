"""Finds the address that a webhook is sent to, once, and refuses those that are not public."""

from __future__ import annotations

import ipaddress
import socket

from headgate.observe.alerts.receivers.delivery import DeliveryError

_EMBEDDED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


def find_address(host: str, port: int, *, allow_private: bool) -> tuple[str, int]:
    """Returns an address of the host; who connects to it connects to what was checked.

    Raises:
        DeliveryError: there is none, or (unless allowed) any of its addresses is not public.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DeliveryError(f"the host {host} is not found ({error})") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses:
        raise DeliveryError(f"the host {host} has no address")
    for address in addresses:
        if not allow_private and not is_public(address):
            raise DeliveryError(
                f"{host} has an address that is not public; if that is meant, set allow_private on the receiver"
            )
    return addresses[0], port


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet; an IPv4 address inside an IPv6 one is looked at as such."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if any(address in network for network in _EMBEDDED):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast
