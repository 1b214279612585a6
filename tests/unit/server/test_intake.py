"""Bodies and headers of a client, in bounds."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.core.call import Call
from headgate.core.errors import BadRequest
from headgate.core.record import Record
from headgate.server import intake
from headgate.server.caller import AsgiCaller
from headgate.server.intake import check_content, read_settings


def receiving(*messages: dict[str, Any]) -> Any:
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    return receive


def part(body: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def caller(headers: dict[bytes, bytes], *messages: dict[str, Any]) -> AsgiCaller:
    async def send(message: dict[str, Any]) -> None:
        raise AssertionError

    return AsgiCaller({"headers": list(headers.items()), "client": ("10.0.0.1", 5)}, receiving(*messages), send)


async def test_a_body_in_pieces_is_joined() -> None:
    """However the server cuts it, the body is the same."""
    one = caller({}, part(b"abc", True), part(b"", True), part(b"def", False))
    assert await one.body(10) == b"abcdef"


@pytest.mark.parametrize(
    ("headers", "messages"),
    [
        ({b"content-length": b"11"}, []),
        ({}, [part(b"x" * 11, False)]),
        ({}, [part(b"x" * 6, True), part(b"x" * 6, True)]),
    ],
)
async def test_a_body_over_the_limit_is_refused_early(headers: dict[bytes, bytes], messages: list[Any]) -> None:
    """By its announced length before a byte is read, else as soon as it has grown too large."""
    with pytest.raises(BadRequest) as caught:
        await caller(headers, *messages).body(10)
    assert caught.value.code == "body_too_large"


async def test_a_client_that_leaves_mid_body_is_no_request() -> None:
    """Half a body is never acted on."""
    with pytest.raises(BadRequest) as caught:
        await caller({}, part(b"a", True), {"type": "http.disconnect"}).body(10)
    assert caught.value.code == "body_cut"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({b"content-encoding": b"gzip"}, "unsupported_encoding"),
        ({b"content-type": b"text/plain"}, "unsupported_media_type"),
        ({b"content-type": b"multipart/form-data; boundary=x"}, "unsupported_media_type"),
    ],
)
def test_only_plain_json_is_taken(headers: dict[bytes, bytes], code: str) -> None:
    """A compressed or differently typed body is refused by name."""
    with pytest.raises(BadRequest) as caught:
        check_content(headers)
    assert caught.value.code == code
    check_content({b"content-type": b"application/json; charset=utf-8", b"content-encoding": b"identity"})


def apply(headers: dict[bytes, bytes]) -> Call:
    call = Call(Record("hg_1", 0), None, b"{}", 100.0)
    read_settings(call, headers)
    return call


def test_per_call_settings_reach_call_and_record() -> None:
    """Deadline, class, trace, session, user, feature and tags."""
    call = apply(
        {
            b"x-headgate-timeout-ms": b"1500",
            b"x-headgate-class": b"batch",
            b"x-headgate-trace": b"run-7",
            b"x-headgate-session": b"chat-1",
            b"x-headgate-user": "Zoë".encode(),
            b"x-headgate-feature": b"search",
            b"x-headgate-tags": b"env=prod, team = a",
        }
    )
    record = call.record
    assert call.deadline == 101.5
    assert (record.priority, record.trace, record.session) == ("batch", "run-7", "chat-1")
    assert (record.user, record.feature, record.tags) == ("Zoë", "search", {"env": "prod", "team": "a"})


def test_what_an_sdk_or_a_browser_sends_is_known_at_one_look() -> None:
    """Each of their names whole: one that is not known costs every call of theirs a look at all names."""
    sent = {f"x-stainless-{name}".encode() for name in ("read-timeout", "retry-count", "lang", "async", "timeout")}
    assert sent | {b"sec-fetch-site", b"sec-fetch-mode", b"anthropic-version", b"user-agent"} <= intake._COMMON
    assert not [name for name in intake._COMMON if name.endswith(b"-")]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"x-headgate-sesion", 'did you mean "x-headgate-session"?'),
        (b"x-headgate-timeout", 'did you mean "x-headgate-timeout-ms"?'),
        (b"x-headgate-zzz", "behind x-headgate- there are: class, dialect, feature"),
        (b"x-headgate-id", "The header x-headgate-id is not known"),
    ],
)
def test_a_setting_that_there_is_none_of_is_refused(header: bytes, words: str) -> None:
    """A typo would lose the setting unseen; the error names the header and the nearest."""
    with pytest.raises(BadRequest) as caught:
        apply({b"host": b"x", b"x-headgate-user": b"ann", header: b"1"})
    assert (caught.value.code, caught.value.param) == ("unknown_header", header.decode())
    assert words in caught.value.message


def test_headers_of_others_are_no_settings() -> None:
    """Whatever else a client or a proxy sends means nothing, and costs the call nothing."""
    record = apply({b"x-other": b"1", b"headgate-user": b"ann", b"x-headgate": b"1"}).record
    assert record.user == Record("hg_1", 0).user
    apply({b"x-headgate-dialect": b"anthropic"})


TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def test_a_w3c_trace_is_taken_where_ours_is_absent() -> None:
    """traceparent gives the trace id, and the caller's span in any case."""
    header = f"00-{TRACE}-{SPAN}-01".encode()
    record = apply({b"traceparent": header}).record
    assert (record.trace, record.parent) == (TRACE, f"{TRACE}-{SPAN}-01")
    record = apply({b"traceparent": header, b"x-headgate-trace": b"run-7"}).record
    assert (record.trace, record.parent) == ("run-7", f"{TRACE}-{SPAN}-01")


def test_a_later_version_of_the_header_is_read_as_far_as_it_is_known() -> None:
    """What comes behind the flags belongs to that version."""
    header = f"01-{TRACE}-{SPAN}-00-more".encode()
    assert apply({b"traceparent": header}).record.parent == f"{TRACE}-{SPAN}-00"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x" * 55,
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01more",
        f"01-{TRACE}-{SPAN}-01more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE}{SPAN}--01-",
        f"0--{TRACE}-{SPAN}001",
        f"00-{TRACE}-{SPAN[1:]}-001",
        f"00-{TRACE[1:]}-{SPAN}-001",
    ],
)
def test_a_malformed_traceparent_counts_as_not_sent(header: str) -> None:
    """As W3C wants it: it is somebody else's header, and no reason to refuse a call."""
    record = apply({b"traceparent": header.encode()}).record
    assert (record.trace, record.parent) == ("", "")


@pytest.mark.parametrize(
    "headers",
    [
        {b"x-headgate-timeout-ms": b"0"},
        {b"x-headgate-timeout-ms": b"-5"},
        {b"x-headgate-timeout-ms": b"1.5"},
        {b"x-headgate-timeout-ms": b"9" * 30},
        {b"x-headgate-class": b"urgent"},
        {b"x-headgate-trace": b"a\x7fb"},
        {b"x-headgate-session": b"x" * 300},
        {b"x-headgate-user": b"\xff"},
        {b"x-headgate-tags": b"novalue"},
        {b"x-headgate-tags": b"=x"},
    ],
)
def test_a_senseless_setting_names_its_header(headers: dict[bytes, bytes]) -> None:
    """A wrong value is refused, never ignored."""
    with pytest.raises(BadRequest) as caught:
        apply(headers)
    assert caught.value.param == next(iter(headers)).decode()


async def test_a_unix_socket_counts_as_this_machine() -> None:
    """ASGI gives no client address there."""

    async def nothing(*_: object) -> Any:
        raise AssertionError

    assert AsgiCaller({"headers": [], "client": None}, nothing, nothing).peer == "127.0.0.1"
    assert caller({}).peer == "10.0.0.1"
