"""Who asks: keys, and what keyless mode lets in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from headgate.core.call import Call, Principal
from headgate.core.errors import Forbidden, HeadgateError, Unauthenticated, Unavailable
from headgate.core.reply import Reply
from headgate.core.terms import Networks, Terms
from headgate.pipeline.auth import ANONYMOUS, admit, auth, bearer, client_address, identify

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


def test_a_store_that_is_gone_for_long_is_no_callers_fault() -> None:
    """Nobody can be let in, and the answer says so instead of calling the key wrong."""
    ring = Keys({b"": ALICE})
    ring.stale = True
    with pytest.raises(Unavailable) as caught:
        identify({b"authorization": b"Bearer hg-secret"}, "10.0.0.1", ring, keyless=False)
    assert caught.value.code == "store_unavailable"


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


TERMS = Terms("app", ["10.0.0.0/8"], ("app",), calls=True)
BOUND = Keys({hashlib.sha256(SECRET).digest(): Principal("k1", "app", terms=TERMS)})
WITH_KEY = {b"x-api-key": SECRET}


def test_the_terms_of_a_key_hold_everywhere() -> None:
    """What is no model call asks for the address alone."""
    assert admit(WITH_KEY, "10.0.0.1", BOUND, keyless=False).key_id == "k1"
    assert admit(WITH_KEY, "9.9.9.9", RING, keyless=False) is ALICE
    with pytest.raises(Forbidden) as refused:
        admit(WITH_KEY, "11.0.0.1", BOUND, keyless=False)
    assert refused.value.code == "address_not_allowed"


@pytest.mark.parametrize(
    ("peer", "tags", "code"),
    [
        ("11.0.0.1", {"app": "x"}, "address_not_allowed"),
        ("10.0.0.1", {}, "missing_tag"),
        ("10.0.0.1", {"app": "x"}, ""),
    ],
)
async def test_a_call_against_the_terms_is_refused_by_name(
    make_call: Callable[..., Call], peer: str, tags: dict[str, str], code: str
) -> None:
    """It reaches no layer inside, and its Record says whose key it was."""
    reached = []

    async def inside(call: Call) -> Reply:
        reached.append(call)
        raise Unavailable("enough")

    call = make_call(headers=WITH_KEY, peer=peer)
    call.record.tags = tags
    with pytest.raises(HeadgateError) as refused:
        await auth(inside, BOUND, keyless=False)(call)
    assert refused.value.code == (code or "unavailable")
    assert bool(reached) is not bool(code)
    assert call.record.key_id == "k1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", b"10.0.0.1", "192.0.2.1"),
        ("127.0.0.1", b"", "127.0.0.1"),
        ("127.0.0.1", b"10.0.0.1", "10.0.0.1"),
        ("127.0.0.1", b"10.0.0.1, 192.0.2.9", "192.0.2.9"),
        ("127.0.0.1", b"192.0.2.9,172.16.0.5", "192.0.2.9"),
        ("127.0.0.1", b"10.0.0.1:5123", "10.0.0.1"),
        ("127.0.0.1", b"[2001:db8::1]:443", "2001:db8::1"),
        ("127.0.0.1", b"2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", b"172.16.0.9, 172.16.0.5", "172.16.0.9"),
        ("127.0.0.1", b"\xff, ", "\xff"),
    ],
)
def test_only_a_proxy_of_ours_is_believed(peer: str, forwarded: bytes, address: str) -> None:
    """The last address that no proxy of ours has counts: what a client wrote before it does not."""
    proxies = Networks(["127.0.0.1", "172.16.0.0/12"])
    assert client_address({b"x-forwarded-for": forwarded}, peer, proxies) == address
    assert client_address({b"x-forwarded-for": forwarded}, peer, None) == peer


async def test_a_key_behind_a_proxy_is_held_to_the_clients_address(make_call: Callable[..., Call]) -> None:
    """With the proxy named, the client's own address decides, for calls and for all else."""
    proxies = Networks(["127.0.0.1"])
    inside, outside = ({**WITH_KEY, b"x-forwarded-for": address} for address in (b"10.0.0.9", b"11.0.0.9"))
    assert admit(inside, "127.0.0.1", BOUND, False, proxies).key_id == "k1"
    with pytest.raises(Forbidden, match=r"11\.0\.0\.9"):
        admit(outside, "127.0.0.1", BOUND, False, proxies)
    with pytest.raises(Forbidden, match=r"11\.0\.0\.9"):
        await auth(_never, BOUND, False, proxies)(make_call(headers=outside, peer="127.0.0.1"))


async def _never(call: Call) -> Reply:
    raise AssertionError("it was let in")


@pytest.mark.parametrize(
    ("key", "configured", "kept"), [("", "full", "full"), ("none", "full", "none"), ("full", "", "full")]
)
async def test_a_key_says_how_its_payloads_are_kept(
    make_call: Callable[..., Call], key: str, configured: str, kept: str
) -> None:
    """Its own word comes before what is configured; what attempts hear is kept by it, too."""

    async def inside(call: Call) -> Reply:
        raise Forbidden(call.kept)

    call = make_call(principal=Principal("k", "k", payloads=key))
    call.kept = configured
    with pytest.raises(Forbidden) as caught:
        await auth(inside, RING, keyless=False)(call)
    assert caught.value.message == kept
