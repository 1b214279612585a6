"""Behaviour: the typed, seeded description of what the simulated provider answers, how fast, and how it fails."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from headgate.sim.distribution import INSTANT, Distribution
from headgate.sim.draws import Draws
from headgate.sim.fault import Fault


class ToolUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call that a rule makes; ``arguments`` None: generated from the tool's schema."""

    name: str
    arguments: dict[str, Any] | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What to answer, and when: the first rule that fits a request answers it.

    Attributes:
        match: searched for in the last user message; None fits all.
        model: a shell pattern for the model's name, e.g. ``"gpt-*"``.
        texts: given answers, taken in turn.
        words: how many tokens of generated text.
        echo: repeat the last user message.
        json: an object to answer as JSON text.
        tools: tool calls, in parallel; ignored for a request whose last message is a tool's result.
        reasoning: shown before the answer, whether asked for or not.
        fault: how the call fails instead.
    """

    match: re.Pattern[str] | None = None
    model: str = "*"
    texts: tuple[str, ...] = ()
    words: Distribution | None = None
    echo: bool = False
    json: Any = None
    tools: tuple[ToolUse, ...] = ()
    reasoning: str = ""
    fault: Fault | None = None


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """How the simulated provider behaves. The default: echoes at once, and never fails.

    Attributes:
        seed: everything random follows from it, the request's bytes, and how often that request came before.
        speed: tokens per second, drawn once per call; 0 is instant.
        first_token: seconds from the request to the first token, drawn once per call.
        headers: seconds from the request to a stream's response head, at most ``first_token``.
        answers: rules, tried in order.
        default: what answers when no rule and no model name says it: ``"echo"`` or ``"words-N"``.
        cached: the part of the input tokens that is reported as read from the provider's cache, 0..1.
        dimensions: of embeddings, where the request does not say.
        models: names that ``/v1/models`` lists besides the simulator's own.
        faults: tried in order; the first whose conditions hold happens.

    Example:
        >>> from headgate.sim.distribution import Constant
        >>> Behaviour(seed=7, speed=Constant(80.0), first_token=Constant(0.3)).default
        'echo'
    """

    seed: int = 0
    speed: Distribution = INSTANT
    first_token: Distribution = INSTANT
    headers: Distribution = INSTANT
    answers: tuple[Rule, ...] = ()
    default: str = "echo"
    cached: float = 0.0
    dimensions: int = 1536
    models: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


class Pace(msgspec.Struct, frozen=True):
    """The times of one call, in seconds after its request: head, first token, then ``gap`` between tokens."""

    head: float = 0.0
    first: float = 0.0
    gap: float = 0.0


INSTANTLY = Pace()


def draw_pace(behaviour: Behaviour, draws: Draws, speed: float | None = None, first: float | None = None) -> Pace:
    """Draws one call's times; ``speed`` (tokens/s) and ``first`` (s) override the behaviour's."""
    if speed is None and behaviour.speed is INSTANT and first is None and behaviour.first_token is INSTANT:
        return INSTANTLY
    if first is None:
        first = behaviour.first_token.draw(draws)
    head = min(first, behaviour.headers.draw(draws))
    rate = behaviour.speed.draw(draws) if speed is None else speed
    return Pace(head, first, 1.0 / rate if rate > 0 else 0.0)
