"""Makes ``docs/proofs.md`` from the figures in ``bench/results/*.json``, so that no number is typed by hand.

Each result is one JSON object: ``name``, ``title``, ``measured_at``, ``machine``, optional ``about`` (a paragraph),
``rows`` (a list of flat objects: a table) and ``bars`` (``what``, ``bar``, ``measured``, ``holds``). Files of another
shape are raw data and left out. ``python scripts/proofs.py --check`` only says whether the page is up to date.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "proofs.md"
HEAD = """# Proofs

What this project claims, as last measured. This page is made by `scripts/proofs.py` from `bench/results/*.json`;
`make bench` measures the speed table and `make prove` runs every long proof in `bench/prove/`. To check a claim,
run the script that its section names on your own machine.
"""


def load(results: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the results that have this page's shape, by name."""
    found = []
    for path in sorted(results.glob("*.json")):
        data = json.loads(path.read_text())
        if isinstance(data, dict) and {"name", "title", "rows"} <= data.keys():
            found.append(data)
    return sorted(found, key=lambda result: str(result["name"]))


def cell(value: object) -> str:
    """Renders one table cell: floats to three significant digits, lists joined, pipes escaped."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, Mapping):
        return cell([f"{key}: {cell(inner)}" for key, inner in value.items()])
    if isinstance(value, Sequence) and not isinstance(value, str):
        return cell(", ".join(str(item) for item in value))
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Renders flat objects as a Markdown table; columns in order of first appearance."""
    if not rows:
        return ""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    numeric = [
        all(isinstance(row.get(key), int | float | None) and not isinstance(row.get(key), bool) for row in rows)
        for key in columns
    ]
    lines = [
        "| " + " | ".join(cell(key.replace("_", " ")) for key in columns) + " |",
        "|" + "|".join("---:" if right else "---" for right in numeric) + "|",
        *("| " + " | ".join(cell(row.get(key)) for key in columns) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def render(results: Iterable[Mapping[str, Any]]) -> str:
    """Returns the whole page."""
    parts = [HEAD]
    for result in results:
        parts.append(f"## {result['title']}\n")
        source = f"`bench/results/{result['name']}.json`"
        when = f", measured {cell(result['measured_at'])}" if result.get("measured_at") else ""
        where = f" on {cell(result['machine'])}" if result.get("machine") else ""
        parts.append(f"From {source}{when}{where}.\n")
        if result.get("about"):
            parts.append(f"{result['about']}\n")
        if result.get("bars"):
            bars = [
                {**bar, "holds": "not measured" if bar.get("holds") is None else bar["holds"]} for bar in result["bars"]
            ]
            parts.append(table(bars))
        if result["rows"]:
            parts.append(table(result["rows"]))
    if len(parts) == 1:
        parts.append("Nothing has been measured in this checkout yet; run `make bench` and `make prove`.\n")
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    """Writes the page; with ``--check`` returns 1 where it is not what the results say."""
    page = render(load(RESULTS))
    if "--check" in arguments:
        if PAGE.exists() and PAGE.read_text() == page:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is not what bench/results says; run: python scripts/proofs.py")
        return 1
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
