"""All the segments of a journal directory as one source of batches, each read from where the store left off."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from headgate.core.feedback import Feedback
from headgate.core.record import Record
from headgate.core.tape import TapesEntry
from headgate.stores.journal.framing import FEEDBACK, PAYLOAD, RECORD, TAPES, Entry, PayloadEntry
from headgate.stores.journal.reader import SegmentReader, save_corrupt
from headgate.stores.journal.segments import PAYLOADS, list_segments

_log = logging.getLogger("headgate.recorder")
_PATIENCE_S = 2.0
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_payload = msgspec.msgpack.Decoder(PayloadEntry).decode
_decode_tapes = msgspec.msgpack.Decoder(TapesEntry).decode
_decode_feedback = msgspec.msgpack.Decoder(Feedback).decode


class Batch:
    """Entries read and not yet stored, by kind, and in ``positions`` the offsets behind them.

    ``full`` says that there may be more to be had at once.
    """

    __slots__ = ("feedback", "finished", "full", "payloads", "positions", "records", "tapes")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.payloads: list[PayloadEntry] = []
        self.feedback: list[Feedback] = []
        self.tapes: list[TapesEntry] = []
        self.positions: dict[str, int] = {}
        self.finished: list[str] = []
        self.full = False

    @property
    def size(self) -> int:
        """How many entries it holds."""
        return len(self.records) + len(self.payloads) + len(self.feedback) + len(self.tapes)


class Tails:
    """The segments in ``directory``, read from ``positions`` on.

    Args:
        directory: the journal.
        positions: offsets already stored, by segment.
        byte_limit: bytes of segment in a batch, so that payloads do not pile up in memory.
        patience: seconds that something unreadable in a live segment may take to become readable.
    """

    def __init__(
        self,
        directory: Path,
        positions: dict[str, int],
        *,
        byte_limit: int = 8 << 20,
        patience: float = _PATIENCE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._positions = positions
        self._byte_limit = byte_limit
        self._patience = patience
        self._monotonic = monotonic
        self._readers: dict[str, SegmentReader] = {}
        self._stuck: dict[str, tuple[int, float]] = {}
        self._turn = 0

    def collect(self, limit: int, aside: int | None = None) -> Batch:
        """Returns what there is to store now, and which segments end with it.

        Args:
            limit: most entries.
            aside: most entries of payload segments among them: each of these takes as long as thirty Records.
        """
        batch = Batch()
        names = [name for name, _ in list_segments(self._directory)]
        for gone in self._readers.keys() - set(names):
            self.drop(gone)
        self._turn += 1
        start = self._turn % len(names) if names else 0
        for name in sorted(names[start:] + names[:start], key=lambda name: name.endswith(PAYLOADS)):
            reader = self._open(name)
            if reader is not None:
                if aside is not None and name.endswith(PAYLOADS):  # Records come first: this is of all that follow
                    limit, aside = min(limit, batch.size + aside), None
                self._take(name, reader, batch, limit)
        return batch

    def remove(self, name: str) -> None:
        """Deletes a segment that is stored to its end and has no writer."""
        self._directory.joinpath(name).unlink(missing_ok=True)
        self.drop(name)

    def drop(self, name: str) -> None:
        """Lets go of a segment."""
        reader = self._readers.pop(name, None)
        if reader is not None:
            reader.close()
        self._stuck.pop(name, None)

    def close(self) -> None:
        """Lets go of all."""
        for name in list(self._readers):
            self.drop(name)

    @property
    def written(self) -> bool:
        """Whether a live writer holds one of the segments, as of the last ``collect``."""
        return any(not reader.closed_by_writer for reader in self._readers.values())

    def _open(self, name: str) -> SegmentReader | None:
        reader = self._readers.get(name)
        if reader is None:
            try:
                reader = SegmentReader(self._directory / name, self._positions.pop(name, 0))
            except FileNotFoundError:
                return None
            self._readers[name] = reader
        return reader

    def _take(self, name: str, reader: SegmentReader, batch: Batch, limit: int) -> None:
        start, moved = reader.offset, 0
        closed = reader.check_writer()
        while batch.size < limit and moved < self._byte_limit:
            entries = reader.read(limit - batch.size)
            if not entries and not (reader.stopped and self._pass_damage(name, reader)):
                break
            for entry in entries:
                self._decode(reader, entry, batch)
            moved = reader.offset - start
        else:
            batch.full = True
        if reader.offset != start:
            batch.positions[name] = reader.offset
            self._stuck.pop(name, None)
        if closed and reader.at_end():
            batch.finished.append(name)

    def _pass_damage(self, name: str, reader: SegmentReader) -> bool:
        """Gets past damage at once where nobody writes any more, after some patience where somebody does."""
        if not reader.closed_by_writer:
            now = self._monotonic()
            offset, since = self._stuck.get(name, (-1, now))
            if offset != reader.offset:
                self._stuck[name] = (reader.offset, now)
                return False
            if now - since < self._patience:
                return False
            self._stuck[name] = (reader.offset, now)
        damage = reader.skip_damage()
        if damage is None:
            return False
        if damage.torn:
            _log.warning("%s ends in a torn entry of %d bytes: its writer was killed", reader.path, damage.size)
        else:
            _log.error(
                "%s is DAMAGED: %d bytes at offset %d can not be read and %s",
                reader.path,
                damage.size,
                damage.start,
                damage.fate,
            )
        return True

    def _decode(self, reader: SegmentReader, entry: Entry, batch: Batch) -> None:
        try:
            if entry.type == RECORD:
                batch.records.append(_decode_record(entry.payload))
            elif entry.type == PAYLOAD:
                batch.payloads.append(_decode_payload(entry.payload))
            elif entry.type == TAPES:
                batch.tapes.append(_decode_tapes(entry.payload))
            elif entry.type == FEEDBACK:
                batch.feedback.append(_decode_feedback(entry.payload))
            else:
                raise msgspec.DecodeError(f"unknown entry type {entry.type}")
        except msgspec.DecodeError as error:
            fate = save_corrupt(reader.path, entry.payload)
            size = len(entry.payload)
            _log.error("%s: the %d bytes of an entry that is not understood %s (%s)", reader.path, size, fate, error)
