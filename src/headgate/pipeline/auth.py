"""The layer ``auth``: who asks? A virtual key, or the one caller of keyless mode on loopback."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from headgate.core.call import Call, Handler, Principal
from headgate.core.errors import Forbidden, Unauthenticated, Unavailable
from headgate.core.ports import KeyRing
from headgate.core.reply import Reply
from headgate.core.terms import Networks

ANONYMOUS = Principal("", "", role="admin", direct=True)
_LOOPBACK_HOSTS = frozenset({b"localhost", b"127.0.0.1", b"[::1]", b"::1"})
_LOOPBACK_PEERS = ("127.", "::1", "::ffff:127.")
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via")
_sha256 = hashlib.sha256


def auth(next: Handler, keys: KeyRing, keyless: bool, proxies: Networks | None = None) -> Handler:
    """Builds the layer.

    Args:
        next: the layer inside.
        keys: the virtual keys.
        keyless: whether a caller without a key is let in while no key exists; only for a server on loopback.
        proxies: whose ``x-forwarded-for`` is believed; None for nobody's.

    Raises (from the handler):
        Unauthenticated: no key, or not one that is valid now.
        Forbidden: keyless mode, and the request does not come from this machine's own user; or the key's terms.
        BadRequest: a tag that the key's terms ask for is missing.
    """

    async def handler(call: Call) -> Reply:
        principal = call.principal
        if principal is None:
            principal = call.principal = identify(call.headers, call.peer, keys, keyless)
        record = call.record
        record.key_id = principal.key_id
        record.key_name = principal.key_name
        if principal.user:
            record.user = principal.user
        if principal.feature:
            record.feature = principal.feature
        if principal.payloads:
            call.kept = principal.payloads
        record.team = principal.team
        terms = principal.terms
        if terms is not None:
            # Only now: the Record of a refused call names the key.
            terms.check_address(client_address(call.headers, call.peer, proxies))
            terms.check_call(record.tags)
        return await next(call)

    return handler


def admit(
    headers: Mapping[bytes, bytes], peer: str, keys: KeyRing, keyless: bool, proxies: Networks | None = None
) -> Principal:
    """Returns who sent these headers, if from where the key may be used: for all that is no model call.

    Raises:
        Unauthenticated, Forbidden: as ``auth``.
    """
    principal = identify(headers, peer, keys, keyless)
    if principal.terms is not None:
        principal.terms.check_address(client_address(headers, peer, proxies))
    return principal


def client_address(headers: Mapping[bytes, bytes], peer: str, proxies: Networks | None) -> str:
    """Returns where a request comes from: the peer, or where that is a proxy of ours, whom it names.

    Of the addresses in ``x-forwarded-for`` the last one that is no proxy of ours counts: what stands before it anybody
    may have written.
    """
    if proxies is None or peer not in proxies:
        return peer
    address = peer
    for hop in reversed(headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")):
        address = _without_port(hop.strip()) or address
        if address not in proxies:
            break
    return address


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def identify(headers: Mapping[bytes, bytes], peer: str, keys: KeyRing, keyless: bool) -> Principal:
    """Returns who sent these headers; raises as ``auth``, and ``Unavailable`` where nobody knows the keys any more."""
    token = bearer(headers)
    if token:
        principal = keys.find(_sha256(token).digest())
        if principal is not None:
            return principal
    if keys.empty:
        if keyless:
            _check_keyless(headers, peer)
            return ANONYMOUS
        raise Unauthenticated(
            "No key exists yet on this gateway; make one with `headgate keys create --name NAME`.", code="no_keys"
        )
    if keys.stale:
        raise Unavailable(
            "The store of the keys has not answered for long; nobody can be let in.",
            code="store_unavailable",
            retry_after=5.0,
        )
    if not token:
        raise Unauthenticated(
            "No API key was sent; send `Authorization: Bearer hg-…` or `x-api-key: hg-…`.", code="missing_api_key"
        )
    raise Unauthenticated("The API key is unknown, revoked or expired; ask for a valid `hg-…` key.")


def bearer(headers: Mapping[bytes, bytes]) -> bytes:
    """Returns the key that these headers carry, or b""."""
    value = headers.get(b"authorization")
    if value is not None and value[:7].lower() == b"bearer ":
        return value[7:].strip()
    return headers.get(b"x-api-key", b"").strip()


def check_local(headers: Mapping[bytes, bytes], peer: str) -> None:
    """Lets in what a browser on another site, or a proxy, could not have sent (DESIGN §9).

    Raises:
        Forbidden: the request does not come from this machine's own user (``keyless_refused``).
    """
    host = headers.get(b"host", b"").lower()
    name = host.rpartition(b":")[0] if not host.endswith(b"]") and b":" in host else host
    if name not in _LOOPBACK_HOSTS or not peer.startswith(_LOOPBACK_PEERS):
        raise _forbidden("is not addressed to this machine (Host)")
    if headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
        raise _forbidden("comes from another site (Sec-Fetch-Site)")
    origin = headers.get(b"origin")
    if origin is not None and origin.lower().partition(b"://")[2] != host:
        raise _forbidden("comes from another site (Origin)")
    for header in _FORWARDED:
        if header in headers:
            raise _forbidden(f"came through a proxy ({header.decode()})")


def _check_keyless(headers: Mapping[bytes, bytes], peer: str) -> None:
    """For programs: a form on a page can not send JSON."""
    check_local(headers, peer)
    if not headers.get(b"content-type", b"application/json").lower().startswith(b"application/json"):
        raise _forbidden("is not JSON (Content-Type)")


def _forbidden(why: str) -> Forbidden:
    return Forbidden(
        f"Keyless mode serves this machine's own programs only, and the request {why}; "
        "make a key with `headgate keys create --name NAME`.",
        code="keyless_refused",
    )
