"""One contestant's measurements.

A sample of the floor comes before each of its own, so that a drifting machine drifts under both.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import Any

from harness.contestants import Contestant
from harness.load import STREAM_EVENTS, Sample
from harness.procs import BenchError, cpu_seconds, memory_mb

CONNECTIONS = 64
ENOUGH, LONGEST_S = {"requests": 2_000, "events": 20_000}, 20.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long to measure: ``rounds`` samples of ``seconds`` each, ``starts`` starts."""

    seconds: float = 5.0
    rounds: int = 3
    starts: int = 3


@dataclasses.dataclass(frozen=True)
class Cost:
    """One loaded sample with what it cost the serving processes. CPU in µs per request, or per event of a stream."""

    user_us: float
    system_us: float
    sample: Sample

    @property
    def us(self) -> float:
        """User and system time together."""
        return self.user_us + self.system_us


def cost(contestant: Contestant, connections: int, seconds: float, *, stream: bool = False) -> Cost:
    """Loads a contestant once and returns what a request (or a relayed event) cost it.

    What it still has to do afterwards is waited for, so that it does not fall into the next contestant's sample.
    """
    contestant.settle()
    pids = contestant.pids()
    before = cpu_seconds(pids)
    sample = contestant.sample(connections, seconds, stream=stream)
    after = cpu_seconds(pids)
    contestant.settle()
    count = contestant.events(sample) if stream else sample.requests
    if sample.errors or not count:
        raise BenchError(f"{sample.errors} errors in {sample.requests} answers")
    return Cost((after[0] - before[0]) * 1e6 / count, (after[1] - before[1]) * 1e6 / count, sample)


def long_enough(seconds: float, warm: Sample, count: float, what: str) -> float:
    """Returns a longer time for a slow contestant: work cut by a sample's end is in its CPU time alone."""
    wanted = ENOUGH[what] * warm.seconds / max(1.0, count)
    return min(max(seconds, wanted), max(seconds, LONGEST_S))


def unary(contestant: Contestant, floor: Contestant | None, plan: Plan) -> dict[str, Any]:
    """Returns the unary half of a row."""
    recorder_before, done = sum(cpu_seconds(contestant.recorder())), 0
    warm = contestant.sample(CONNECTIONS, max(1.0, plan.seconds / 3))
    done += warm.requests
    seconds = long_enough(plan.seconds, warm, warm.requests, "requests")
    costs, floors = [], []
    for _ in range(plan.rounds):
        contestant.settle()
        if floor:
            floors.append(cost(floor, CONNECTIONS, max(1.0, plan.seconds / 2)).us)
        costs.append(cost(contestant, CONNECTIONS, seconds))
        done += costs[-1].sample.requests
    contestant.settle()
    recorder_us = (sum(cpu_seconds(contestant.recorder())) - recorder_before) * 1e6 / done
    single = contestant.sample(1, plan.seconds)
    us = statistics.median(c.us for c in costs)
    row: dict[str, Any] = {
        "cpu_us": us,
        "cpu_us_range": [min(c.us for c in costs), max(c.us for c in costs)],
        "cpu_user_us": statistics.median(c.user_us for c in costs),
        "cpu_system_us": statistics.median(c.system_us for c in costs),
        "recorder_us": recorder_us if contestant.recorder() else None,
        "cpu_with_recorder_us": us + recorder_us if contestant.recorder() else None,
        "requests_per_s": statistics.median(c.sample.requests / c.sample.seconds for c in costs),
        "requests_per_core_s": 1e6 / us if us else None,
        "p50_us_64": statistics.median(c.sample.p50_us for c in costs),
        "p99_us_64": statistics.median(c.sample.p99_us for c in costs),
        "p50_us_1": single.p50_us,
        "p99_us_1": single.p99_us,
        "requests": sum(c.sample.requests for c in costs),
    }
    if not contestant.pids():
        row = {k: v for k, v in row.items() if "cpu" not in k and "core" not in k}
    elif floors:
        row["nginx_us"] = statistics.median(floors)
        row["times_nginx"] = statistics.median(c.us / f for c, f in zip(costs, floors, strict=True))
    return row


def streamed(contestant: Contestant, plan: Plan) -> dict[str, Any]:
    """Returns the streamed half of a row; ``stream_absent`` says why there is none."""
    if contestant.stream_error:
        return {"stream_absent": contestant.stream_error}
    warm = contestant.sample(CONNECTIONS, max(1.0, plan.seconds / 3), stream=True)
    seconds = long_enough(plan.seconds, warm, contestant.events(warm), "events")
    costs = [cost(contestant, CONNECTIONS, seconds, stream=True) for _ in range(plan.rounds)]
    contestant.settle()
    first = contestant.first_content(min(3.0, plan.seconds))
    out: dict[str, Any] = {
        "event_us": statistics.median(c.us for c in costs),
        "event_us_range": [min(c.us for c in costs), max(c.us for c in costs)],
        "event_user_us": statistics.median(c.user_us for c in costs),
        "event_system_us": statistics.median(c.system_us for c in costs),
        "events_per_s": statistics.median(contestant.events(c.sample) / c.sample.seconds for c in costs),
        "events_per_stream": STREAM_EVENTS,
        "first_content_p50_us": first[0],
        "first_content_p99_us": first[1],
    }
    if not contestant.pids():
        out = {k: v for k, v in out.items() if not k.startswith("event_")}
    return out


def started(contestant: Contestant, plan: Plan) -> dict[str, Any]:
    """Starts a contestant, a fast one several times, leaves it running and returns start-up and idle memory."""
    times = [contestant.start()]
    while len(times) < plan.starts and sum(times) < 6.0:
        contestant.stop()
        times.append(contestant.start())
    time.sleep(0.5)
    return {"ready_s": min(times), "ready_s_all": times, "memory_idle_mb": contestant.memory()}


def row(contestant: Contestant, floor: Contestant | None, plan: Plan, *, kinds: set[str]) -> dict[str, Any]:
    """Returns a contestant's whole row; one that cannot take part has ``absent`` with the reason."""
    out: dict[str, Any] = {"key": contestant.key, "name": contestant.title}
    if contestant.note:
        out["note"] = contestant.note
    try:
        contestant.set_up()
        out |= started(contestant, plan)
        if "unary" in kinds:
            out |= unary(contestant, floor, plan)
        if "stream" in kinds:
            out |= streamed(contestant, plan)
        out["memory_loaded_mb"] = contestant.memory()
        if recorder := contestant.recorder():
            out["memory_recorder_mb"] = max(memory_mb(p) for p in recorder)
    except BenchError as error:
        out["absent"] = str(error)
    except Exception as error:
        out["absent"] = f"{type(error).__name__}: {error}"
    finally:
        contestant.stop()
    return out
