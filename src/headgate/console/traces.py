"""The page of traces: all calls of one pipeline run or session, in the order in which they came."""

from __future__ import annotations

from typing import Any, Literal

from headgate.console.calls import row_of
from headgate.console.page import Page, View, Visit
from headgate.stores.query import CallStore, Filters
from headgate.stores.runs import Run, recent_runs

_MOST = 300
_RUNS = 50


def _show(visit: Visit) -> View:
    query = visit.query
    for kind in ("trace", "session"):
        if query.get(kind):
            return _one(visit, kind, query.get(kind))
    wanted: Literal["trace", "session"] = "session" if query.get("kind") == "session" else "trace"
    before = query.number("before", 0) or None
    runs: list[Run] = recent_runs(visit.desk.engine, wanted, _RUNS, before)
    last = runs[-1].last_ns if len(runs) == _RUNS else None
    return View("traces.html", {"kind": wanted, "runs": runs, "next": last, "paged": before is not None})


def _one(visit: Visit, kind: str, name: str) -> View:
    filters = Filters(trace=name) if kind == "trace" else Filters(session=name)
    stories, more = CallStore(visit.desk.engine).page(filters, _MOST)
    stories.reverse()
    begin = min((story["time_ns"] for story in stories), default=0)
    end = max((story["time_ns"] + max(story["duration_us"], 0) * 1000 for story in stories), default=0)
    data = {
        "kind": kind,
        "name": name,
        "rows": [(row_of(story), _bar(story, begin, max(1, end - begin))) for story in stories],
        "took": (end - begin) / 1000,
        "cost": sum(story["cost"] or 0 for story in stories),
        "input": sum(story["input_tokens"] or 0 for story in stories),
        "output": sum(story["output_tokens"] or 0 for story in stories),
        "failed": sum(story["outcome"] == "failed" for story in stories),
        "more": more is not None,
    }
    return View("trace.html", data)


def _bar(story: dict[str, Any], begin: int, total: int) -> tuple[float, float]:
    """Where a call lies in its run: begin and length, in percent of it."""
    start = 100 * (story["time_ns"] - begin) / total
    return round(min(start, 99.5), 2), round(max(0.5, 100 * max(story["duration_us"], 0) * 1000 / total), 2)


PAGES = (Page(path="/traces", does=_show, title="Traces", group="Watch"),)
