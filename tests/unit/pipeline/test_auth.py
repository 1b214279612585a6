"""Who asks: keys, and what keyless mode lets in."""

from __future__ import annotations

import hashlib

import pytest

from headgate.core.call import Principal
from headgate.core.errors import Forbidden, Unauthenticated
from headgate.pipeline.auth import ANONYMOUS, bearer, identify

from .conftest import Keys

SECRET = b"hg-secret"
ALICE = Principal("k1", "alice")
RING = Keys({hashlib.sha256(SECRET).digest(): ALICE})
LOCAL = {b"host": b"127.0.0.1:8080", b"content-type": b"application/json"}


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer hg-secret"},
        {b"authorization": b"bearer  hg-secret "},
        {b"x-api-key": b"hg-secret"},
        {b"authorization": b"Basic abc", b"x-api-key": b"hg-secret"},
    ],
)
def test_a_key_is_found_where_the_sdks_put_it(headers: dict[bytes, bytes]) -> None:
    """OpenAI's SDK sends a bearer token, Anthropic's sends x-api-key; both name the same principal."""
    assert identify(headers, "10.0.0.1", RING, keyless=False) is ALICE


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({b"authorization": b"Bearer "}, "missing_api_key"),
        ({b"authorization": b"Bearer hg-wrong"}, "invalid_api_key"),
        ({b"authorization": b"Bearer hg-secret\xff"}, "invalid_api_key"),
    ],
)
def test_anything_else_is_refused_once_keys_exist(headers: dict[bytes, bytes], code: str) -> None:
    """Loopback makes no difference once a key exists; the message never repeats what was sent."""
    with pytest.raises(Unauthenticated) as caught:
        identify({**LOCAL, **headers}, "127.0.0.1", RING, keyless=True)
    assert caught.value.code == code
    assert "secret" not in caught.value.message
    assert "wrong" not in caught.value.message


def test_keyless_mode_serves_this_machine() -> None:
    """With no key at all, a program on this machine is let in, with or without a dummy key of its own."""
    assert identify(LOCAL, "127.0.0.1", Keys(), keyless=True) is ANONYMOUS
    assert identify({**LOCAL, b"authorization": b"Bearer x"}, "::1", Keys(), keyless=True) is ANONYMOUS
    assert identify({**LOCAL, b"host": b"[::1]:8080"}, "::1", Keys(), keyless=True) is ANONYMOUS


@pytest.mark.parametrize(
    ("headers", "peer"),
    [
        ({b"host": b"evil.example:8080"}, "127.0.0.1"),
        ({b"host": b"127.0.0.1.evil.example"}, "127.0.0.1"),
        ({b"host": b""}, "127.0.0.1"),
        ({}, "192.168.1.7"),
        ({b"origin": b"http://evil.example"}, "127.0.0.1"),
        ({b"origin": b"null"}, "127.0.0.1"),
        ({b"origin": b"http://127.0.0.1:9999"}, "127.0.0.1"),
        ({b"sec-fetch-site": b"cross-site"}, "127.0.0.1"),
        ({b"sec-fetch-site": b"same-site"}, "127.0.0.1"),
        ({b"x-forwarded-for": b"1.2.3.4"}, "127.0.0.1"),
        ({b"forwarded": b"for=1.2.3.4"}, "127.0.0.1"),
        ({b"content-type": b"text/plain"}, "127.0.0.1"),
        ({b"content-type": b"application/x-www-form-urlencoded"}, "127.0.0.1"),
    ],
)
def test_keyless_mode_refuses_what_a_browser_or_proxy_could_send(headers: dict[bytes, bytes], peer: str) -> None:
    """DNS rebinding, cross-site pages, proxies and other machines do not get in without a key."""
    with pytest.raises(Forbidden) as caught:
        identify({**LOCAL, **headers}, peer, Keys(), keyless=True)
    assert caught.value.code == "keyless_refused"


def test_no_keyless_mode_beyond_loopback() -> None:
    """A server bound elsewhere refuses everybody until a key exists, and says how to make one."""
    with pytest.raises(Unauthenticated, match="headgate keys create"):
        identify(LOCAL, "127.0.0.1", Keys(), keyless=False)


def test_bearer_prefers_authorization() -> None:
    """When both are sent the bearer token counts."""
    assert bearer({b"authorization": b"Bearer a", b"x-api-key": b"b"}) == b"a"
