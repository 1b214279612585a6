"""How pages look: the template engine, the words that numbers become, and the files that a page loads."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import msgspec

from headgate.console.door import ROOT
from headgate.core.price import show_money

CHARTS = "charts.js"
NOTHING = "\u2013"
"""What stands where there is no value."""
_HERE = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_CHART_PACKAGE, _CHART_FILE = "litecharts", "js/lightweight-charts.js"


class Asset(msgspec.Struct, frozen=True):
    """A file that pages load, whole in memory; ``version`` changes with its content."""

    data: bytes
    type: str
    version: str


@functools.cache
def assets() -> Mapping[str, Asset]:
    """Returns every file by name; ``charts.js`` is the chart library's, from its installed package, or is missing."""
    files = {path.name: path for path in (_HERE / "static").iterdir() if path.suffix in _TYPES}
    library = _chart_library()
    if library is not None:
        files[CHARTS] = library
    found = {}
    for name, path in files.items():
        data = path.read_bytes()
        found[name] = Asset(data, _TYPES[path.suffix], hashlib.sha256(data).hexdigest()[:12])
    return found


def _chart_library() -> Path | None:
    """Where the package keeps the library; found without importing it."""
    try:
        spec = importlib.util.find_spec(_CHART_PACKAGE)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / _CHART_FILE
        if path.is_file():
            return path
    return None


@functools.cache
def _engine() -> jinja2.Environment:
    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    engine.filters.update(
        money=money, exact=show_money, span=span, count=count, percent=percent, bytes=size, moment=moment, short=short
    )
    release = importlib.metadata.version("headgate")
    engine.globals.update(root=ROOT, asset=_asset_url, has_charts=lambda: CHARTS in assets(), release=release)
    return engine


def render(template: str, data: Mapping[str, Any]) -> bytes:
    """Returns a page; what comes from people or models is shown as text, never as HTML."""
    return _engine().get_template(template).render(data).encode("utf-8", "replace")


def _asset_url(name: str) -> str:
    found = assets().get(name)
    return f"{ROOT}/static/{name}?v={found.version}" if found is not None else ""


def money(nano: int | None) -> str:
    """Returns nano-dollars for a person's eye: ``$12.30``, ``$0.0040``, ``<$0.0001``; a dash for None."""
    if nano is None:
        return NOTHING
    size = abs(nano)
    if size >= 1_000_000_000 or not size:
        return show_money(nano, 2)
    if size < 50_000:
        return "<$0.0001"
    # To a fixed place, so that a column can be compared by its look.
    tenths = (size + 50_000) // 100_000
    return f"{'-' if nano < 0 else ''}${tenths // 10_000}.{tenths % 10_000:04d}"


def span(us: float | None) -> str:
    """Returns microseconds for a person's eye: ``840 µs``, ``12.3 ms``, ``1.52 s``, ``2 min 5 s``; a dash for never."""
    if us is None or us < 0:
        return NOTHING
    if us < 1000:
        return f"{us:.0f} µs"
    if us < 1_000_000:
        return f"{us / 1000:.{0 if us >= 100_000 else 1}f} ms"
    if us < 60_000_000:
        return f"{us / 1e6:.{1 if us >= 10_000_000 else 2}f} s"
    seconds = round(us / 1e6)
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s" if seconds % 60 else f"{seconds // 60} min"
    minutes = seconds % 3600 // 60
    return f"{seconds // 3600} h {minutes} min" if minutes else f"{seconds // 3600} h"


def count(number: float | None) -> str:
    """Returns a count: ``1,234``, ``56.8 k``, ``1.23 M``; a dash for None."""
    if number is None:
        return NOTHING
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(number) >= size:
            part = number / (1e3 if unit == "k" else size)
            return f"{part:.3g} {unit}" if abs(part) < 1000 else f"{part:,.0f} {unit}"
    return f"{number:,.0f}" if number == int(number) else f"{number:,.2f}"


def percent(part: float | None, places: int = 1) -> str:
    """Returns a part of one as percent; a dash for None."""
    if part is None:
        return NOTHING
    shown = f"{part * 100:.{places}f}"
    if part and float(shown) == 0:
        return f"<{10**-places:.{places}f} %"
    return f"{shown} %"


def size(number: int) -> str:
    """Returns bytes: ``830 B``, ``1.2 kB``, ``3.4 MB``."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= one:
            return f"{number / one:.1f} {unit}"
    return f"{number} B"


def moment(time_ns: int | None, what: str = "seconds") -> str:
    """Returns a time in UTC: ``2026-11-25 13:04:05``, to ``"minutes"``, ``"seconds"`` or ``"milliseconds"``."""
    if time_ns is None:
        return NOTHING
    at = datetime.fromtimestamp(time_ns // 1000 / 1e6, UTC)
    return at.isoformat(" ", timespec=what).removesuffix("+00:00")


def short(text: object, longest: int = 40) -> str:
    """Returns at most so many characters, with ``…`` for the rest."""
    shown = str(text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"
