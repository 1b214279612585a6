"""Receivers over real sockets: what is sent, what counts as taken, what is refused before anything is sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
from email import message_from_string
from email.policy import default

import pytest
from tests.receivers import Hook, MailServer

from headgate.core.alert import AlertEvent, AlertPlan, AlertRule, Receiver
from headgate.observe.alerts.message import read_message, render, show_value, trial_of
from headgate.observe.alerts.receivers.address import find_address, is_public
from headgate.observe.alerts.receivers.delivery import DeliveryError
from headgate.observe.alerts.receivers.send import send
from headgate.observe.alerts.receivers.webhook import slack_text

RULE = AlertRule(name="errors", kind="error_rate", above=0.5, recover=0.4, window=300, by="user", description="Call.")
EVENT = AlertEvent("alert_12_0", "fired", "errors", "<!channel> & co\r\nBcc: x@x", "", 0.75, 0.5, 10**18, 10**18)
TEXT = render(RULE, EVENT)


def hook(server: Hook, **fields: object) -> Receiver:
    base: dict[str, object] = {"name": "ops", "kind": "webhook", "url": server.url, "allow_private": True, "timeout": 1}
    return Receiver(**{**base, **fields})  # type: ignore[arg-type]


def mail(server: MailServer, **fields: object) -> Receiver:
    base = {"name": "mail", "kind": "email", "host": "127.0.0.1", "port": server.port, "tls": "none", "timeout": 2}
    people = {"sender": "gate@x.example", "to": ("a@x.example", "b@x.example")}
    return Receiver(**{**base, **people, **fields})  # type: ignore[arg-type]


def test_a_webhook_gets_json_that_it_can_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body is the message, the id stands in a header, and the signature is that of Standard Webhooks."""
    key = b"0123456789abcdef"
    monkeypatch.setenv("HOOK_SECRET", "whsec_" + base64.b64encode(key).decode())
    with Hook() as server:
        send(hook(server, secret="env:HOOK_SECRET"), TEXT, 1_700_000_000)
    ((first, headers, body),) = server.requests
    assert first == "POST /hook?x=1 HTTP/1.1"
    assert body.decode() == TEXT
    assert headers["webhook-id"] == "alert_12_0"
    digest = hmac.new(key, b"alert_12_0.1700000000." + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert b"whsec" not in body


@pytest.mark.parametrize(
    ("answer", "said"),
    [(500, "status 500"), (302, "status 302"), (404, "status 404"), ("break", "no HTTP"), ("stall", "within 0.3 s")],
)
def test_only_2xx_is_taken(answer: int | str, said: str) -> None:
    """Anything else is a failure that says what it was; a redirect is not followed; silence has its end."""
    with Hook(lambda n: answer) as server, pytest.raises(DeliveryError, match=said):
        send(hook(server, timeout=0.3), TEXT, 1)
    assert len(server.requests) == 1


def test_a_receiver_that_is_not_there_is_a_failure() -> None:
    """Nobody listens, no such host, no such secret: each says so, and never what the secret is."""
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    for url, said in (
        (f"http://127.0.0.1:{port}/", "can not be reached"),
        ("http://nowhere.invalid/", "not found"),
        ("env:NO_SUCH_HOOK", "NO_SUCH_HOOK is not set"),
    ):
        with pytest.raises(DeliveryError, match=said):
            send(Receiver(name="x", kind="webhook", url=url, allow_private=True, timeout=1), TEXT, 1)


def test_private_addresses_are_refused_unless_allowed() -> None:
    """Of a host with any address that is not public nothing is asked; also where a name leads there."""
    with Hook() as server:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
            with pytest.raises(DeliveryError, match="not public"):
                send(hook(server, allow_private=False, url=f"http://{host}:{server.port}/"), TEXT, 1)
        assert server.requests == []
        assert find_address("127.0.0.1", 80, allow_private=True) == ("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *((text, True) for text in ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808")),
        *((text, False) for text in ("10.1.2.3", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0")),
        *((text, False) for text in ("::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1")),
        *((text, False) for text in ("2002:7f00:1::", "224.0.0.1", "ff02::1")),
    ],
)
def test_what_a_public_address_is(address: str, public: bool) -> None:
    """Private, loopback, link-local, shared, multicast ones are none, nor is an IPv6 one with such a one inside."""
    assert is_public(address) is public


def test_slack_gets_a_sentence_in_which_nothing_is_special() -> None:
    """Mentions and links that a caller put into a name stay text."""
    with Hook() as server:
        send(hook(server, kind="slack"), TEXT, 1)
    text = json.loads(server.requests[0][2])["text"]
    assert "<" not in text
    assert "&lt;!channel&gt; &amp; co" in text
    assert text.endswith("\nCall.")
    recovered = AlertEvent("alert_12_1", "recovered", "errors", "", "", 0.1, 0.5, 0, 0)
    assert slack_text(read_message(render(RULE, recovered))).startswith(":large_green_circle:")


def test_an_email_says_it_all_and_can_not_be_bent() -> None:
    """One mail to all addresses, with an id that stays; line ends in a name make no header."""
    with MailServer() as server:
        send(mail(server), TEXT, 1_700_000_000)
        send(mail(server), TEXT, 1_700_000_000)
    (sender, to, text), (_, _, again) = server.mails
    assert "gate@x.example" in sender
    assert to == ["a@x.example", "b@x.example"]
    parsed = message_from_string(text, policy=default)
    assert parsed["Bcc"] is None
    assert parsed["Message-ID"] == message_from_string(again, policy=default)["Message-ID"] == "<alert_12_0@headgate>"
    assert parsed["Subject"].startswith("[firing] errors: error rate of user <!channel>")
    assert "value: 0.75 (share)" in text


def test_a_mail_server_that_refuses_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """For now or for want of TLS: the error says which, and no password goes out in the clear."""
    monkeypatch.setenv("SMTP_PASSWORD", "very-secret")
    with MailServer(lambda n: n == 0) as server:
        with pytest.raises(DeliveryError, match="451"):
            send(mail(server), TEXT, 1)
        with pytest.raises(DeliveryError) as caught:
            send(mail(server, tls="starttls", user="me", password="env:SMTP_PASSWORD"), TEXT, 1)
        assert "very-secret" not in str(caught.value)
        send(mail(server), TEXT, 1)
    assert len(server.mails) == 1


def test_the_log_takes_it(caplog: pytest.LogCaptureFixture) -> None:
    """A line of JSON."""
    send(Receiver(name="log", kind="log"), TEXT, 1)
    assert json.loads(caplog.records[-1].message)["id"] == "alert_12_0"


def test_values_are_shown_as_people_write_them() -> None:
    """Shares in per cent, times in seconds; a test says that nothing is wrong."""
    slow = AlertRule(name="slow", kind="latency", above=2, recover=1, window=60, quantile=0.99)
    spike = AlertRule(name="spike", kind="cost_spike", above=3, recover=2, window=3600)
    assert [show_value(RULE, 0.125), show_value(slow, 2.5), show_value(spike, 4.0), show_value(spike, None)] == [
        *("12.5%", "2.5 s", "4 times as usual", "unknown")
    ]
    event = AlertEvent("a_0", "fired", "slow", "", "", 2.5, 2.0, 0, 0)
    assert (
        read_message(render(slow, event)).summary
        == "[firing] slow: p99 of latency is 2.5 s over 1 min; the bound is 2 s"
    )
    plan = AlertPlan(rules=(RULE,), receivers=(Receiver(name="log", kind="log"),))
    assert "nothing is wrong" in read_message(render(*trial_of(plan, "errors", 0))).summary
    assert trial_of(plan, "", 0)[0].receivers == ("log",)
    assert " of each user: this is a test" in read_message(render(*trial_of(plan, "errors", 0))).summary
    with pytest.raises(KeyError):
        trial_of(plan, "other", 0)
