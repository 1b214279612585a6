"""Opens the data directory's store for the verbs that administer it, and prints their tables."""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from headgate.cli.options import open_data, store_errors

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from headgate.stores.registry import Registry


@contextlib.contextmanager
def open_store(config: str | None, data: str | None, *, create: bool = False) -> Iterator[Engine]:
    """Opens the database of the data directory that these options name.

    Raises:
        ConfigError: there is no such directory (without ``create``), or it can not be used.
        Unavailable: the database does not answer.
    """
    engine = open_data(config, data, create=create).open_engine()
    try:
        with store_errors():
            yield engine
    finally:
        engine.dispose()


@contextlib.contextmanager
def open_registry(
    config: str | None, data: str | None, *, create: bool = False, budget: bool = False
) -> Iterator[Registry]:
    """Opens the keys and people there, to be changed by this user of the system. Raises as ``open_store``.

    With ``budget`` the price table is made ready first, where there is none yet: a new budget makes workers read it,
    and until they have, they take no new key for valid.
    """
    from headgate.stores.registry import Registry

    place = open_data(config, data, create=create)
    engine = place.open_engine()
    if budget:
        from headgate.config.price_book import load_table

        load_table(place.path)
    try:
        with store_errors():
            yield Registry(engine, actor())
    finally:
        engine.dispose()


def actor() -> str:
    """Returns how the audit log names whoever runs this command: ``cli:`` and the system's user."""
    uid = os.geteuid()
    try:
        return f"cli:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"cli:{uid}"


def show_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints columns as wide as what is in them."""
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def show_lines(items: Iterable[dict[str, Any]]) -> None:
    """Prints one JSON object a line."""
    for item in items:
        sys.stdout.write(msgspec.json.encode(item).decode() + "\n")


def show_fields(item: dict[str, Any]) -> None:
    """Prints a name and a value a line; what is empty is left out."""
    width = max(map(len, item))
    for name, value in item.items():
        if value not in (None, "", [], {}):
            print(f"{name:<{width}}  {_plain(value)}")


def day(moment_ns: int | None) -> str:
    """Returns a moment as words, in UTC; "never" for None."""
    return "never" if moment_ns is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment_ns / 1e9))


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={word}" for name, word in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
