"""Facts: all that the checklist judges by, gathered once: settings, data, records, keys, prices, load tests."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from headgate.config.settings import ModelSettings, Settings, StepSettings
from headgate.core.rule import LimitRule
from headgate.load.kept import LoadMark, read_marks
from headgate.stores.checkup import Calls, Keys, Messages


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The data directory as it lies on the disk, looked at before anybody mends it.

    Attributes:
        path: where it is.
        mode: its permission bits.
        ours: whether it belongs to this user.
        loose: names of files in it that others can read.
        free_bytes, used_bytes: of its file system, and of itself.
        refused: records that the database would not hold, kept aside.
        waiting_bytes: journal that is not stored yet.
        caught_up: whether all of the journal was stored when asked; None where nobody asked.
    """

    path: Path
    mode: int
    ours: bool
    loose: list[str]
    free_bytes: int
    used_bytes: int
    refused: int
    waiting_bytes: int
    caught_up: bool | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known.

    Attributes:
        settings: the configuration, every blank filled in.
        place: the data directory, None where there is none yet.
        days: how far back calls were looked at.
        calls: their figures.
        sample: the stories of the newest of them.
        keys: the virtual keys that are valid now.
        limits: those of the configuration and of the store.
        messages: what became of those of alerts.
        unpriced: deployments of routes that have no price.
        loads: load tests, the newest first.
        now_ns: when all this was.
    """

    settings: Settings
    place: Place | None
    days: float
    calls: Calls
    sample: list[dict[str, Any]]
    keys: Keys
    limits: list[LimitRule]
    messages: Messages
    unpriced: list[str]
    loads: list[LoadMark]
    now_ns: int

    @property
    def has_records(self) -> bool:
        """Whether any call was made in the time that is looked at."""
        return self.calls.total > 0

    @property
    def models(self) -> list[ModelSettings]:
        """The configured models."""
        return list(self.settings.models.values())

    def conversations(self) -> list[dict[str, Any]]:
        """Returns the calls of the sample that are conversations: no embeddings, no counting of tokens."""
        return [story for story in self.sample if story["dialect"] not in ("embeddings", "count_tokens")]


def gather(settings: Settings, *, days: float, now_ns: int | None = None) -> Facts:
    """Looks at everything.

    Args:
        settings: the configuration.
        days: how far back calls count.
        now_ns: now, in ns since 1970.

    Raises:
        ConfigError: the data directory or a price table can not be used.
        Unavailable: the database does not answer.
        sqlalchemy.exc.SQLAlchemyError: it fails while it is asked.
    """
    now = time.time_ns() if now_ns is None else now_ns
    since = now - int(days * 86_400e9)
    place = look_at_place(Path(settings.data.dir))
    stored = _Stored(Calls(since_ns=since))
    with tempfile.TemporaryDirectory() as nowhere:
        # Where there is no data directory a look must not make one.
        folder = Path(nowhere) if place is None else place.path
        if place is not None or settings.database_url is not None:
            stored = _read_store(settings, folder, since, now)
        unpriced = _unpriced(settings, folder)
    return Facts(
        settings=settings,
        place=place and msgspec.structs.replace(place, caught_up=stored.caught_up),
        days=days,
        calls=stored.calls,
        sample=stored.sample,
        keys=stored.keys,
        limits=[*settings.limits, *stored.limits],
        messages=stored.messages,
        unpriced=unpriced,
        loads=[] if place is None else read_marks(place.path),
        now_ns=now,
    )


def look_at_place(path: Path) -> Place | None:
    """Returns what is to be seen of a data directory, None where there is none."""
    if not path.is_dir():
        return None
    state = path.stat()
    loose, used, waiting, refused = [], 0, 0, 0
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder) / name
            try:
                seen = file.lstat()
            except FileNotFoundError:
                continue  # a segment that has just been stored
            used += seen.st_size
            waiting += seen.st_size if name.endswith((".records", ".payload")) else 0
            if name == "refused.corrupt":
                refused = file.read_bytes().count(b"\n")
            # Within a closed directory nobody else gets at them, whatever their own bits say.
            if stat.S_IMODE(seen.st_mode) & 0o077 and stat.S_IMODE(state.st_mode) & 0o077:
                loose.append(name)
    return Place(
        path=path,
        mode=stat.S_IMODE(state.st_mode),
        ours=state.st_uid == os.geteuid(),
        loose=sorted(loose),
        free_bytes=shutil.disk_usage(path).free,
        used_bytes=used,
        refused=refused,
        waiting_bytes=waiting,
    )


def steps_of(model: ModelSettings) -> list[StepSettings]:
    """Returns the deployments that a model may come to, each once: those of its route first, then those of ``on``."""
    steps = [step for group in model.route for step in group.steps]
    steps += [step for others in model.on.values() for step in others]
    return list({step.name: step for step in steps}.values())


class _Stored(msgspec.Struct, frozen=True):
    """What the store says."""

    calls: Calls
    sample: list[dict[str, Any]] = []
    keys: Keys = Keys()
    limits: list[LimitRule] = []
    messages: Messages = Messages()
    caught_up: bool | None = None


def _read_store(settings: Settings, folder: Path, since: int, now: int) -> _Stored:
    from headgate.stores import checkup
    from headgate.stores.catchup import catch_up
    from headgate.stores.data import DataDir

    directory = DataDir(folder, url=settings.database_url)
    engine = directory.open_engine()
    try:
        caught_up = catch_up(directory, engine)
        return _Stored(
            checkup.read_calls(engine, since),
            checkup.read_sample(engine, since),
            checkup.read_keys(engine, now),
            checkup.read_limits(engine),
            checkup.read_messages(engine, since),
            caught_up,
        )
    finally:
        engine.dispose()


def _unpriced(settings: Settings, folder: Path) -> list[str]:
    from headgate.config.price_book import PriceBook

    book = PriceBook(folder)
    found: dict[str, None] = {}
    for model in settings.models.values():
        for step in steps_of(model):
            provider = settings.providers[step.provider]
            if not provider.row.embedded and book.find(provider, step.model, step.price) is None:
                found[step.name] = None
    return list(found)
