"""Redaction of Records and payloads on their way to the store, with the data directory's own secret."""

from __future__ import annotations

import copy
import logging
import os
import secrets
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import msgspec

from headgate.core.feedback import Feedback
from headgate.core.record import AttemptRecord, Record
from headgate.guards.redactor import Redactor

FILE = "redaction.key"
_BYTES = 32
_SHORTEST = 12
"""No secret in a name is shorter."""

_TOGETHER = 256
"""Records whose names are searched at once."""

_NAMES = (
    *("key_name", "user", "team", "feature", "trace", "session", "model", "error", "finish", "wire_finish", "prompt"),
)
_names_of = attrgetter(*_NAMES)
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
    if _have_secrets(redactor, [record]):
        _clean_names(redactor, record)
    _clean_said(redactor, record)


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
    """Cleans Records; one that can not be cleaned keeps none of its words.

    Names are searched for many Records at once, each name once: most say the same, and hardly ever is there a secret.
    """
    for start in range(0, len(records), _TOGETHER):
        some = records[start : start + _TOGETHER]
        clean = _clean_said if len(some) > 1 and _are_clean(redactor, some) else clean_record
        for record in some:
            try:
                clean(redactor, record)
            except Exception as error:  # as in ``clean_payload``
                _log.error("%s can not be redacted: its words are dropped (%s)", record.id, type(error).__name__)
                _drop_words(record)


def _are_clean(redactor: Redactor, records: Sequence[Record]) -> bool:
    """Whether none of their names has a secret in it; False also where that can not be said of all at once."""
    try:
        return not _have_secrets(redactor, records)
    except Exception as error:  # one of them is odd: each is looked at by itself
        _log.debug("%d records can not be searched together: %s", len(records), type(error).__name__)
        return False


def _have_secrets(redactor: Redactor, records: Sequence[Record]) -> bool:
    """Whether there may be a secret in one of the Records' names. No form of one goes beyond a line's end."""
    words: set[str] = set()
    for record in records:
        words.update(_names_of(record))
        if record.tags:
            words.update(record.tags, record.tags.values())
        if record.lost:
            words.update(record.lost)
        for one in record.attempts:
            words.update((one.deployment, one.model, one.upstream_id, one.upstream_model, one.finish))
            if one.lost:
                words.update(one.lost)
    text = "\n".join([word for word in words if len(word) >= _SHORTEST])
    # Where capitals can not be made small sign by sign, the search sees less of all the words beside it.
    return redactor.name(text) != text or (not text.isascii() and len(text.lower()) != len(text))


def _clean_said(redactor: Redactor, record: Record) -> None:
    """Replaces what is private in what a Record says in words of its own: messages and notes."""
    if record.error_message:
        record.error_message = redactor.text(record.error_message)
    for attempt in record.attempts:
        if attempt.error_message:
            attempt.error_message = redactor.text(attempt.error_message)
    if record.notes:
        record.notes = redactor.value(record.notes)


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
