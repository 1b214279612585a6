"""Sketches: quantiles within 1 %, however the values were split before they were merged."""

from __future__ import annotations

import csv
import pathlib
import random

import pytest

from headgate.core.record import Record
from headgate.stores.figures import Figures, facts_of
from headgate.stores.sketch import ACCURACY, Sketch, bin_of, value_of

QUANTILES = (0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)


def check(values: list[float], sketch: Sketch) -> None:
    ordered = sorted(values)
    for q in QUANTILES:
        exact = ordered[int(q * (len(ordered) - 1))]
        found = sketch.quantile(q)
        assert found == pytest.approx(exact, rel=ACCURACY * 1.000001), q


def test_a_value_is_found_again() -> None:
    """What a bin stands for is within 1 % of every value in it, from a microsecond to a month, and below one."""
    for exponent in range(-20, 400):
        value = 1.08**exponent
        assert value_of(bin_of(value)) == pytest.approx(value, rel=ACCURACY * 1.000001)


def test_merged_sketches_of_the_azure_trace_are_exact_to_one_percent(shared_data: pathlib.Path) -> None:
    """Split over minutes, written as rollup rows, read and merged: every quantile of each figure is within 1 %."""
    with (shared_data / "traces" / "AzureLLMInferenceTrace_code.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["TIMESTAMP"]]
    assert len(rows) > 8000
    for column in ("ContextTokens", "GeneratedTokens"):
        parts: dict[str, Figures] = {}
        values = [float(row[column]) for row in rows if float(row[column]) > 0]
        for row in rows:
            if float(row[column]) > 0:
                part = parts.setdefault(row["TIMESTAMP"][:16], Figures())
                done = Record("x", 0, outcome="completed", duration_us=int(row[column]))
                part.add(facts_of(done, ""))
        whole = Figures()
        for part in random.Random(1).sample(list(parts.values()), len(parts)):
            whole.add_columns(part.to_columns())
        assert len(parts) > 40
        check(values, whole.latency)


def test_what_it_counts() -> None:
    """Its count, how much lies above a value, histograms; nothing that is not above 0."""
    sketch = Sketch()
    assert sketch.quantile(0.5) is None
    for value in (0, -1, 10, 20, 20, 4000):
        sketch.add(value)
    assert sketch.count == 4
    assert [sketch.above(edge) for edge in (0, 1, 15, 100, 9000)] == [4, 4, 3, 1, 0]
    assert sketch.counts_up_to([15, 100, 9000]) == [1, 3, 4]
    other = Sketch({bin_of(20): 1})
    other.merge(sketch)
    assert other.count == 5
