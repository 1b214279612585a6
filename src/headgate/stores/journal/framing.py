"""The bytes of a journal: how an entry is framed, found again, and told from a torn or damaged one.

A segment is ``MAGIC``, a random salt (u32) and then entries. An entry is a 12-byte header and its payload. The header,
little-endian: marker (u16), type (u8), zero (u8), payload length (u32), CRC-32 of the payload (u32). The CRC starts
from the salt, the type (4 bits of it) and the length, so that no payload can hold bytes that pass for an entry.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple
from zlib import crc32

import msgspec

MAGIC = b"HGJRNL01"
HEADER = struct.Struct("<HBBII")
HEADER_SIZE = HEADER.size
MARKER = 0x6748
MARKER_BYTES = b"Hg"
MAX_PAYLOAD = 256 * 1024 * 1024
MAX_TYPE = 15

RECORD = 1
PAYLOAD = 2
FEEDBACK = 6
TAPES = 7

_SALT = struct.Struct("<I")
PREFIX_SIZE = len(MAGIC) + _SALT.size


class PayloadEntry(msgspec.Struct, array_like=True):
    """A call's payloads as they lie in a payload segment: request and response bytes, and how they are to be kept.

    ``policy`` is ``"full"`` or ``"redacted"``. New fields go at the end with a default, as in a Record.
    """

    call_id: str
    request: bytes
    response: bytes
    policy: str = "full"


class Entry(NamedTuple):
    """One whole entry: its type, its payload (a view into the bytes parsed) and the offset behind it."""

    type: int
    payload: memoryview
    end: int


class Parsed(NamedTuple):
    """What a run of bytes holds: whole entries, the offset behind the last, and what stopped the parse.

    ``stopped`` is ``""`` (ended on an entry's edge, or at the limit), ``"torn"`` (an entry's beginning, more may come)
    or ``"damaged"``. ``need`` is, when torn, the entry's size in bytes as far as its header is known.
    """

    entries: list[Entry]
    end: int
    stopped: str
    need: int


def new_prefix() -> tuple[bytes, int]:
    """Returns the first bytes of a new segment and the salt in them."""
    salt = int.from_bytes(os.urandom(4), "little")
    return MAGIC + _SALT.pack(salt), salt


def salt_of(prefix: bytes) -> int | None:
    """Returns the salt in a segment's first ``PREFIX_SIZE`` bytes, None if they are no segment's."""
    if len(prefix) < PREFIX_SIZE or not prefix.startswith(MAGIC):
        return None
    return int(_SALT.unpack_from(prefix, len(MAGIC))[0])


def frame(type: int, payload: bytes, salt: int) -> bytes:
    """Returns the entry of that type and payload, ready to be written."""
    size = len(payload)
    return HEADER.pack(MARKER, type, 0, size, crc32(payload, salt ^ (type << 28) ^ size)) + payload


def parse(data: bytes, salt: int, base: int = 0, limit: int = 1 << 30) -> Parsed:
    """Parses at most ``limit`` entries from ``data``, which lies at offset ``base`` of its segment."""
    view = memoryview(data)
    entries: list[Entry] = []
    size, at = len(data), 0
    stopped, need = "", 0
    while at < size and len(entries) < limit:
        body = at + HEADER_SIZE
        if body > size:
            stopped, need = ("torn" if MARKER_BYTES.startswith(data[at : at + 2]) else "damaged"), HEADER_SIZE
            break
        marker, type, zero, length, checksum = HEADER.unpack_from(data, at)
        if marker != MARKER or zero or type > MAX_TYPE or length > MAX_PAYLOAD:
            stopped = "damaged"
            break
        end = body + length
        if end > size:
            stopped, need = "torn", HEADER_SIZE + length
            break
        payload = view[body:end]
        if crc32(payload, salt ^ (type << 28) ^ length) != checksum:
            stopped = "damaged"
            break
        entries.append(Entry(type, payload, base + end))
        at = end
    return Parsed(entries, base + at, stopped, need)


def next_entry(data: bytes, salt: int, start: int) -> int:
    """Returns the position at or after ``start`` of the next whole and sound entry in ``data``, -1 if there is none."""
    at = data.find(MARKER_BYTES, start)
    while at >= 0:
        if at + HEADER_SIZE <= len(data):
            length = HEADER.unpack_from(data, at)[3]
            if length <= len(data) - at and parse(data[at : at + HEADER_SIZE + length], salt, limit=1).entries:
                return at
        at = data.find(MARKER_BYTES, at + 1)
    return -1
