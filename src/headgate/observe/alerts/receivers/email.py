"""E-mail: sends a message through a mail server (SMTP)."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate

from headgate.core.alert import Receiver
from headgate.observe.alerts.message import Message, read_message
from headgate.observe.alerts.receivers.delivery import DeliveryError, find_secret


def send_email(receiver: Receiver, text: str, now_s: int) -> None:
    """Sends one e-mail to all addresses of the receiver. Sent again it has the same Message-ID.

    Raises:
        DeliveryError: the server did not take it, or not for every address.
    """
    mail = compose_email(receiver, read_message(text), now_s)
    try:
        with _connect(receiver) as server:
            if receiver.tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if receiver.user:
                server.login(receiver.user, find_secret(receiver.password) if receiver.password else "")
            refused = server.send_message(mail)
    except smtplib.SMTPAuthenticationError as error:
        raise DeliveryError(f"{receiver.host} refused the user or password ({error.smtp_code})") from error
    except smtplib.SMTPResponseException as error:
        raise DeliveryError(f"{receiver.host} answered with {error.smtp_code}") from error
    except (smtplib.SMTPException, OSError) as error:
        raise DeliveryError(f"{receiver.host} did not take the mail ({type(error).__name__})") from error
    if refused:
        raise DeliveryError(f"{receiver.host} refused {len(refused)} of the addresses")


def compose_email(receiver: Receiver, message: Message, now_s: int) -> EmailMessage:
    """Returns the mail."""
    mail = EmailMessage()
    mail["Subject"] = " ".join(message.summary.split())
    mail["From"] = receiver.sender
    mail["To"] = ", ".join(receiver.to)
    mail["Date"] = formatdate(now_s)
    mail["Message-ID"] = f"<{message.id}@headgate>"
    lines = {
        "rule": message.rule,
        "severity": message.severity,
        message.by or "subject": message.subject_name or "all calls",
        "value": "unknown" if message.value is None else f"{message.value:g} ({message.unit})",
        "bound": f"{message.threshold:g}",
        "since": message.since,
        "event": message.id,
    }
    body = [message.summary, ""]
    if message.description:
        body += [message.description, ""]
    mail.set_content("\n".join([*body, *(f"{name}: {value}" for name, value in lines.items())]) + "\n")
    return mail


def _connect(receiver: Receiver) -> smtplib.SMTP:
    if receiver.tls == "implicit":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(receiver.host, receiver.port, timeout=receiver.timeout, context=context)
    return smtplib.SMTP(receiver.host, receiver.port, timeout=receiver.timeout)
