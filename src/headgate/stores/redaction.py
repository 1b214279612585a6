"""Redaction of Records and payloads on their way to the store, with the data directory's own secret."""

from __future__ import annotations

import copy
import logging
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec

from headgate.core.feedback import Feedback
from headgate.core.record import AttemptRecord, Record
from headgate.guards.redactor import Redactor

FILE = "redaction.key"
_BYTES = 32
_SHORTEST = 12
"""No secret in a name is shorter."""

_NAMES = (
    *("key_name", "user", "team", "feature", "trace", "session", "model", "error", "finish", "wire_finish", "prompt"),
)
_ATTEMPT_NAMES = ("deployment", "provider", "model", "error", "upstream_id", "upstream_model", "finish")
_log = logging.getLogger("headgate.recorder")


def open_redactor(directory: Path) -> Redactor:
    """Returns the data directory's redactor; its secret (0600) is made at first use.

    Raises:
        OSError: the secret can be neither read nor made.
    """
    file = directory / FILE
    try:
        return Redactor(file.read_bytes())
    except FileNotFoundError:
        new = file.with_name(f"{FILE}.{secrets.token_hex(4)}")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as out:
            out.write(secrets.token_bytes(_BYTES))
        try:
            os.link(new, file)
        except FileExistsError:  # another process was first
            pass
        finally:
            new.unlink()
        return Redactor(file.read_bytes())


def clean_record(redactor: Redactor, record: Record) -> None:
    """Replaces what is private in a Record: all of it in its messages and notes, secrets alone in its names.

    Names (user, team, feature, trace, model…) are what calls are found by; that a user's is an address is their
    owner's choice. A key or token is nobody's name.
    """
    every = [getattr(record, name) for name in _NAMES]
    every += [word for pair in record.tags.items() for word in pair]
    every += record.lost
    for attempt in record.attempts:
        every += [attempt.deployment, attempt.model, attempt.upstream_id, attempt.upstream_model, attempt.finish]
        every += attempt.lost
    long = "\n".join([word for word in every if len(word) >= _SHORTEST])
    if redactor.name(long) != long:
        _clean_names(redactor, record)
    if record.error_message:
        record.error_message = redactor.text(record.error_message)
    for attempt in record.attempts:
        if attempt.error_message:
            attempt.error_message = redactor.text(attempt.error_message)
    if record.notes:
        record.notes = redactor.value(record.notes)


def clean_feedback(redactor: Redactor, judgement: Feedback) -> Feedback:
    """Returns feedback without what is private in its words."""
    if not judgement.comment and not judgement.label:
        return judgement
    label, comment = redactor.name(judgement.label), redactor.text(judgement.comment)
    return msgspec.structs.replace(judgement, label=label, comment=comment)


def cleaned(redactor: Redactor, record: Record) -> Record:
    """Returns a copy of a Record without what is private; the call goes on with its own."""
    one = copy.copy(record)
    one.attempts = [copy.copy(attempt) for attempt in record.attempts]
    clean_all(redactor, [one])
    return one


def clean_all(redactor: Redactor, records: Sequence[Record]) -> None:
    """Cleans Records; one that can not be cleaned keeps none of its words."""
    for record in records:
        try:
            clean_record(redactor, record)
        except Exception as error:  # as in ``clean_payload``
            _log.error("%s can not be redacted: its words are dropped (%s)", record.id, type(error).__name__)
            _drop_words(record)


def _clean_names(redactor: Redactor, record: Record) -> None:
    for name in _NAMES:
        setattr(record, name, redactor.name(getattr(record, name)))
    record.tags = {redactor.name(name): redactor.name(value) for name, value in record.tags.items()}
    record.lost = [redactor.name(word) for word in record.lost]
    for attempt in record.attempts:
        for name in _ATTEMPT_NAMES:
            setattr(attempt, name, redactor.name(getattr(attempt, name)))
        attempt.lost = [redactor.name(word) for word in attempt.lost]


def _drop_words(record: Record) -> None:
    for name in (*_NAMES, "error_message"):
        setattr(record, name, "")
    record.tags, record.notes, record.lost = {}, {}, []
    record.attempts = [AttemptRecord("", "", "", one.started_us, cost=one.cost) for one in record.attempts]
