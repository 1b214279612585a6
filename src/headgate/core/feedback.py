"""Feedback: what somebody thought of one call's answer, written once and never changed."""

from __future__ import annotations

import hashlib
import math

import msgspec

from headgate.core.errors import BadRequest

LABEL_LIMIT = 100
COMMENT_LIMIT = 4000
WORST, BEST = 0.0, 1.0
"""The range of a score, ends included: 0 for useless, 1 for just right."""


class Feedback(msgspec.Struct, array_like=True):
    """One judgement of one call. At least one of ``score``, ``label`` and ``comment`` says something.

    ``source`` is ``caller`` (came with the key of the call, or an admin's) or ``review`` (by the admin API).
    ``trusted``: counts for any call; else only for one that was made with the key ``key_id``.
    ``time_ns`` is ns since 1970. ``id`` is the same for the same judgement sent twice.
    New fields go at the end with a default: the journal of an older release must still be read.
    """

    id: str
    call_id: str
    time_ns: int
    key_id: str
    source: str = "caller"
    trusted: bool = False
    score: float | None = None
    label: str = ""
    comment: str = ""

    @property
    def said(self) -> tuple[str, float | None, str, str]:
        """What it says, of which call: what must be equal in one and the same feedback."""
        return self.call_id, self.score, self.label, self.comment


def make_feedback(
    call_id: str,
    *,
    time_ns: int,
    key_id: str,
    score: float | None = None,
    label: str = "",
    comment: str = "",
    source: str = "caller",
    trusted: bool = False,
    once: str = "",
) -> Feedback:
    """Returns the feedback, checked.

    Args:
        call_id: the call that it is about.
        time_ns: now, in ns since 1970.
        key_id: who gives it, "" for the library and keyless mode.
        score: from 0 (useless) to 1 (just right).
        label: a word of the giver's own, e.g. ``wrong-answer``; at most 100 printable characters.
        comment: free text; at most 4000 characters.
        source, trusted: see ``Feedback``.
        once: the giver's word for this one feedback (an idempotency key). Without one, the same words about the same
            call are the same feedback.

    Raises:
        BadRequest: ``invalid_feedback``; ``param`` names the field.
    """
    if score is not None:
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise _wrong("score must be a number from 0 to 1", "score")
        if not WORST <= score <= BEST:
            raise _wrong(f"score must be from 0 (useless) to 1 (just right), not {float(score):g}", "score")
        score = float(score)
    label = label.strip()
    if len(label) > LABEL_LIMIT or not label.isprintable():
        raise _wrong(f"label must be at most {LABEL_LIMIT} printable characters", "label")
    comment = comment.strip()
    if len(comment) > COMMENT_LIMIT or "\x00" in comment or not _is_text(comment):
        raise _wrong(f"comment must be text of at most {COMMENT_LIMIT} characters", "comment")
    if score is None and not label and not comment:
        raise _wrong("feedback says nothing: give a score, a label or a comment", "score")
    named = ["once", key_id, once] if once else ["said", key_id, call_id, score, label, comment]
    id = "fb_" + hashlib.sha256(msgspec.json.encode(named)).hexdigest()[:32]
    return Feedback(id, call_id, time_ns, key_id, source, trusted, score, label, comment)


def _is_text(text: str) -> bool:
    """Whether it can be written as UTF-8: JSON's escapes can hold half a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wrong(message: str, param: str) -> BadRequest:
    return BadRequest(f"{message}.", code="invalid_feedback", param=param)
