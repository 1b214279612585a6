"""One call's story as lines for a person: who asked, what was tried and when, what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from headgate.core.price import Rates, show_money
from headgate.core.usage import Usage

_BODY_LINES = 200


def tell(story: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of one call's story, as ``stores.rows.to_story`` gives it."""
    yield f"call      {story['id']}"
    yield f"time      {story['time']}"
    status = f", status {story['status']}" if story["status"] else ""
    yield f"outcome   {story['outcome']}{status}, took {span(story['duration_us'])}"
    if story["error"]:
        fault = f" ({story['fault']}'s fault)" if story["fault"] else ""
        yield f"error     {clean(story['error'])}{fault}: {clean(story['error_message'] or '')}"
    kind = "streamed" if story["stream"] else "unary"
    yield f"asked     model {clean(story['model'])}, {story['dialect']}, {kind}, {story['priority']}"
    yield f"answered  {_answer(story)}"
    if story["usage"] is not None:
        yield f"tokens    {_usage(story['usage'])}"
    yield f"cost      {_cost(story)}"
    yield f"bytes     {story['request_bytes']} in, {story['response_bytes']} out"
    yield f"key       {clean(story['key_name'] or '-')} {clean(story['key_id'])}".rstrip()
    for name in ("user", "team", "feature", "prompt", "trace", "session"):
        if story[name]:
            yield f"{name:<9} {clean(story[name])}"
    for name, value in story["tags"].items():
        yield f"tag       {clean(name)} = {clean(value)}"
    if story["lost"]:
        yield f"lost      {clean(', '.join(story['lost']))} (no counterpart in the upstream's dialect)"
    for name, note in story["notes"].items():
        yield f"note      {clean(name)}: {clean(msgspec.json.encode(note).decode())}"
    for said in story.get("feedback", ()):
        yield f"feedback  {_said(said)}"
    yield ""
    yield from _time_line(story)
    yield from _arithmetic(story)
    for name in ("request_body", "response_body"):
        if name in story:
            yield ""
            yield f"{name.replace('_', ' ')}:"
            yield from _body(story[name])
    if "request_body" not in story:
        yield ""
        yield "payloads  not kept"


def span(us: int) -> str:
    """Returns microseconds as a person writes them; ``-`` for a moment that never came."""
    if us < 0:
        return "-"
    if us < 1000:
        return f"{us} µs"
    return f"{us / 1000:.1f} ms" if us < 1_000_000 else f"{us / 1e6:.2f} s"


def clean(text: str, longest: int = 2000) -> str:
    """Returns text that can not steer a terminal: control characters become ``?``."""
    short = text if len(text) <= longest else text[: longest - 1] + "…"
    return short if short.isprintable() else "".join(c if c.isprintable() else "?" for c in short)


def _answer(story: dict[str, Any]) -> str:
    if story["winner"] < 0:
        return "by nobody" + (f" (last tried: {clean(story['deployment'])})" if story["deployment"] else "")
    wire = story["wire_finish"]
    own = f" (on the wire: {clean(wire)})" if wire and wire != story["finish"] else ""
    first = f", first content after {span(story['first_content_us'])}" if story["first_content_us"] >= 0 else ""
    return f"by {clean(story['deployment'])}, finish {story['finish'] or '-'}{own}{first}"


def _usage(usage: dict[str, Any]) -> str:
    extra = [f"{name.replace('_', ' ')} {n}" for name, n in usage.items() if name not in ("input", "output") and n]
    if usage["estimated"]:
        extra = [word for word in extra if not word.startswith("estimated")] + ["estimated by us"]
    return f"{usage['input']} in, {usage['output']} out" + (f" ({', '.join(extra)})" if extra else "")


def _cost(story: dict[str, Any]) -> str:
    if story["cost"] is None:
        return "unknown: the deployment had no price"
    notes = []
    if story["lost_cost"]:
        notes.append(f"{show_money(story['lost_cost'])} of it for attempts that did not answer")
    if story["unpriced"]:
        notes.append(f"without {story['unpriced']} attempts that have no price")
    return show_money(story["cost"]) + (f" ({', '.join(notes)})" if notes else "")


def _said(feedback: dict[str, Any]) -> str:
    score = "" if feedback["score"] is None else f"score {feedback['score']:g}"
    label = f"[{clean(feedback['label'])}]" if feedback["label"] else ""
    comment = clean(feedback["comment"] or "")
    words = " ".join(word for word in (score, label, comment) if word)
    who = "a reviewer" if feedback["source"] == "review" else "the caller"
    return f"{feedback['time'][:19]} from {who}: {words}"


def _arithmetic(story: dict[str, Any]) -> Iterator[str]:
    """What each attempt's cost is the sum of, at the rates of its moment."""
    for number, attempt in enumerate(story["attempts"], 1):
        if attempt["rates"] is None or attempt["usage"] is None:
            continue
        parts = Rates(**attempt["rates"]).parts(Usage(**attempt["usage"]))
        sums = [
            f"{count:,} {name} x {show_money(rate)}{'/M' if per_million else ''}"
            for name, count, rate, per_million in parts
        ]
        yield ""
        yield f"cost of attempt {number}: {' + '.join(sums) or 'nothing'} = {show_money(attempt['cost'])}"


def _time_line(story: dict[str, Any]) -> Iterator[str]:
    moments: list[tuple[int, str]] = [(0, "the call came in")]
    for number, attempt in enumerate(story["attempts"], 1):
        name = f"attempt {number} at {clean(attempt['deployment'])}"
        again = " over a kept connection" if attempt["reused_connection"] else ""
        moments.append((attempt["started_us"], f"{name} began{again}"))
        if attempt["first_content_us"] >= 0:
            moments.append((attempt["first_content_us"], f"{name}: first content"))
        if attempt["ended_us"] >= 0:
            moments.append((attempt["ended_us"], f"{name} {_end(attempt)}"))
    if story["duration_us"] >= 0:
        moments.append((story["duration_us"], f"the call ended: {story['outcome']}"))
    for at, what in sorted(moments, key=lambda moment: moment[0]):
        yield f"{span(at):>10}  {what}"


def _end(attempt: dict[str, Any]) -> str:
    parts = [attempt["outcome"] or "ended"]
    if attempt["status"]:
        parts.append(f"status {attempt['status']}")
    if attempt["error"]:
        sent = "" if attempt["sent"] or attempt["outcome"] == "skipped" else ", nothing was sent"
        parts.append(f"{clean(attempt['error'])}: {clean(attempt['error_message'])}{sent}")
    if attempt["finish"]:
        parts.append(f"finish {clean(attempt['finish'])}")
    if attempt["usage"] is not None:
        parts.append(_usage(attempt["usage"]))
    if attempt["upstream_id"]:
        parts.append(f"upstream's id {clean(attempt['upstream_id'])}")
    if attempt["upstream_model"] and attempt["upstream_model"] != attempt["model"]:
        parts.append(f"answered as {clean(attempt['upstream_model'])}")
    return ", ".join(parts)


def _body(text: str) -> Iterator[str]:
    lines = text.splitlines()
    for line in lines[:_BODY_LINES]:
        yield f"  {clean(line, 10_000)}"
    if len(lines) > _BODY_LINES:
        yield f"  … {len(lines) - _BODY_LINES} more lines; see --format json"
