"""Webhooks: posts a message as JSON, signed (Standard Webhooks) or in Slack's form, over a connection of its own.

Written on a plain socket, because the address that was checked must be the one that is connected to, because no
redirect may lead elsewhere, and because all of it has one deadline.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import ssl
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from headgate.core.alert import Receiver
from headgate.observe.alerts.message import Message, read_message
from headgate.observe.alerts.receivers.address import find_address
from headgate.observe.alerts.receivers.delivery import DeliveryError, find_secret

_COLOURS = {"fired": ":red_circle:", "reminder": ":red_circle:", "recovered": ":large_green_circle:"}
_LINE_LIMIT = 8192


def send_webhook(receiver: Receiver, text: str, now_s: int) -> None:
    """Posts the message itself.

    Headers: ``webhook-id`` (the event's id, the same whenever it is sent again), ``webhook-timestamp`` and, with a
    secret, ``webhook-signature``: ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``.

    Raises:
        DeliveryError: it was not taken (any answer but 2xx).
    """
    body = text.encode()
    id = read_message(text).id
    headers = {"webhook-id": id, "webhook-timestamp": str(now_s)}
    if receiver.secret:
        headers["webhook-signature"] = sign(find_secret(receiver.secret), id, now_s, body)
    _post(receiver, body, headers)


def send_slack(receiver: Receiver, text: str) -> None:
    """Posts the message's sentence in Slack's form, which others take too. Raises as ``send_webhook``."""
    message = read_message(text)
    _post(receiver, msgspec.json.encode({"text": slack_text(message)}), {})


def slack_text(message: Message) -> str:
    """Returns the sentence as Slack wants it; nothing in it is taken for a link or a mention."""
    words = f"{message.summary}\n{message.description}".strip()
    for letter, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        words = words.replace(letter, code)
    return f"{_COLOURS.get(message.event, ':bell:')} {words}"


def sign(secret: str, id: str, now_s: int, body: bytes) -> str:
    """Returns the signature; a secret that begins with ``whsec_`` is base64, any other is taken as it is."""
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    digest = hmac.new(key, f"{id}.{now_s}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _post(receiver: Receiver, body: bytes, headers: dict[str, str]) -> None:
    url = find_secret(receiver.url) if receiver.url.startswith(("env:", "file:")) else receiver.url
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
    except ValueError as error:
        raise DeliveryError("the URL is malformed") from error
    if parts.scheme not in ("http", "https") or not host:
        raise DeliveryError("the URL is none of http:// or https://")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    named = f"[{host}]" if ":" in host else host
    lines = {
        "host": named if parts.port is None else f"{named}:{parts.port}",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "user-agent": "headgate-alerts",
        "connection": "close",
        **headers,
    }
    head = f"POST {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    if any(letter in target + host for letter in "\r\n ") or not head.isascii():
        raise DeliveryError("the URL holds characters that it must not")
    until = time.monotonic() + receiver.timeout
    address = find_address(host, port, allow_private=receiver.allow_private)
    try:
        status = _exchange(address, host if parts.scheme == "https" else "", head.encode() + body, until)
    except TimeoutError as error:
        raise DeliveryError(f"{host} did not answer within {receiver.timeout:g} s") from error
    except OSError as error:
        raise DeliveryError(f"{host} can not be reached ({error.strerror or type(error).__name__})") from error
    if not 200 <= status <= 299:
        raise DeliveryError(f"{host} answered with status {status}")


def _exchange(address: tuple[str, int], server_name: str, request: bytes, until: float) -> int:
    """Sends the request and returns the answer's status; what else it says does not matter."""
    left = _clock(until)
    with socket.create_connection(address, timeout=left()) as plain:
        if not server_name:
            return _ask(plain, request, left)
        plain.settimeout(left())
        with ssl.create_default_context().wrap_socket(plain, server_hostname=server_name) as secure:
            return _ask(secure, request, left)


def _ask(connection: socket.socket, request: bytes, left: Callable[[], float]) -> int:
    connection.settimeout(left())
    connection.sendall(request)
    head = b""
    while b"\r\n" not in head:
        connection.settimeout(left())
        more = connection.recv(4096)
        if not more or len(head) > _LINE_LIMIT:
            raise DeliveryError("the answer is no HTTP")
        head += more
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise DeliveryError("the answer is no HTTP")
    return int(words[1])


def _clock(until: float) -> Callable[[], float]:
    def left() -> float:
        seconds = until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds

    return left
