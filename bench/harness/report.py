"""What the run says: a table for people, JSON for ``docs/proofs.md``, and the issue's bars."""

from __future__ import annotations

import datetime
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from harness.procs import machine

Row = dict[str, Any]
RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results"


def _us(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value / 1000:.2f}" if value < 100_000 else f"{value / 1000:,.0f}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _seconds(value: float | None) -> str:
    return f"{value:.2f}" if value else "-"


_COLUMNS: list[tuple[str, str, Callable[[float | None], str]]] = [
    ("CPU µs/req", "cpu_us", _us),
    ("+recorder", "cpu_with_recorder_us", _us),
    ("x nginx", "times_nginx", _us),
    ("req/s/core", "requests_per_core_s", _count),
    ("req/s seen", "requests_per_s", _count),
    ("p50 ms @1", "p50_us_1", _ms),
    ("p99 ms @1", "p99_us_1", _ms),
    ("p50 ms @64", "p50_us_64", _ms),
    ("p99 ms @64", "p99_us_64", _ms),
    ("µs/event", "event_us", _us),
    ("1st ms", "first_content_p50_us", _ms),
    ("MB idle", "memory_idle_mb", _count),
    ("MB after", "memory_loaded_mb", _count),
    ("ready s", "ready_s", _seconds),
]


def table(rows: Sequence[Row]) -> str:
    """Returns the rows as an aligned text table, those that could not take part below it with the reason."""
    cells = [["", *(c[0] for c in _COLUMNS)]]
    cells += [[r["name"], *(show(r.get(k)) for _, k, show in _COLUMNS)] for r in rows if "absent" not in r]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in cells
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    lines += [f"{r['name']}: ABSENT: {r['absent']}" for r in rows if "absent" in r]
    lines += [f"{r['name']}: STREAMS ABSENT: {r['stream_absent']}" for r in rows if "stream_absent" in r]
    lines += [f"{r['name']}: {r['note']}" for r in rows if "note" in r and "absent" not in r]
    return "\n".join(lines)


def bar(what: str, text: str, measured: str | None, holds: bool | None) -> dict[str, Any]:
    """Returns one bar; ``holds`` is None where it could not be measured."""
    return {"what": what, "bar": text, "measured": measured, "holds": holds}


def _at_most(what: str, value: float | None, limit: float, unit: str, digits: int = 1) -> dict[str, Any]:
    measured = None if value is None else f"{value:.{digits}f} {unit}"
    return bar(what, f"≤ {limit:g} {unit}", measured, None if value is None else value <= limit)


def _less_than_peer(own: float | None, peer: Row, factor: float) -> dict[str, Any]:
    what, text = f"CPU per unary request against {peer['name']}", f"≥ {factor:g}x less"
    if factor < 1:
        text = f"≤ {factor:g}x its CPU"
    theirs = peer.get("cpu_us")
    if own is None or not theirs:
        return bar(what, text, f"not measured: {peer.get('absent', 'left out')}", None)
    shown = f"{own / theirs:.2f}x" if factor < 1 else f"{theirs / own:.1f}x less"
    return bar(
        what,
        text,
        f"{shown} ({own:.1f} µs against {theirs:,.0f} µs)",
        theirs / own >= (factor if factor >= 1 else 1 / factor),
    )


def bars(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns the bars of issue 2 with what was measured; Headgate's figures are those with every layer on."""
    by = {r["key"]: r for r in rows}
    own = by.get("headgate-full", {})
    direct, us = by.get("direct", {}).get("p50_us_1"), own.get("cpu_us")
    added = (own["p50_us_1"] - direct) / 1000 if direct and "p50_us_1" in own else None
    out = [
        _at_most("worker CPU per unary request, every layer on", us, 65, "µs"),
        _at_most("worker CPU per unary request against nginx as plain proxy", own.get("times_nginx"), 6.5, "x", 2),
    ]
    for key, name, factor in (
        ("litellm", "LiteLLM", 90),
        ("portkey", "Portkey", 10),
        ("tensorzero", "TensorZero", 0.5),
    ):
        out.append(_less_than_peer(us, by.get(key, {"name": name}), factor))
    out += [
        _at_most("worker CPU per relayed event of a stream", own.get("event_us"), 25, "µs"),
        _at_most("latency added at one connection, p50", added, 0.25, "ms", 3),
        _at_most("start-up to ready on a migrated directory", own.get("ready_s"), 1.0, "s", 2),
        _at_most("resident memory of an idle worker", own.get("memory_idle_mb"), 80, "MB", 0),
    ]
    return out


def bar_lines(found: Sequence[dict[str, Any]]) -> str:
    """Returns the bars as text, one line each."""
    words = {True: "holds      ", False: "FALLS SHORT", None: "not known  "}
    return "\n".join(f"{words[b['holds']]}  {b['what']}: {b['measured']} (bar {b['bar']})" for b in found)


def short(row: Row) -> Row:
    """Returns a row as the table shows it, for ``docs/proofs.md``; the whole row goes to ``details``."""
    out: Row = {"gateway": row["name"]}
    if "absent" not in row:
        out |= {title: show(row.get(key)) for title, key, show in _COLUMNS}
    remarks = [
        row.get("note"),
        row.get("absent") and f"absent: {row['absent']}",
        row.get("stream_absent") and f"streams absent: {row['stream_absent']}",
    ]
    return out | {"remark": "; ".join(r for r in remarks if r)}


def save(
    name: str,
    title: str,
    rows: Sequence[Row],
    found: Sequence[dict[str, Any]],
    path: pathlib.Path,
    *,
    about: str = "",
    details: Sequence[Row] = (),
) -> None:
    """Writes the figures as JSON: ``rows`` are what a page shows, ``details`` everything that was measured."""
    result = {
        "name": name,
        "title": title,
        "measured_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "about": about,
        "rows": list(rows),
        "bars": list(found),
        "details": list(details),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(result), indent=1, ensure_ascii=False) + "\n")


def finish(
    name: str,
    title: str,
    rows: Sequence[Row],
    found: Sequence[dict[str, Any]],
    path: pathlib.Path,
    *,
    about: str = "",
    details: Sequence[Row] = (),
) -> int:
    """Prints the bars, saves everything (arguments as of ``save``), and returns the exit status of a proof."""
    print(bar_lines(found))
    save(name, title, rows, found, path, about=about, details=details)
    return int(any(one["holds"] is False for one in found))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value
