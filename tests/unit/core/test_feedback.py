"""Feedback: what may be said of a call, and when two judgements are one."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.core.errors import BadRequest
from headgate.core.feedback import Feedback, make_feedback


def make(**fields: Any) -> Feedback:
    """Makes feedback on some call."""
    return make_feedback("hg_1", time_ns=1, **{"key_id": "key_1", **fields})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "score"),
        ({"score": 1.01}, "score"),
        ({"score": -0.1}, "score"),
        ({"score": float("nan")}, "score"),
        ({"score": True}, "score"),
        ({"score": "1"}, "score"),
        ({"label": "x" * 101}, "label"),
        ({"label": "a\nb"}, "label"),
        ({"comment": "x" * 4001}, "comment"),
        ({"comment": "a\x00b"}, "comment"),
        ({"comment": "\ud800"}, "comment"),
        ({"label": "  ", "comment": " \n"}, "score"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], param: str) -> None:
    """The error names the field and says what it may be."""
    with pytest.raises(BadRequest) as caught:
        make(**fields)
    assert (caught.value.code, caught.value.param) == ("invalid_feedback", param)


def test_the_ends_of_the_range_and_words_alone_are_fine() -> None:
    """0 and 1 are scores; a label or a comment needs none; space at the ends is cut."""
    assert (make(score=0).score, make(score=1).score) == (0.0, 1.0)
    assert (make(label=" wrong ").label, make(comment="\nno\n").comment) == ("wrong", "no")


def test_the_same_said_twice_has_one_id() -> None:
    """Same key, call and words: the same id, whenever; anything else: another. A word of the giver's own decides."""
    one = make(score=0.5, label="x")
    assert make_feedback("hg_1", time_ns=2, key_id="key_1", score=0.5, label="x").id == one.id
    others = [make(score=0.5), make(score=0.5, label="x", key_id="key_2"), make(score=0.5, label="x", once="a")]
    assert len({one.id, *(other.id for other in others)}) == 4
    assert make(score=0.1, once="a").id == make(score=0.9, once="a").id
