"""The playground: ask one or two models side by side; the answers stream, with their times and costs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from headgate.compose import Core
from headgate.console.look import money, span
from headgate.console.page import Page, View, Visit, Words
from headgate.core.call import Call, Principal
from headgate.core.errors import BadRequest, HeadgateError
from headgate.core.event import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta, ToolCallStart
from headgate.core.record import Record
from headgate.core.reply import Reply

DIALECT = "openai_chat"
TAG = {"from": "playground"}
_PASSED = (b"x-forwarded-for",)


def _show(visit: Visit) -> View:
    core = visit.desk.core
    allowed = visit.visitor.principal.models
    models = [name for name in core.settings.models if allowed is None or name in allowed]
    direct = ["sim/echo"] if core.keys.empty or visit.visitor.principal.direct else []
    data = {
        "models": models,
        "suggested": [*models, *direct],
        "first": visit.query.get("model") or (models or direct or [""])[0],
        "second": visit.query.get("other"),
    }
    return View("playground.html", data)


def read_question(form: Words) -> bytes:
    """Returns the request that a form asks for.

    Raises:
        BadRequest: no model, no prompt, or a number that is none.
    """
    if not form.get("model") or not form.get("prompt"):
        raise BadRequest("Name a model, and write something to it.", code="missing_field")
    messages = [{"role": "user", "content": form.get("prompt")}]
    if form.get("system"):
        messages.insert(0, {"role": "system", "content": form.get("system")})
    asked: dict[str, Any] = {"model": form.get("model"), "messages": messages, "stream": True}
    if form.get("max_tokens"):
        asked["max_tokens"] = form.number("max_tokens", 0, 1, 1_000_000)
    if form.get("temperature"):
        try:
            asked["temperature"] = float(form.get("temperature"))
        except ValueError:
            raise BadRequest("temperature must be a number", code="invalid_value", param="temperature") from None
    return msgspec.json.encode(asked)


async def ask(
    core: Core, principal: Principal, question: bytes, headers: Mapping[bytes, bytes], peer: str
) -> AsyncIterator[bytes]:
    """Makes the call as the visitor's own; yields what comes of it, a JSON object on each line.

    ``{"text"}`` and ``{"thought"}`` are pieces; the last line is ``{"end"}`` with times, tokens and cost, or
    ``{"error"}`` with its code. A reader who leaves ends the call.
    """
    record = Record(core.ids.new(), core.clock.time_ns(), dialect=DIALECT, tags=dict(TAG))
    passed = {name: headers[name] for name in _PASSED if name in headers}
    call = Call(
        record,
        core.dialects[DIALECT],
        question,
        core.clock.monotonic(),
        headers=passed,
        peer=peer,
        principal=principal,
    )
    reply: Reply | None = None
    problem: HeadgateError | None = None
    try:
        reply = await core.handler(call)
        while frames := await reply.batch():
            pieces = [piece for frame in frames for event in frame.events if (piece := _piece(event)) is not None]
            if pieces:
                yield b"".join(msgspec.json.encode(piece) + b"\n" for piece in pieces)
    except HeadgateError as error:
        problem = error
    finally:
        if reply is not None:
            await reply.aclose()
        if call.settle is not None:
            await call.settle
    yield msgspec.json.encode(_ending(record, problem)) + b"\n"


def _piece(event: Any) -> dict[str, str] | None:
    if isinstance(event, TextDelta | RefusalDelta):
        return {"text": event.text} if not event.choice and event.text else None
    if isinstance(event, ReasoningDelta):
        return {"thought": event.text} if event.text else None
    if isinstance(event, ToolCallStart):
        return {"text": f"\n[tool call {event.name}] "}
    return {"text": event.arguments} if isinstance(event, ToolCallDelta) else None


def _ending(record: Record, problem: HeadgateError | None) -> dict[str, Any]:
    usage = record.usage
    winner = record.attempts[record.winner] if 0 <= record.winner < len(record.attempts) else None
    end = {
        "id": record.id,
        "deployment": winner.deployment if winner is not None else "",
        "first": span(record.first_content_us),
        "took": span(record.duration_us),
        "tokens": f"{usage.input:,} in, {usage.output:,} out" if usage is not None else "",
        "cost": "no price" if record.cost is None else money(record.cost),
        "finish": record.finish,
    }
    if problem is not None:
        return {"error": {"code": problem.code, "message": problem.message}, "end": end}
    return {"end": end}


PAGES = (Page(path="/playground", does=_show, role="developer", title="Playground", group="Try"),)
