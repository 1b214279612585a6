"""Sends a message to a receiver, whichever kind it is."""

from __future__ import annotations

import logging

from headgate.core.alert import Receiver
from headgate.observe.alerts.receivers.delivery import DeliveryError
from headgate.observe.alerts.receivers.email import send_email
from headgate.observe.alerts.receivers.webhook import send_slack, send_webhook

_log = logging.getLogger("headgate.alerts")


def send(receiver: Receiver, text: str, now_s: int) -> None:
    """Delivers a message (JSON, see ``message.Message``); blocks for as long as the receiver's timeout lets it.

    Args:
        receiver: to whom.
        text: the message.
        now_s: the moment, in seconds since 1970.

    Raises:
        DeliveryError: it was not taken.
    """
    if receiver.kind == "webhook":
        send_webhook(receiver, text, now_s)
    elif receiver.kind == "slack":
        send_slack(receiver, text)
    elif receiver.kind == "email":
        send_email(receiver, text, now_s)
    else:
        _log.warning("%s", text)


__all__ = ["DeliveryError", "send"]
