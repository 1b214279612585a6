"""What differs between two Settings, by path, and which of it a running process can not take over."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec

from headgate.config.nodes import join
from headgate.config.settings import Settings
from headgate.providers.secret import Secret
from headgate.stores.postgres import shown

FIXED = ("data.dir", "data.database", "data.journal", "data.redact", "leases.store")
"""What every process has for as long as it lives."""
FIXED_SERVER = (
    *("server.host", "server.port", "server.workers", "server.header_limit", "server.header_count"),
    *FIXED,
)
"""The same of ``headgate serve``."""

_DEPTH = 3
"""Parts of a path that are told apart: ``providers.openai.url``, ``models.fast.route``."""
_SHOWN = 12
_WRITTEN = {"row": "type", "dialects": "dialect", "store": "data.database"}
"""How the file calls what settings call otherwise."""


def changes(old: Settings, new: Settings) -> list[str]:
    """Returns what is different: ``added models.fast``, ``removed …``, ``changed providers.up.url``. No values."""
    return list(dict.fromkeys(_differences(old, new, "", _DEPTH)))


def summary(changed: Sequence[str]) -> str:
    """Returns changes in one line, long lists cut short."""
    parts = []
    for kind in ("added", "removed", "changed"):
        paths = [path for word, _, path in (change.partition(" ") for change in changed) if word == kind]
        if paths:
            more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            parts.append(f"{kind} {', '.join(paths[:_SHOWN])}{more}")
    return "; ".join(parts) or "nothing changed"


def hold(new: Settings, running: Settings, fixed: Collection[str]) -> tuple[Settings, list[str]]:
    """Keeps what can not change while a process runs.

    Args:
        new: settings as they were read.
        running: those that the process has.
        fixed: ``section.name`` of each such setting.

    Returns:
        The new ones, what is fixed as it is running; and the names of what is waiting for a restart.
    """
    waiting = []
    for path in fixed:
        section, _, name = path.partition(".")
        wanted, held = getattr(new, section), getattr(running, section)
        if path == "data.database":
            if _place(new) == _place(running):
                continue  # a new password for the same database need not wait
            new = msgspec.structs.replace(new, store=running.store)
        if path == "data.database" or getattr(wanted, name) != getattr(held, name):
            waiting.append(path)
            section_held = msgspec.structs.replace(wanted, **{name: getattr(held, name)})
            new = msgspec.structs.replace(new, **{section: section_held})
    return new, waiting


def _place(settings: Settings) -> str:
    url = settings.database_url
    return "" if url is None else shown(url)


def secrets(value: Any, path: str = "") -> Iterator[tuple[str, Secret]]:
    """Yields every Secret in settings, with its path."""
    if isinstance(value, Secret):
        yield path, value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from secrets(getattr(value, name), join(path, name))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from secrets(inner, join(path, str(key)))
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from secrets(inner, f"{path}[{index}]")


def _differences(old: Any, new: Any, path: str, depth: int) -> Iterator[str]:
    if old == new:
        return
    if depth and isinstance(old, msgspec.Struct) and type(old) is type(new):
        for name in old.__struct_fields__:
            yield from _differences(
                getattr(old, name), getattr(new, name), join(path, _WRITTEN.get(name, name)), depth - 1
            )
    elif depth and isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            below = join(path, key)
            if key not in old:
                yield f"added {below}"
            elif key not in new:
                yield f"removed {below}"
            else:
                yield from _differences(old[key], new[key], below, depth - 1)
    else:
        yield f"changed {path}"
