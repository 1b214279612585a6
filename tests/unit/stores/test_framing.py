"""Framing: entries survive any chunking, any torn tail, any damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.stores.journal.framing import (
    HEADER_SIZE,
    MARKER_BYTES,
    PREFIX_SIZE,
    RECORD,
    frame,
    new_prefix,
    next_entry,
    parse,
    salt_of,
)
from headgate.stores.journal.reader import SegmentReader

SALT = 0x1234ABCD
bodies = st.lists(st.one_of(st.binary(max_size=40), st.just(MARKER_BYTES * 8)), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(bodies)
def test_every_cut_yields_the_whole_entries_before_it(payloads: list[bytes]) -> None:
    """Cut at any byte, a segment gives every entry that is whole and calls the rest torn, never damaged."""
    frames = [frame(RECORD, payload, SALT) for payload in payloads]
    data = b"".join(frames)
    ends = [sum(map(len, frames[: i + 1])) for i in range(len(frames))]
    for cut in range(len(data) + 1):
        parsed = parse(data[:cut], SALT)
        whole = sum(end <= cut for end in ends)
        assert [bytes(entry.payload) for entry in parsed.entries] == payloads[:whole]
        assert parsed.stopped == ("" if cut in (0, *ends) else "torn")


@settings(max_examples=50, deadline=None)
@given(bodies, st.data())
def test_chunking_of_writes_never_matters(payloads: list[bytes], data: st.DataObject) -> None:
    """A reader that meets the bytes as they trickle in yields the same entries, each once."""
    import tempfile

    prefix, salt = new_prefix()
    whole = prefix + b"".join(frame(RECORD, payload, salt) for payload in payloads)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.records"
        path.touch()
        reader = SegmentReader(path)
        seen: list[bytes] = []
        at = 0
        with path.open("ab", buffering=0) as file:
            while at < len(whole):
                step = data.draw(st.integers(1, 30))
                file.write(whole[at : at + step])
                at += step
                while entries := reader.read(limit=2, chunk=data.draw(st.integers(1, 64))):
                    seen += [bytes(entry.payload) for entry in entries]
        assert seen == payloads
        assert reader.at_end()
        reader.close()


@settings(max_examples=100, deadline=None)
@given(bodies, st.data())
def test_a_flipped_byte_is_never_taken_for_a_record(payloads: list[bytes], data: st.DataObject) -> None:
    """A changed byte costs the entry it is in, and the next sound entry is found again."""
    frames = [frame(RECORD, payload, SALT) for payload in [*payloads, b"last"]]
    whole = bytearray(b"".join(frames))
    place = data.draw(st.integers(0, len(whole) - len(frames[-1]) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    parsed = parse(bytes(whole), SALT)
    assert parsed.stopped in ("damaged", "torn")
    start = parsed.end
    found = next_entry(bytes(whole), SALT, start + 1)
    assert found > start
    rest = parse(bytes(whole[found:]), SALT)
    assert bytes(rest.entries[-1].payload) == b"last"
    assert len(parsed.entries) + len(rest.entries) == len(frames) - 1


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_type_is_damage(bit: int) -> None:
    """Whichever bit of an entry's type is changed, the entry is not taken for one of another type."""
    whole = bytearray(frame(RECORD, b"payload", SALT))
    whole[2] ^= 1 << bit
    assert parse(bytes(whole), SALT).stopped == "damaged"


def test_another_segments_entry_is_not_sound_here() -> None:
    """Bytes of an entry inside a payload do not pass for an entry: each segment has a salt of its own."""
    forged = frame(RECORD, b"forged", SALT)
    assert next_entry(b"x" + forged, SALT + 1, 0) == -1
    assert next_entry(b"x" + forged, SALT, 0) == 1


def test_prefix_holds_its_salt() -> None:
    """A prefix gives its salt back; anything else gives none."""
    prefix, salt = new_prefix()
    assert salt_of(prefix) == salt
    assert salt_of(prefix[:-1]) is None
    assert salt_of(b"x" * PREFIX_SIZE) is None
    assert HEADER_SIZE == 12
