"""A provider's usage or cost export by day and model: OpenAI's, Anthropic's, others by their columns' names."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

import msgspec

from headgate.core.errors import BadRequest

FIELDS = ("day", "model", "requests", "input", "output", "cached", "cost")
"""What a line may have."""
_NANO = Decimal(1_000_000_000)

_NAMES: dict[str, tuple[str, ...]] = {
    "day": ("usage_date_utc", "start_time_iso", "start_time", "date", "day", "usage_date", "timestamp", "created"),
    "model": ("model", "model_version", "model_id", "model_name", "snapshot_id", "line_item"),
    "requests": ("num_model_requests", "n_requests", "requests", "request_count", "calls"),
    "input": ("input_tokens", "n_context_tokens_total", "prompt_tokens"),
    "output": ("output_tokens", "usage_output_tokens", "n_generated_tokens_total", "completion_tokens"),
    "cached": ("input_cached_tokens", "usage_input_tokens_cache_read", "cache_read_input_tokens", "cached_tokens"),
    "cost": ("cost_usd", "amount_value", "cost", "amount", "amount_usd", "total_cost", "cost_in_major"),
}
_INPUT_PARTS = (
    "usage_input_tokens_no_cache",
    "usage_input_tokens_cache_write_5m",
    "usage_input_tokens_cache_write_1h",
    "usage_input_tokens_cache_write",
    "usage_input_tokens_cache_read",
)
"""Anthropic's input, in parts that add up."""
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_SNAPSHOT = re.compile(r"[-@](?:20\d{2}-\d{2}-\d{2}|20\d{6}|latest)(?=$|[-:])")


class Line(msgspec.Struct):
    """One day and model of an invoice, or of the ledger; None where nothing is said. ``cost`` in nano-dollars."""

    day: str
    model: str
    requests: int | None = None
    input: int | None = None
    output: int | None = None
    cached: int | None = None
    cost: int | None = None

    def add(self, other: Line) -> None:
        """Adds the counts of another line."""
        for name in ("requests", "input", "output", "cached", "cost"):
            more = getattr(other, name)
            if more is not None:
                setattr(self, name, (getattr(self, name) or 0) + more)


class Invoice(msgspec.Struct):
    """A whole export: whose it looks to be (``"openai"``, ``"anthropic"``, "" for neither) and its lines."""

    provider: str
    lines: list[Line]


def read_invoice(text: str, columns: Mapping[str, str] | None = None) -> Invoice:
    """Reads a CSV export. Rows of one day and model are added up, exactly.

    Args:
        text: the file, comma-, semicolon- or tab-separated.
        columns: names of columns by our field (``FIELDS``), stronger than those known here.

    Raises:
        BadRequest: no header line, no column with a day or with anything to compare, or a value that is no number.
    """
    header = text.lstrip("\ufeff").partition("\n")[0]
    separator = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff")), delimiter=separator)
    names = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    found = _columns(names, columns or {})
    parts = [name for name in _INPUT_PARTS if name in names] if "input" not in found else []
    if "day" not in found or not (parts or found.keys() - {"day", "model"}):
        raise BadRequest(
            f"the columns {', '.join(names)[:300]} are no usage or cost export known here; name them with --column, "
            "e.g. --column day=Date --column cost=Amount",
            code="unreadable_invoice",
        )
    lines: dict[tuple[str, str], Line] = {}
    for number, row in enumerate(reader, 2):
        line = _line(row, found, parts, number)
        if line is not None:
            lines.setdefault((line.day, line.model), Line(line.day, line.model)).add(line)
    return Invoice(_provider(names), list(lines.values()))


def model_key(name: str) -> str:
    """Returns what two spellings of a model have in common: without snapshot dates, words in any order.

    Example:
        >>> model_key("claude-haiku-4-5-20251001") == model_key("Claude Haiku 4.5")
        True
    """
    plain = _SNAPSHOT.sub("", name.lower().strip())
    return " ".join(sorted(re.findall(r"[a-z0-9]+", plain)))


def _columns(names: list[str], given: Mapping[str, str]) -> dict[str, str]:
    lower = {name.lower(): name for name in names}
    found = {}
    for field, known in _NAMES.items():
        wanted = given.get(field)
        if wanted is not None:
            if wanted not in names:
                raise BadRequest(f"there is no column {wanted!r} in the invoice", code="unreadable_invoice")
            found[field] = wanted
            continue
        name = next((lower[name] for name in known if name in lower), None)
        if name is not None:
            found[field] = name
    return found


def _provider(names: list[str]) -> str:
    if "usage_date_utc" in names:
        return "anthropic"
    return "openai" if {"num_model_requests", "amount_value", "n_requests"} & set(names) else ""


def _line(row: dict[str, str], found: dict[str, str], parts: list[str], number: int) -> Line | None:
    day = _day(row.get(found["day"]) or "")
    if day is None:
        return None  # a total at the foot, or an empty line
    # OpenAI's cost export has "gpt-4o-2024-08-06, cached input" for a line item.
    model = (row.get(found.get("model", "")) or "").partition(",")[0].strip()
    line = Line(day, model)
    for field in ("requests", "input", "output", "cached"):
        if field in found:
            setattr(line, field, _count(row.get(found[field]), found[field], number))
    if parts:
        line.input = sum(_count(row.get(name), name, number) or 0 for name in parts)
    if "cost" in found:
        line.cost = _money(row.get(found["cost"]), found["cost"], number)
    return None if all(getattr(line, name) is None for name in FIELDS[2:]) else line


def _day(text: str) -> str | None:
    text = text.strip()
    match = _DATE.match(text)
    try:
        if match is not None:
            moment = datetime.fromisoformat(text.replace(" UTC", "").replace("Z", "+00:00"))
            utc = moment.astimezone(UTC) if moment.tzinfo is not None else moment
            return utc.date().isoformat()
        if text.isdigit() and 9 <= len(text) <= 13:
            return datetime.fromtimestamp(int(text) / (1000 if len(text) > 10 else 1), UTC).date().isoformat()
    except ValueError:
        pass
    return None if match is None else date(int(match[1]), int(match[2]), int(match[3])).isoformat()


def _count(text: str | None, column: str, number: int) -> int | None:
    value = _number(text, column, number)
    return None if value is None else int(value)


def _money(text: str | None, column: str, number: int) -> int | None:
    value = _number((text or "").strip().lstrip("$"), column, number)
    return None if value is None else int((value * _NANO).to_integral_value())


def _number(text: str | None, column: str, number: int) -> Decimal | None:
    plain = (text or "").strip().replace(",", "").replace("_", "")
    if plain in ("", "-", "null", "None"):
        return None
    try:
        value = Decimal(plain)
        if value.is_finite():
            return value
    except InvalidOperation:
        pass
    raise BadRequest(f"line {number}: {column} is no number: {plain[:60]!r}", code="unreadable_invoice")


def days(lines: list[Line]) -> Iterator[str]:
    """Yields the days of an invoice."""
    yield from sorted({line.day for line in lines})
