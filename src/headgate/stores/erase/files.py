"""Erases a user from what a journal's reader has put aside: ``*.corrupt`` files, which a person is to look at.

``refused.corrupt`` has an entry a line: lines are blanked where they are. Other files hold bytes that nobody can read:
one that names the user, or a call of theirs, goes as a whole.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from headgate.core.record import Record
from headgate.stores.journal.segments import CORRUPT

REFUSED = "refused.corrupt"
_ID = re.compile(rb"hg_[0-9a-f]{27}")
_Theirs = Callable[[Collection[str]], Collection[str]]
_IsTheirs = Callable[[Record], bool]


class Aside(NamedTuple):
    """What was put aside: ``theirs``, lines and files that belong to a user; ``unknown``, files that may."""

    theirs: int
    unknown: int


def count_aside(journal: Path, users: Collection[str], theirs: _Theirs) -> Aside:
    """Counts what is there.

    Args:
        journal: the journal's directory.
        users: the names of one person.
        theirs: returns those of some calls' ids that are of that person.
    """
    return _go_through(journal, users, theirs, lambda record: False, erase=False)


def erase_aside(
    journal: Path, users: Collection[str], theirs: _Theirs, is_theirs: _IsTheirs = lambda record: False
) -> Aside:
    """Erases what belongs to the user; arguments as ``count_aside``, and who a refused Record belongs to."""
    return _go_through(journal, users, theirs, is_theirs, erase=True)


def _go_through(journal: Path, users: Collection[str], theirs: _Theirs, is_theirs: _IsTheirs, *, erase: bool) -> Aside:
    found = unknown = 0
    words = [word for user in users for word in _written(user)]
    for path in sorted(journal.glob(f"*{CORRUPT}")):
        if path.name == REFUSED:
            found += _lines(path, lambda line: _goes(line, users, words, theirs, is_theirs), erase=erase)
            continue
        data = path.read_bytes()
        if _is_of(data, words, theirs):
            found += 1
            if erase:
                _overwrite(path, [(0, len(data))])
                path.unlink(missing_ok=True)
        else:
            unknown += 1
    return Aside(found, unknown)


def _lines(path: Path, goes: Callable[[bytes], bool], *, erase: bool) -> int:
    """Blanks lines in place: a recorder may be adding to the file."""
    places, at = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        whole = line.rstrip(b"\n")
        if whole.strip() and goes(whole):
            places.append((at, len(whole)))
        at += len(line)
    if erase:
        _overwrite(path, places)
    return len(places)


def _is_of(data: bytes, words: Collection[bytes], theirs: _Theirs) -> bool:
    if any(word in data for word in words):
        return True
    ids = {id.decode() for id in _ID.findall(data)}
    return bool(ids) and bool(theirs(ids))


def _goes(line: bytes, users: Collection[str], words: Collection[bytes], theirs: _Theirs, is_theirs: _IsTheirs) -> bool:
    """Whether a line is of the user: a Record says whose it is, of anything else its words and ids have to tell."""
    try:
        record = msgspec.json.decode(line, type=Record)
    except msgspec.MsgspecError:
        return _is_of(line, words, theirs)
    return record.user in users or is_theirs(record) or bool(theirs([record.id]))


def _overwrite(path: Path, places: Iterable[tuple[int, int]]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for start, size in places:
            os.pwrite(fd, b" " * size, start)
        os.fsync(fd)
    finally:
        os.close(fd)


def _written(user: str) -> set[bytes]:
    """How a name stands in a journal and in JSON, quotes or length included: "1" is no part of "12"."""
    return {msgspec.msgpack.encode(user), msgspec.json.encode(user), json.dumps(user).encode()}
