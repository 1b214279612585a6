"""The door of the console: who comes in by which cookie, and which posts are really theirs (DESIGN §9)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping

import msgspec
from sqlalchemy import Engine

from headgate.core.call import Principal
from headgate.core.errors import Forbidden, LimitExceeded, Unauthenticated, Unavailable
from headgate.core.ports import KeyRing
from headgate.core.terms import Networks
from headgate.pipeline.auth import ANONYMOUS, check_local, client_address
from headgate.stores.keyring import digest_of
from headgate.stores.sessions import Session, find_session, open_session

ROOT = "/console"
COOKIE = "headgate_console"
TRIES = 10
"""Wrong keys from one address in a minute and worker, beyond which it must wait."""

_LONGEST = 256
_ADDRESSES = 1000

Headers = Mapping[bytes, bytes]


class Visitor(msgspec.Struct, frozen=True):
    """Who looks at a page.

    Attributes:
        principal: what they may do now.
        actor: who changes something, as the audit log has it.
        token: the cookie; the proof of a post is made from it.
        session: their login; None in keyless mode.
    """

    principal: Principal
    actor: str
    token: str
    session: Session | None = None

    @property
    def proof(self) -> str:
        """What a form of theirs carries, and another site can not know."""
        return proof_of(self.token)


class Door:
    """Lets people in, at every request anew: what ends a key ends its sessions."""

    def __init__(self, keyless: bool, *, time_ns: Callable[[], int] = time.time_ns) -> None:
        self._keyless = keyless
        self._time_ns = time_ns
        self._wrong: dict[str, list[int]] = {}

    def enter(
        self, headers: Headers, peer: str, keys: KeyRing, proxies: Networks | None, engine: Callable[[], Engine]
    ) -> Visitor:
        """Returns who sent these headers; blocks while the store answers.

        Raises:
            Unauthenticated: nobody that is known: to be sent to the login, or told how to make a key (``no_keys``).
            Forbidden: not from here: keyless mode, or the key's networks.
            Unavailable: nobody knows the keys.
        """
        token = cookie_of(headers)
        if keys.empty:
            if not self._keyless:
                raise Unauthenticated(
                    "No key exists yet on this gateway; make one with `headgate keys create --name NAME --role admin`.",
                    code="no_keys",
                )
            check_local(headers, peer)
            return Visitor(ANONYMOUS, "keyless", token)
        if keys.stale:
            raise Unavailable("The store of the keys has not answered for long.", code="store_unavailable")
        session = find_session(engine(), token, self._time_ns()) if token else None
        principal = keys.find(session.key_digest) if session is not None else None
        if principal is None or session is None:
            raise Unauthenticated("Log in to look at this page.")
        _check_address(principal, headers, peer, proxies)
        return Visitor(principal, principal.key_id, token, session)

    def log_in(
        self, key: str, headers: Headers, peer: str, keys: KeyRing, proxies: Networks | None, engine: Engine
    ) -> str:
        """Opens a session for a key; returns the new token for the cookie.

        Raises:
            Unauthenticated: no key that is valid now.
            Forbidden: not from this address.
            LimitExceeded: too many wrong keys lately.
        """
        now, address = self._time_ns(), client_address(headers, peer, proxies)
        wrong = [at for at in self._wrong.get(address, ()) if at > now - 60 * 10**9]
        if len(wrong) >= TRIES:
            raise LimitExceeded("Too many wrong keys from this address; wait a minute.", retry_after=60.0)
        digest = digest_of(key.strip())
        principal = keys.find(digest) if len(key) <= _LONGEST else None
        if principal is None:
            if len(self._wrong) >= _ADDRESSES:
                self._wrong.clear()
            self._wrong[address] = [*wrong, now]
            raise Unauthenticated("This key is unknown, revoked or expired.")
        _check_address(principal, headers, peer, proxies)
        return open_session(engine, digest, principal.key_id, now)


def _check_address(principal: Principal, headers: Headers, peer: str, proxies: Networks | None) -> None:
    if principal.terms is not None:
        principal.terms.check_address(client_address(headers, peer, proxies))


def cookie_of(headers: Headers) -> str:
    """Returns the console's cookie, "" where there is none that could be ours."""
    for part in headers.get(b"cookie", b"").decode("latin-1").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value if 20 <= len(value) <= _LONGEST else ""
    return ""


def new_token() -> str:
    """Returns a cookie for somebody who is not logged in; it only proves their posts."""
    return secrets.token_urlsafe(32)


def set_cookie(token: str, *, secure: bool) -> str:
    """Returns the Set-Cookie header; an empty token takes the cookie away."""
    ends = "" if token else "; Max-Age=0"
    return f"{COOKIE}={token}; Path={ROOT}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}{ends}"


def proof_of(token: str) -> str:
    """Returns what a form of the holder of this cookie carries (its CSRF token)."""
    return hmac.new(token.encode(), b"headgate console form", hashlib.sha256).hexdigest()


def check_post(headers: Headers, token: str, proof: str) -> None:
    """Lets a post through that a page of ours sent.

    Raises:
        Forbidden: it names another origin or none, or its proof does not fit the cookie (``cross_site``).
    """
    host = headers.get(b"host", b"").lower()
    origin = headers.get(b"origin", b"").lower()
    if not host or origin.partition(b"://")[2] != host:
        raise _cross_site("its Origin is not this gateway")
    if headers.get(b"sec-fetch-site", b"same-origin") != b"same-origin":
        raise _cross_site("it comes from another site")
    if not token or not hmac.compare_digest(proof.encode(), proof_of(token).encode()):
        raise _cross_site("its form is not of this session")


def _cross_site(why: str) -> Forbidden:
    return Forbidden(f"This request was refused: {why}. Open the page again and send it from there.", code="cross_site")
