"""The engine: one request in, one Answer out; both fronts (the server and the in-process one) share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from headgate.core.clock import Clock, SystemClock
from headgate.core.errors import ConfigError
from headgate.sim import wire_anthropic, wire_openai
from headgate.sim.ask import Ask, BadAsk, Wire
from headgate.sim.ask_anthropic import count_input, read_messages
from headgate.sim.ask_openai import read_chat, read_embeddings
from headgate.sim.behaviour import INSTANTLY, Behaviour, draw_pace
from headgate.sim.draft import Draft, blank, filtered, find_rule, write_draft
from headgate.sim.draws import Draws, call_key
from headgate.sim.fault import Fault, parse_fault, parse_fault_header
from headgate.sim.meter import Meter
from headgate.sim.play import Answer
from headgate.sim.refusal import JSON, refuse, refuse_ask, refuse_by_fault
from headgate.sim.spoil import Spoiler, spoil

MODELS = ("echo", "words-50", "words-200", "words-1000", "tools-2")
"""Models that always answer; any other name works as well, by the behaviour's default."""

_SSE = b"text/event-stream; charset=utf-8"
_ANSWERS = ("empty", "content-filter")
_REMEMBERED = 100_000
Headers = Mapping[bytes, bytes]


class Sim:
    """A simulated provider: what it does, and what it has seen.

    Attributes:
        behaviour: what it does now; replace it by ``load``.
        meter: what it has seen.
    """

    def __init__(self, behaviour: Behaviour | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.meter = Meter()
        self.load(behaviour or Behaviour())

    def load(self, behaviour: Behaviour) -> None:
        """Behaves so from now on; schedules and counts start anew."""
        self.behaviour = behaviour
        # The listener follows these itself, so they must not outlast their time in a call's fault.
        self._schedules = [
            msgspec.structs.replace(fault, for_s=0.0) for fault in behaviour.faults if _is_schedule(fault)
        ]
        self._faults = (*self._schedules, *(fault for fault in behaviour.faults if not _is_schedule(fault)))
        self.reset()

    def reset(self) -> None:
        """Starts schedules, counts, turns and the meter anew."""
        self.started = self.clock.monotonic()
        self._seen: dict[int, int] = {}
        self._turns = [0] * len(self.behaviour.answers)
        self._fits = [0] * len(self._faults)
        self.meter.reset()

    def elapsed(self) -> float:
        """Seconds since the start of the schedules."""
        return self.clock.monotonic() - self.started

    def scheduled(self, kind: Literal["refuse", "tls-failure"]) -> bool:
        """Whether the listener is to do ``kind`` now, by a fault that nothing but time decides."""
        return any(fault.kind == kind and fault.when.holds_at(self.elapsed()) for fault in self._schedules)

    def answer(self, method: str, path: str, headers: Headers, body: bytes) -> Answer:
        """Answers one request; counts it as started, the front counts its end (``meter.end``).

        Args:
            method: ``"POST"``…
            path: without query.
            headers: lower-case names.
            body: whole.
        """
        wire: Wire = "anthropic" if b"anthropic-version" in headers or path.startswith("/v1/messages") else "openai"
        try:
            answer = self._route(wire, method, path, headers, body)
        except BadAsk as error:
            answer = refuse_ask(wire, error)
        except ConfigError as error:
            answer = refuse(wire, 400, error.message)
        self.meter.start(answer.status, answer.model, answer.fault, answer.input_tokens, answer.output_tokens)
        return answer

    def _route(self, wire: Wire, method: str, path: str, headers: Headers, body: bytes) -> Answer:
        if method == "POST":
            if path == "/v1/chat/completions":
                return self._chat(read_chat(body), headers, body)
            if path == "/v1/messages":
                return self._chat(read_messages(body), headers, body)
            if path == "/v1/messages/count_tokens":
                return Answer(headers={b"content-type": JSON}, body=wire_anthropic.render_count(count_input(body)))
            if path == "/v1/embeddings":
                return self._embeddings(headers, body)
        elif method == "GET" and path.startswith("/v1/models"):
            return self._models(wire, path.removeprefix("/v1/models").removeprefix("/"))
        known = path in ("/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/v1/embeddings")
        if known:
            return refuse(wire, 405, f"{method} is not allowed here; use POST")
        return refuse(wire, 404, f"unknown path {path}; this is headgate sim")

    def _models(self, wire: Wire, name: str) -> Answer:
        module = wire_anthropic if wire == "anthropic" else wire_openai
        names = tuple(dict.fromkeys((*self.behaviour.models, *MODELS)))
        if not name:
            return Answer(headers={b"content-type": JSON}, body=module.render_models(names))
        if name not in names:
            return refuse(wire, 404, f"The model '{name}' does not exist")
        return Answer(headers={b"content-type": JSON}, body=module.render_model(name))

    def _chat(self, ask: Ask, headers: Headers, body: bytes) -> Answer:
        behaviour = self.behaviour
        draws = self._draws(headers, body)
        word, named = read_model(ask.model)
        index = find_rule(behaviour, ask, word) if behaviour.answers else None
        rule = None if index is None else behaviour.answers[index]
        fault = _fault_by_header(headers) or named or (rule.fault if rule else None)
        if fault is None and behaviour.faults:
            fault = self._find_fault(ask.wire, word, ask.text, ask.stream, headers, draws)
        if fault is not None:
            refusal = refuse_by_fault(fault, ask.wire, ask.input_tokens, self.clock.time_ns() / 1e9)
            if refusal is not None:
                refusal.model = ask.model
                return refusal
        draft = write_draft(behaviour, ask, word, draws, rule, lambda: self._turn(index))
        if fault is not None and fault.kind in _ANSWERS:
            draft = blank(draft) if fault.kind == "empty" else filtered(draft)
        answer = self._perform(draft, ask, headers, draws)
        if fault is None:
            return answer

        def other() -> Answer:
            fresh = Draws(draws.bits())
            return self._perform(write_draft(behaviour, ask, "words-40", fresh, None, int), ask, headers, fresh)

        return spoil(fault, answer, _spoiler(ask.wire, fault, other))

    def _perform(self, draft: Draft, ask: Ask, headers: Headers, draws: Draws) -> Answer:
        pace = draw_pace(
            self.behaviour,
            draws,
            speed=_number(headers, b"x-sim-speed"),
            first=_number(headers, b"x-sim-first-token-ms", 0.001),
        )
        anthropic = ask.wire == "anthropic"
        amount = draft.output_tokens
        answer = Answer(
            headers={
                b"content-type": _SSE if ask.stream else JSON,
                b"request-id" if anthropic else b"x-request-id": b"req_" + draft.id.encode(),
            },
            model=ask.model,
            input_tokens=draft.input_tokens,
            output_tokens=amount,
        )
        if ask.stream:
            answer.content = amount + sum(len(choice.calls) for choice in draft.choices)
            answer.pieces = wire_anthropic.stream(draft, pace) if anthropic else wire_openai.stream(draft, ask, pace)
        else:
            answer.at = pace.first + draft.longest * pace.gap if pace is not INSTANTLY else 0.0
            answer.body = wire_anthropic.render(draft) if anthropic else wire_openai.render(draft)
        return answer

    def _embeddings(self, headers: Headers, body: bytes) -> Answer:
        ask = read_embeddings(body)
        draws = self._draws(headers, body)
        word, named = read_model(ask.model)
        fault = _fault_by_header(headers) or named
        if fault is None and self.behaviour.faults:
            fault = self._find_fault("openai", word, "", False, headers, draws)
        if fault is not None:
            refusal = refuse_by_fault(fault, "openai", ask.input_tokens, self.clock.time_ns() / 1e9)
            if refusal is not None:
                refusal.model = ask.model
                return refusal
        made = wire_openai.render_embeddings(ask, self.behaviour.dimensions)
        at = draw_pace(self.behaviour, draws, first=_number(headers, b"x-sim-first-token-ms", 0.001)).first
        answer = Answer(
            headers={b"content-type": JSON}, body=made, at=at, model=ask.model, input_tokens=ask.input_tokens
        )
        if fault is None:
            return answer
        return spoil(fault, answer, _spoiler("openai", fault, lambda: Answer(body=made)))

    def _draws(self, headers: Headers, body: bytes) -> Draws:
        pinned = headers.get(b"x-sim-seed")
        if pinned is not None:
            try:
                return Draws(call_key(int(pinned), body, 0))
            except ValueError:
                raise ConfigError("x-sim-seed: must be a whole number") from None
        key = call_key(self.behaviour.seed, body, 0)
        if len(self._seen) > _REMEMBERED:
            self._seen.clear()
        occurrence = self._seen[key] = self._seen.get(key, -1) + 1
        return Draws(key ^ occurrence)

    def _turn(self, index: int | None) -> int:
        if index is None:
            return 0
        self._turns[index] += 1
        return self._turns[index] - 1

    def _find_fault(
        self, wire: Wire, model: str, text: str, stream: bool, headers: Headers, draws: Draws
    ) -> Fault | None:
        elapsed = self.elapsed()
        for index, fault in enumerate(self._faults):
            when = fault.when
            if not when.holds_at(elapsed) or not when.fits(wire, model, text, stream, headers):
                continue
            count = self._fits[index]
            self._fits[index] += 1
            if when.is_due(count) and (when.probability >= 1.0 or draws.uniform() < when.probability):
                return fault
        return None


def _is_schedule(fault: Fault) -> bool:
    return fault.kind in ("refuse", "tls-failure") and fault.when.by_time_only


def read_model(name: str) -> tuple[str, Fault | None]:
    """Splits a model name: ``sim/words-200+hang-mid-stream`` → ``words-200`` and the fault; ``fail-503`` → the fault.

    Raises:
        ConfigError: a fault that there is none of; names the nearest.
    """
    name = name.removeprefix("sim/")
    if name.startswith("fail-"):
        return "", parse_fault(name[5:], f"model '{name}'")
    word, plus, kind = name.partition("+")
    return word, parse_fault(kind, f"model '{name}'") if plus else None


def _fault_by_header(headers: Headers) -> Fault | None:
    text = headers.get(b"x-sim-fault")
    return parse_fault_header(text.decode("latin-1")) if text else None


def _number(headers: Headers, name: bytes, scale: float = 1.0) -> float | None:
    text = headers.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise ConfigError(f"{name.decode()}: must be zero or a positive number")
    return value * scale


def _spoiler(wire: Wire, fault: Fault, other: Callable[[], Answer]) -> Spoiler:
    module = wire_anthropic if wire == "anthropic" else wire_openai
    status = 529 if wire == "anthropic" else 500
    return Spoiler(
        ping=module.PING,
        error_event=module.error_event(status, fault.message),
        error_body=module.error_body(status, fault.message),
        other=other,
    )


def to_json(meter: Meter) -> bytes:
    """Renders the meter for ``GET /sim/meter``."""
    return msgspec.json.format(msgspec.json.encode(meter), indent=2) + b"\n"
