"""The text format of Prometheus: families of samples, each with its help, type and labels.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Page:
    """A page of metrics, written family by family."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: Kind, about: str) -> None:
        """Begins a family; the samples of one name stand together."""
        self._lines += [f"# HELP {name} {_escape(about)}", f"# TYPE {name} {kind}"]

    def sample(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Adds a sample."""
        shown = ",".join(f'{key}="{_escape(word, quote=True)}"' for key, word in labels.items()) if labels else ""
        self._lines.append(f"{name}{{{shown}}} {_number(value)}" if shown else f"{name} {_number(value)}")

    def histogram(
        self,
        name: str,
        edges: Sequence[float],
        counts: Sequence[int],
        total: int,
        sum_: float,
        labels: Mapping[str, str],
    ) -> None:
        """Adds a histogram's samples: ``counts`` of values up to each edge, ``total`` of all, their sum."""
        for edge, count in zip(edges, counts, strict=True):
            self.sample(f"{name}_bucket", count, {**labels, "le": _number(edge)})
        self.sample(f"{name}_bucket", total, {**labels, "le": "+Inf"})
        self.sample(f"{name}_sum", sum_, labels)
        self.sample(f"{name}_count", total, labels)

    def text(self) -> str:
        """Returns the page."""
        return "\n".join(self._lines) + "\n" if self._lines else ""


def gauge(page: Page, name: str, about: str, value: float) -> None:
    """Adds a gauge that has one sample."""
    page.family(name, "gauge", about)
    page.sample(name, value)


def counter(page: Page, name: str, about: str, value: float) -> None:
    """Adds a counter that has one sample."""
    page.family(name, "counter", about)
    page.sample(name, value)


def _escape(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    text = text.replace('"', r"\"") if quote else text
    # What ends a line for a reader of text, but not for Prometheus, would make two of one.
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.10g}"
