"""A Plot: a chart as data for the browser's library, and the same numbers as a table for everybody else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from headgate.console.look import count, moment, money, percent, span

Unit = Literal["count", "money", "span", "percent"]
_SHOW: dict[Unit, Any] = {
    "count": count,
    "money": lambda value: money(None if value is None else int(value)),
    "span": span,
    "percent": percent,
}
_SCALE: dict[Unit, float] = {"count": 1, "money": 1e9, "span": 1000, "percent": 0.01}
"""What a value is divided by for the chart's axis: dollars, milliseconds, percent."""


class Line(msgspec.Struct, frozen=True):
    """One series: its name, the number of its colour, its values (None for a gap), and how it is drawn."""

    name: str
    color: int
    values: Sequence[float | None]
    style: Literal["line", "bars"] = "line"


class Plot(msgspec.Struct, frozen=True):
    """A chart.

    Attributes:
        title: what it shows.
        unit: of all its values: counts, nano-dollars, µs, or parts of one.
        times_ns: the begin of each step.
        lines: the series, those drawn first first.
    """

    title: str
    unit: Unit
    times_ns: Sequence[int]
    lines: Sequence[Line]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to see."""
        values = [value for line in self.lines for value in line.values]
        # No call costs and lasts nothing; a share of none is something to see.
        return all(value is None for value in values) if self.unit == "percent" else not any(values)

    @property
    def data(self) -> str:
        """The chart as JSON, for the browser."""
        scale = _SCALE[self.unit]
        lines = [
            {
                "name": line.name,
                "color": line.color,
                "style": line.style,
                "values": [None if value is None else round(value / scale, 6) for value in line.values],
            }
            for line in self.lines
        ]
        times = [time // 1_000_000_000 for time in self.times_ns]
        return msgspec.json.encode({"unit": self.unit, "times": times, "lines": lines}).decode()

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """The same numbers in words, newest first."""
        show = _SHOW[self.unit]
        return [
            (moment(time, "minutes"), [show(line.values[index]) for line in self.lines])
            for index, time in reversed(list(enumerate(self.times_ns)))
        ]
