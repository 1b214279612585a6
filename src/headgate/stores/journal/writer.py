"""The journal's writing end: one synchronous write per finished Record, everything slow on a thread beside it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal
from zlib import crc32

import msgspec

from headgate.core.errors import Unavailable
from headgate.core.feedback import Feedback
from headgate.core.record import Record
from headgate.core.tape import Tape, TapesEntry
from headgate.stores.journal.encoding import encode_plain, new_encoder
from headgate.stores.journal.framing import (
    FEEDBACK,
    HEADER,
    HEADER_SIZE,
    MARKER,
    MAX_PAYLOAD,
    PAYLOAD,
    RECORD,
    TAPES,
    PayloadEntry,
    frame,
)
from headgate.stores.journal.segments import PAYLOADS, RECORDS, Segment, create_segment, make_durable
from headgate.stores.journal.sync import GroupCommit

Fsync = Literal["always", "interval", "never"]

_log = logging.getLogger("headgate.journal")
_TICK_S = 0.5
_SAY_EVERY_S = 60.0
_BUFFER_KEEP = 1 << 20
_RECORD_SEED = RECORD << 28
_pack_header = HEADER.pack_into


class JournalStats(msgspec.Struct):
    """What a journal has done so far; ``queued`` and ``dropped`` count Records that met a sick disk."""

    records: int = 0
    payloads: int = 0
    queued: int = 0
    dropped: int = 0
    payloads_shed: int = 0
    errors: int = 0


class JournalWriter:
    """The journal of one process, on segment files in ``directory``, which must exist (0700).

    Args:
        directory: where segments go.
        fsync: ``"always"`` (``append`` returns an awaitable, one fdatasync for all who wait), ``"interval"``
            (every ``sync_seconds``; a killed process loses nothing, a power cut at most that much) or ``"never"``.
        rotate_bytes, rotate_seconds: a segment larger than this, or holding entries and older than this, is closed, so
            that the recorder can delete it.
        queue_bytes: how much is kept in memory while the disk takes nothing; what comes on top is dropped and counted.
        min_free_bytes: payloads are shed while the disk has less room than this.
        write: ``os.write``, or a test's sick disk.

    Raises:
        OSError: the directory is missing or not writable (a full disk is no error).
    """

    def __init__(
        self,
        directory: Path,
        *,
        fsync: Fsync = "interval",
        sync_seconds: float = 1.0,
        rotate_bytes: int = 64 << 20,
        rotate_seconds: float = 60.0,
        queue_bytes: int = 16 << 20,
        min_free_bytes: int = 32 << 20,
        write: Callable[[int, bytes | bytearray], int] = os.write,
    ) -> None:
        self.directory = directory
        self.stats = JournalStats()
        self._fsync = fsync
        self._sync_seconds = sync_seconds
        self._rotate_bytes = rotate_bytes
        self._rotate_seconds = rotate_seconds
        self._queue_bytes = queue_bytes
        self._min_free_bytes = min_free_bytes
        self._write = write
        self._encode_into = new_encoder().encode_into
        self._buffer = bytearray()
        self._queue: deque[bytes] = deque()
        self._queue_size = 0
        self._said: dict[str, float] = {}
        self._closed = False
        self._payload_segment: Segment | None = None
        self._old_payloads: list[tuple[Path, int]] = []
        self._shedding = False
        self._segment: Segment | None = None
        try:
            self._segment = create_segment(directory, RECORDS, time.monotonic())
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            self._say("open", "the journal can not open a segment (%s); records wait in memory", error)
        self._start_threads()
        _writers.add(self)

    def append(self, record: Record) -> Awaitable[None] | None:
        """Writes the Record; see the port."""
        return self.append_all((record,))

    def append_all(self, records: Sequence[Record]) -> Awaitable[None] | None:
        """Writes Records together: an encode and a checksum for each, one ``write`` for all."""
        with self._lock:
            buffer = self._buffer
            segment = self._segment
            if segment is None or self._queue:
                for record in records:
                    self._append_slow(_payload_of(record))
                return None
            del buffer[:]
            if not self._fill(buffer, records, segment.salt):
                for record in records:
                    self._append_slow(_payload_of(record))
                return None
            total = len(buffer)
            try:
                written = self._write(segment.fd, buffer)
            except OSError as error:
                written = self._failed(segment, error)
            if written != total:
                self._cut(segment)
                for record in records:
                    self._append_slow(_payload_of(record))
                return None
            segment.size += total
            segment.entries += len(records)
            self.stats.records += len(records)
            if total > _BUFFER_KEEP:
                self._buffer = bytearray()
        if self._commit is None:
            return None
        return self._durable(segment)

    def _fill(self, buffer: bytearray, records: Sequence[Record], salt: int) -> bool:
        """Frames Records one after the other into ``buffer``; False where one of them can not be encoded as it is."""
        encode_into = self._encode_into
        start = 0
        try:
            for record in records:
                encode_into(record, buffer, start + HEADER_SIZE)
                end = len(buffer)
                size = end - start - HEADER_SIZE
                checksum = crc32(memoryview(buffer)[start + HEADER_SIZE :], salt ^ _RECORD_SEED ^ size)
                _pack_header(buffer, start, MARKER, RECORD, 0, size, checksum)
                start = end
        except (TypeError, ValueError, OverflowError):
            return False
        return True

    def append_payload(self, call_id: str, request: bytes, response: bytes, policy: str = "full") -> None:
        """Writes a call's payloads to their own segment; sheds them, and counts, when the disk is short."""
        self.append_payloads([PayloadEntry(call_id, request, response, policy)])

    def append_payloads(self, entries: Sequence[PayloadEntry]) -> None:
        """Writes payloads of several calls, by one ``write``; see ``append_payload``."""
        self._put_aside(PAYLOAD, [msgspec.msgpack.encode(entry) for entry in entries])

    def append_tapes(self, call_id: str, tapes: Sequence[Tape]) -> None:
        """Writes what a call's failed attempts have heard, with the payloads and shed as they are."""
        self._put_aside(TAPES, [msgspec.msgpack.encode(TapesEntry(call_id, list(tapes)))])

    def _put_aside(self, type: int, payloads: Sequence[bytes]) -> None:
        """Writes entries to the payload segment."""
        with self._lock:
            if self._shedding or self._queue or self._closed:
                self.stats.payloads_shed += len(payloads)
                return
            fitting = [payload for payload in payloads if len(payload) <= MAX_PAYLOAD]
            self.stats.payloads_shed += len(payloads) - len(fitting)
            if not fitting:
                return
            try:
                if self._payload_segment is None:
                    self._payload_segment = create_segment(self.directory, PAYLOADS, time.monotonic())
                segment = self._payload_segment
                data = b"".join([frame(type, payload, segment.salt) for payload in fitting])
                written = self._write(segment.fd, data)
            except OSError as error:
                self.stats.payloads_shed += len(fitting)
                self.stats.errors += 1
                self._say("payload", "the journal sheds payloads (%s)", error)
                written = -1
            if self._payload_segment is None:
                return
            if written != len(data):
                self.stats.payloads_shed += len(fitting) if written >= 0 else 0
                self._cut(self._payload_segment)
                return
            segment.size += written
            segment.entries += len(fitting)
            self.stats.payloads += len(fitting)

    def append_feedback(self, feedback: Feedback) -> Awaitable[None] | None:
        """Writes feedback among the Records; see the port. Nothing of it waits in memory: who gave it can try again.

        Raises:
            Unavailable: the disk does not take it (``journal_unavailable``).
        """
        payload = msgspec.msgpack.encode(feedback)
        with self._lock:
            segment = None if self._queue or self._closed else self._segment
            written = -1
            if segment is not None:
                data = frame(FEEDBACK, payload, segment.salt)
                try:
                    written = self._write(segment.fd, data)
                except OSError as error:
                    written = self._failed(segment, error)
                if written != len(data):
                    self._cut(segment)
                    segment = None
            if segment is None:
                message = "The journal does not take the feedback now; send it again."
                raise Unavailable(message, code="journal_unavailable", retry_after=5.0)
            segment.size += written
            segment.entries += 1
        return None if self._commit is None else self._durable(segment)

    def close(self) -> None:
        """Writes what still waits in memory, makes it durable by policy, and frees the locks. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._wake.set()
        self._thread.join()
        self.flush()
        with self._lock:
            segments = [self._segment, self._payload_segment]
            self._segment = self._payload_segment = None
            if self._queue:
                self.stats.dropped += len(self._queue)
                _log.error("the journal closes with %d records that no disk took", len(self._queue))
        for segment in segments:
            if segment is not None:
                self._retire(segment)
        if self._commit is not None:
            self._commit.stop()

    def flush(self) -> None:
        """Tries again to write what waits in memory for the disk."""
        with self._lock:
            if not self._queue:
                return
            if self._segment is None:
                try:
                    self._segment = create_segment(self.directory, RECORDS, time.monotonic())
                except OSError as error:
                    self._say("open", "the journal can not open a segment (%s); records wait in memory", error)
                    return
            while self._queue and self._try_put(self._queue[0]):
                self._queue_size -= len(self._queue.popleft())
                self.stats.queued = len(self._queue)

    def _durable(self, segment: Segment) -> Awaitable[None] | None:
        assert self._commit is not None
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._sync(segment)
            return None
        return self._commit.wait(segment, loop)

    def _append_slow(self, payload: bytes) -> None:
        """Keeps a Record that could not be written the fast way, after one more try on a disk freed of payloads."""
        if self._segment is None and not self._closed and not self._thread.is_alive():
            self._start_threads()  # a forked child's first Record
        if self._segment is None and not self._queue:
            try:
                self._segment = create_segment(self.directory, RECORDS, time.monotonic())
            except OSError as error:
                self._say("open", "the journal can not open a segment (%s); records wait in memory", error)
        if not self._queue and (self._try_put(payload) or (self._shed() and self._try_put(payload))):
            if self._closed and self._segment is not None:
                self._segment.close()
                self._segment = None
            return
        if self._queue_size + len(payload) > self._queue_bytes or self._closed:
            self.stats.dropped += 1
            self._say(
                "drop", "the journal's disk takes nothing and its memory is full: %d records lost", self.stats.dropped
            )
            return
        self._queue.append(payload)
        self._queue_size += len(payload)
        self.stats.queued = len(self._queue)

    def _try_put(self, payload: bytes) -> bool:
        segment = self._segment
        if segment is None:
            return False
        data = frame(RECORD, payload, segment.salt)
        try:
            written = self._write(segment.fd, data)
        except OSError as error:
            written = self._failed(segment, error)
        if written != len(data):
            self._cut(segment)
            return False
        segment.size += written
        segment.entries += 1
        self.stats.records += 1
        return True

    def _failed(self, segment: Segment, error: OSError) -> int:
        self.stats.errors += 1
        self._say("write", "the journal can not write to %s (%s); records wait in memory", segment.path, error)
        return -1

    def _cut(self, segment: Segment) -> None:
        """Takes a half-written entry back; a segment where that fails is given up, its tail torn."""
        try:
            os.ftruncate(segment.fd, segment.size)
        except OSError as error:
            self._say("cut", "the journal gives up segment %s (%s)", segment.path, error)
            segment.close()
            if segment is self._segment:
                self._segment = None
            else:
                self._payload_segment = None

    def _shed(self) -> bool:
        """Deletes this writer's payload segments to make room for Records; True if there were any."""
        segment, self._payload_segment = self._payload_segment, None
        count, files = 0, list(self._old_payloads)
        self._old_payloads.clear()
        if segment is not None:
            files.append((segment.path, segment.entries))
            segment.close()
        for path, entries in files:
            try:
                path.unlink()
                count += entries
            except OSError:  # the recorder has it already, or the disk refuses this too: no room to be had
                continue
        self.stats.payloads_shed += count
        if count:
            self._say("shed", "the disk is full: %d payloads were given up to make room for records", count)
        return bool(files)

    def _say(self, topic: str, message: str, *args: object) -> None:
        """Logs an error, at most once a minute per topic."""
        now = time.monotonic()
        if now - self._said.get(topic, -_SAY_EVERY_S) >= _SAY_EVERY_S:
            self._said[topic] = now
            _log.error(message, *args)

    def _start_threads(self) -> None:
        self._lock = getattr(self, "_lock", None) or threading.Lock()
        self._wake = threading.Event()
        self._commit = GroupCommit(self._sync_failed) if self._fsync == "always" else None
        self._thread = threading.Thread(target=self._keep, name="headgate-journal", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        """The thread beside: rotation, fsync by interval, and another try for what a sick disk refused."""
        synced, synced_size = time.monotonic(), 0
        while not self._wake.wait(min(_TICK_S, self._sync_seconds)):
            now = time.monotonic()
            self.flush()
            self._check_room()
            self._rotate(now)
            segment = self._segment
            if self._fsync == "interval" and now - synced >= self._sync_seconds and segment is not None:
                if segment.size != synced_size:
                    synced_size = segment.size
                    self._sync(segment)
                synced = now

    def _check_room(self) -> None:
        if self._payload_segment is None and not self._shedding:
            return
        try:
            room = os.statvfs(self.directory)
        except OSError as error:
            self._say("room", "the journal's directory does not answer (%s)", error)
            return
        short = room.f_bavail * room.f_frsize < self._min_free_bytes
        if short and not self._shedding:
            self._say("short", "less than %d bytes are free: payloads are shed", self._min_free_bytes)
        self._shedding = short

    def _rotate(self, now: float) -> None:
        segment = self._segment
        if segment is not None and self._is_full(segment, now):
            try:
                fresh = create_segment(self.directory, RECORDS, now)
            except OSError as error:
                self._say("open", "the journal can not open a segment (%s); the old one grows", error)
                return
            with self._lock:
                current, self._segment = self._segment, fresh
            if current is not None:
                self._retire(current)
        with self._lock:
            payloads = self._payload_segment
            if payloads is None or not self._is_full(payloads, now):
                return
            self._payload_segment = None
            self._old_payloads = [item for item in self._old_payloads if item[0].exists()]
            self._old_payloads.append((payloads.path, payloads.entries))
        self._retire(payloads)

    def _is_full(self, segment: Segment, now: float) -> bool:
        return segment.size >= self._rotate_bytes or (
            segment.entries > 0 and now - segment.opened >= self._rotate_seconds
        )

    def _retire(self, segment: Segment) -> None:
        if segment.entries == 0:
            segment.close(unlink=True)
        elif self._commit is not None:
            self._commit.retire(segment)
        else:
            if self._fsync == "interval":
                self._sync(segment)
            segment.close()

    def _sync(self, segment: Segment) -> None:
        try:
            make_durable(segment.fd)
        except OSError as error:
            self._sync_failed(error)

    def _sync_failed(self, error: OSError) -> None:
        self.stats.errors += 1
        self._say("sync", "the journal can not be made durable (%s)", error)

    def _after_fork(self) -> None:
        """In a forked child: the segments belong to the parent; the first Record opens one of the child's own."""
        self._lock = threading.Lock()
        self._queue.clear()
        self._queue_size = 0
        self._old_payloads.clear()
        for segment in (self._segment, self._payload_segment):
            if segment is not None:
                segment.close()
        self._segment = self._payload_segment = None


def _payload_of(record: Record) -> bytes:
    try:
        return msgspec.msgpack.encode(record, enc_hook=str)
    except (TypeError, ValueError, OverflowError):
        return encode_plain(record)


_writers: weakref.WeakSet[JournalWriter] = weakref.WeakSet()


def _forked() -> None:
    for writer in list(_writers):
        writer._after_fork()


os.register_at_fork(after_in_child=_forked)
