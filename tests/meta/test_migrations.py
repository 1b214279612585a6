"""Migrations are one line: landings side by side must not give two the same number."""

from __future__ import annotations

import pathlib
import re

from headgate.stores.database import SCHEMA_HEAD

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "src" / "headgate" / "stores" / "migrations" / "versions"


def test_each_migration_follows_the_one_before_it() -> None:
    """Numbers go up by one, file names say them, and the last is what the code asks for."""
    found = []
    for path in sorted(FOLDER.glob("v*.py")):
        revisions = re.findall(r'^(?:down_)?revision = "(\d+)"', path.read_text(), re.MULTILINE)
        found.append((path.name[1:5], *revisions))
    numbers = [f"{number + 1:04d}" for number in range(len(found))]
    assert [row[:2] for row in found] == [(number, number) for number in numbers]
    assert [row[2] for row in found[1:]] == numbers[:-1]
    assert numbers[-1] == SCHEMA_HEAD
