"""Rows for people and programs: an aligned table, CSV, or JSON."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
_NEGATIVE = re.compile(r"-\d+(\.\d+)?", re.ASCII)
"""Sums of dollars are texts, too; a negative one stays a number."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: frozenset[str] = frozenset()) -> None:
    """Prints an aligned table; the columns in ``numbers`` stand to the right. No row: (none) on stderr."""
    widths = [max(len(cell) for cell in cells) for cells in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        cells = [
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(columns, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())
    if not rows:
        print("(none)", file=sys.stderr)


def print_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints CSV with a header line. A text that a spreadsheet would take for a formula gets a quote before it."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_harmless(cell) for cell in row] for row in rows])


def print_json(value: Mapping[str, Any]) -> None:
    """Prints one JSON document."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _harmless(cell: Any) -> Any:
    runs = isinstance(cell, str) and cell.startswith(_FORMULAS) and not _NEGATIVE.fullmatch(cell)
    return f"'{cell}" if runs else cell
