"""The Azure trace: when a production service was asked, with how long a prompt, and for how long an answer."""

from __future__ import annotations

import csv
import datetime
import random
from collections.abc import Sequence

from harness import rig
from harness.traffic import Ask, words

FILE = "traces/AzureLLMInferenceTrace_code.csv"
LONGEST_CONTEXT = 400
"""Prompts are cut to so many words: both simulators and the load share a core, and would queue on reading them."""

Schedule = list[tuple[float, Ask]]


def azure(*, faster: float = 20.0, seed: int = 1) -> Schedule:
    """Returns the whole trace, so many times faster: seconds and calls, every second one streamed.

    An answer is as long as the trace's (its words are the call's text, which the upstream repeats).
    """
    chance = random.Random(seed)
    with (rig.shared_data() / FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    times = [datetime.datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in rows]
    filler = words(LONGEST_CONTEXT, chance).split()
    schedule = []
    for number, (time, row) in enumerate(zip(times, rows, strict=True)):
        text = f"{number} {words(max(1, int(row['GeneratedTokens']) - 1), chance)}"
        context = " ".join(filler[: min(LONGEST_CONTEXT, int(row["ContextTokens"]))])
        schedule.append(((time - times[0]) / faster, Ask(text, stream=number % 2 == 0, context=context)))
    return schedule


def part(schedule: Sequence[tuple[float, Ask]], start: float, length: float) -> Schedule:
    """Returns the calls of ``length`` seconds from ``start``, their times counted from there."""
    return [(at - start, ask) for at, ask in schedule if start <= at < start + length]


def busiest(schedule: Sequence[tuple[float, Ask]], length: float, *, before: float = 0.0, after: float = 0.0) -> float:
    """Returns the start of the stretch of ``length`` seconds whose slowest half second has the most calls.

    ``before`` and ``after`` are seconds that the trace must have around it.
    """
    halves = [0] * (int(schedule[-1][0] * 2) + 1)
    for at, _ in schedule:
        halves[int(at * 2)] += 1
    width = max(1, round(length * 2))
    starts = range(round(before * 2), len(halves) - width - round(after * 2) + 1)
    return max(starts, key=lambda start: (min(halves[start : start + width]), sum(halves[start : start + width]))) / 2
