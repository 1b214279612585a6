"""The checklist's items about who gets in and what can be read on the way: keys, network, data at rest."""

from __future__ import annotations

from urllib.parse import urlsplit

from headgate.check.facts import Facts
from headgate.check.item import Item, Line, count, some
from headgate.config.checks import is_loopback


def keys_required(facts: Facts) -> Item:
    """Callers need a key."""
    line = Line("keys", "Callers need a key")
    if facts.keys.valid == 0 and facts.settings.admin_key is None:
        keyless = f"; {count(facts.calls.keyless, 'call')} came without one" if facts.calls.keyless else ""
        return line.failed(
            f"no key exists, so every program on this machine gets in{keyless}",
            "make one for each application: headgate keys create --name NAME",
        )
    before = f"; {count(facts.calls.keyless, 'call')} came without one, before" if facts.calls.keyless else ""
    return line.passed(f"{count(facts.keys.valid, 'key')} valid{before}", keys=facts.keys.valid)


def admin_key(facts: Facts) -> Item:
    """Somebody can administer it."""
    line = Line("admin-key", "An administrator's key is set")
    if facts.settings.admin_key is not None:
        return line.passed(f"{facts.settings.admin_key.reference} holds one")
    if facts.keys.admins:
        return line.passed(f"{count(facts.keys.admins, 'valid key')} with the role admin", admins=facts.keys.admins)
    return line.failed(
        "no key has the role admin, and HEADGATE_ADMIN_KEY is not set",
        "headgate keys create --name admin --role admin, or set HEADGATE_ADMIN_KEY_FILE",
    )


def network(facts: Facts) -> Item:
    """What listens beyond this machine is behind TLS."""
    line = Line("network", "Keys cross no network in the clear")
    server = facts.settings.server
    if is_loopback(server.host):
        return line.passed(f"it listens on {server.host} only: whatever ends TLS runs on this machine")
    if server.trusted_proxies:
        return line.passed(f"it listens on {server.host}, behind {some(server.trusted_proxies)}")
    return line.failed(
        f"it listens on {server.host} and names no reverse proxy that ends TLS",
        "put one in front and name it in server.trusted_proxies, or listen on 127.0.0.1",
    )


def upstream_tls(facts: Facts) -> Item:
    """Providers elsewhere are called by HTTPS."""
    line = Line("upstream-tls", "Providers elsewhere are called by HTTPS")
    remote: list[str] = []
    clear: list[str] = []
    for provider in facts.settings.providers.values():
        url = urlsplit(provider.url)
        if provider.row.embedded or is_loopback(url.hostname or ""):
            continue
        (clear if url.scheme == "http" else remote).append(provider.name)
    if clear:
        return line.failed(f"called in the clear: {some(clear)}", "write https:// in its url, or reach it by a tunnel")
    if not remote:
        return line.not_applicable("every provider is on this machine")
    return line.passed(f"{some(remote)}, certificates verified")


def data_private(facts: Facts) -> Item:
    """Nobody else can read the data directory."""
    line = Line("data-private", "The data directory is closed to others")
    place = facts.place
    if place is None:
        return line.unproven(f"there is no data directory at {facts.settings.data.dir} yet", "start the gateway once")
    if not place.ours:
        return line.failed(f"{place.path} belongs to another user", "run the gateway and this check as its owner")
    if place.mode & 0o077:
        files = f"; readable in it: {some(place.loose)}" if place.loose else ""
        return line.failed(f"{place.path} has mode {place.mode:04o}{files}", f"chmod 700 {place.path}")
    return line.passed(f"{place.path} has mode {place.mode:04o}")


def payloads(facts: Facts) -> Item:
    """Requests and answers are not kept as they came."""
    line = Line("payloads", "Requests and answers are not kept in the clear")
    policy, keys = facts.settings.data.payloads, facts.keys.full_payloads
    if policy == "full" or keys:
        who = "data.payloads is full" if policy == "full" else f"{count(keys, 'key')} with payloads full"
        days = min(facts.settings.data.payload_days, facts.settings.data.retention_days)
        return line.failed(
            f"{who}: what people write is kept for {days:g} days as it came",
            "data.payloads: redacted, or none; a key of its own with payloads full for what must be replayed exactly",
        )
    return line.passed(f"data.payloads is {policy}, and no key says otherwise")


ITEMS = (keys_required, admin_key, network, upstream_tls, data_private, payloads)
