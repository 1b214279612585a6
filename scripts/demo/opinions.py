"""What people think of the demo's answers: thumbs of customers, and now and then a word."""

from __future__ import annotations

import random

from cast import Feature

from headgate.core.feedback import Feedback, make_feedback
from headgate.core.record import Record

_SHARE = {"customers": 0.09, "team": 0.05, "nobody": 0.0}
_DULL = [
    ("wrong-answer", "That is not what our terms say."),
    ("incomplete", "It stopped in the middle of the list."),
    ("too-slow", ""),
    ("not-my-question", "I asked about the second order, not the first."),
    ("wrong-answer", ""),
]
_GOOD = ["Exactly what I needed, thanks.", "", "", "", "Short and clear.", ""]
_SLOW_US = 8_000_000


def opinion(chance: random.Random, record: Record, feature: Feature, now_ns: int) -> Feedback | None:
    """Returns what the caller thought of this answer; None where nobody said anything (by ``now_ns``), as most do.

    What was slow, cut short or came from the second provider pleases less.
    """
    if record.outcome != "completed" or not feature.output or chance.random() >= _SHARE[feature.people]:
        return None
    liking = 0.9
    liking -= 0.25 if record.duration_us > _SLOW_US else 0
    liking -= 0.35 if record.finish == "length" else 0
    liking -= 0.15 if record.winner else 0
    after_ns = record.duration_us * 1000 + int(chance.uniform(3, 90) * 1e9)
    if record.time_ns + after_ns > now_ns:
        return None
    if chance.random() < liking:
        label, comment, score = "", chance.choice(_GOOD), 1.0
    else:
        label, comment = chance.choice(_DULL)
        score = 0.0
    return make_feedback(
        record.id, time_ns=record.time_ns + after_ns, key_id=record.key_id, score=score, label=label, comment=comment
    )
