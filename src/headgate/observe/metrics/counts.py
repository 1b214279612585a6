"""What calls came to since the recorder began, as metrics: from the same figures that rollups are made of.

Labels are bounded: models that nobody configured are ``unknown``, and what comes after the first few hundred
combinations is ``other``.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from headgate.core.record import Record
from headgate.observe.metrics.text import Page
from headgate.stores.figures import Figures
from headgate.stores.sketch import Sketch, value_of

MOST = 500
"""Label combinations of calls that are told apart."""

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0)
SPEEDS = (5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 120.0, 200.0, 400.0)
OTHER = "other"
UNKNOWN = "unknown"
_US = 1e6

_Cell = tuple[str, str, str, int]


class Counts:
    """Counters; one thread adds, another one writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cells: dict[_Cell, Figures] = {}
        self._attempts: dict[tuple[str, str, str], int] = {}
        self.stored = 0

    def add(self, cells: Mapping[Any, Figures], records: list[Record]) -> None:
        """Adds what a batch came to: figures as ``rollups.Tally.minutes`` has them, and the Records themselves."""
        with self._lock:
            self.stored += len(records)
            for (_, model, deployment, outcome, status), figures in cells.items():
                self._cell(model, deployment, outcome, status, figures).merge(figures)
            made = Counter([(one.deployment, one.outcome, one.error) for record in records for one in record.attempts])
            for (deployment, outcome, error), count in made.items():
                key = (deployment if len(self._attempts) < MOST else OTHER, outcome, error)
                if key not in self._attempts and len(self._attempts) >= MOST:
                    key = (OTHER, outcome, OTHER)
                self._attempts[key] = self._attempts.get(key, 0) + count

    def write(self, page: Page) -> None:
        """Writes all families; each has its help even while it has no sample."""
        with self._lock:
            cells = {key: figures for key, figures in self._cells.items() if figures.calls or figures.cost}
            self._write_calls(page, cells)
            self._write_attempts(page)
            self._write_tokens(page, cells)
            models: dict[str, Figures] = {}
            for (model, *_), figures in cells.items():
                models.setdefault(model, Figures()).merge(figures)
        self._write_models(page, models)
        _write_times(page, models)

    def _cell(self, model: str, deployment: str, outcome: str, status: int, figures: Figures) -> Figures:
        if outcome == "refused" and "unknown_model" in figures.errors:
            model = UNKNOWN  # a name that callers made up
        key = (model, deployment, outcome, status)
        found = self._cells.get(key)
        if found is None:
            if len(self._cells) >= MOST:
                key = (OTHER, OTHER, outcome, 0)
            found = self._cells.setdefault(key, Figures())
        return found

    def _write_calls(self, page: Page, cells: Mapping[_Cell, Figures]) -> None:
        page.family("headgate_calls_total", "counter", "Calls by model, deployment, outcome and HTTP status.")
        for (model, deployment, outcome, status), figures in sorted(cells.items()):
            labels = {"model": model, "deployment": deployment, "outcome": outcome, "status": str(status)}
            page.sample("headgate_calls_total", figures.calls, labels)
        page.family("headgate_errors_total", "counter", "Calls that ended with an error, by model and error code.")
        errors: dict[tuple[str, str], int] = {}
        for (model, *_), figures in cells.items():
            for code, count in figures.errors.items():
                errors[model, code] = errors.get((model, code), 0) + count
        for (model, code), count in sorted(errors.items()):
            page.sample("headgate_errors_total", count, {"model": model, "code": code})

    def _write_attempts(self, page: Page) -> None:
        page.family("headgate_attempts_total", "counter", "Attempts at deployments, by outcome and error code.")
        for (deployment, outcome, error), count in sorted(self._attempts.items()):
            labels = {"deployment": deployment, "outcome": outcome, "code": error}
            page.sample("headgate_attempts_total", count, labels)

    def _write_tokens(self, page: Page, cells: Mapping[_Cell, Figures]) -> None:
        arms: dict[tuple[str, str], Figures] = {}
        for (model, deployment, *_), figures in sorted(cells.items()):
            arms.setdefault((model, deployment), Figures()).merge(figures)
        page.family("headgate_tokens_total", "counter", "Tokens of answers; cached ones are of input.")
        for (model, deployment), figures in arms.items():
            for kind in ("input", "output", "cached"):
                labels = {"model": model, "deployment": deployment, "kind": kind}
                page.sample("headgate_tokens_total", getattr(figures, f"{kind}_tokens"), labels)
        page.family("headgate_cost_dollars_total", "counter", "Cost of all attempts that have a price, in dollars.")
        for (model, deployment), figures in arms.items():
            labels = {"model": model, "deployment": deployment}
            page.sample("headgate_cost_dollars_total", figures.cost / 1e9, labels)
        page.family("headgate_unpriced_calls_total", "counter", "Calls of which something was billed without a price.")
        for (model, deployment), figures in arms.items():
            labels = {"model": model, "deployment": deployment}
            page.sample("headgate_unpriced_calls_total", figures.unpriced, labels)

    def _write_models(self, page: Page, models: Mapping[str, Figures]) -> None:
        page.family("headgate_fallbacks_total", "counter", "Answers of another deployment than the first one tried.")
        for model, figures in models.items():
            page.sample("headgate_fallbacks_total", figures.fallbacks, {"model": model})
        page.family("headgate_empty_answers_total", "counter", "Completed answers without a single token.")
        for model, figures in models.items():
            page.sample("headgate_empty_answers_total", figures.empty, {"model": model})
        page.family("headgate_finishes_total", "counter", "Answers by finish reason.")
        for model, figures in models.items():
            for reason, count in figures.finishes.items():
                page.sample("headgate_finishes_total", count, {"model": model, "reason": reason})
        page.family("headgate_cache_verdicts_total", "counter", "Calls by verdict of the cache.")
        for model, figures in models.items():
            for verdict, count in figures.caches.items():
                page.sample("headgate_cache_verdicts_total", count, {"model": model, "verdict": verdict})


def _write_times(page: Page, models: Mapping[str, Figures]) -> None:
    for name, about, part, scale, edges in (
        ("headgate_call_duration_seconds", "How long completed calls took.", "latency", _US, SECONDS),
        ("headgate_first_content_seconds", "When completed streams began.", "first_content", _US, SECONDS),
        ("headgate_tokens_per_second", "Output tokens per second of completed calls.", "speed", 1.0, SPEEDS),
    ):
        page.family(name, "histogram", f"{about} From sketches: edges and sum are within 1 %.")
        for model, figures in models.items():
            sketch: Sketch = getattr(figures, part)
            counts = sketch.counts_up_to([edge * scale for edge in edges])
            total = sum(value_of(number) * count for number, count in sketch.bins.items()) / scale
            page.histogram(name, edges, counts, sketch.count, total, {"model": model})
