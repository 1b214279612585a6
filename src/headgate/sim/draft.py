"""The Draft: what the simulated model says, as tokens, before any wire renders it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from headgate.sim import tokens
from headgate.sim.ask import Ask, ToolOffer
from headgate.sim.behaviour import Behaviour, Rule, ToolUse
from headgate.sim.draws import Draws
from headgate.sim.instance import make_instance
from headgate.sim.words import generate_words

MAX_WORDS = 100_000
_split_often = functools.lru_cache(maxsize=256)(tokens.split)  # its lists are shared: never changed in place


class Call(msgspec.Struct):
    """A tool call: ``pieces`` join to the JSON of its arguments."""

    id: str
    name: str
    pieces: list[str]


class Choice(msgspec.Struct):
    """One answer. ``finish`` is ``stop``, ``length``, ``tool_calls``, ``stop_sequence`` or ``content_filter``."""

    reasoning: list[str] = []
    text: list[str] = []
    calls: list[Call] = []
    finish: str = "stop"
    stop: str | None = None

    @property
    def size(self) -> int:
        """Its tokens."""
        return len(self.reasoning) + len(self.text) + sum(len(call.pieces) for call in self.calls)


class Draft(msgspec.Struct):
    """All of what is said. ``id`` is 24 hex digits, without any dialect's prefix."""

    id: str
    model: str
    choices: list[Choice]
    input_tokens: int
    cached_tokens: int = 0

    @property
    def output_tokens(self) -> int:
        """Tokens of all choices."""
        return sum(choice.size for choice in self.choices)

    @property
    def reasoning_tokens(self) -> int:
        """Tokens of reasoning among them."""
        return sum(len(choice.reasoning) for choice in self.choices)

    @property
    def longest(self) -> int:
        """Tokens of the longest choice: choices are spoken side by side."""
        return max(choice.size for choice in self.choices)


def find_rule(behaviour: Behaviour, ask: Ask, model: str) -> int | None:
    """Returns the index of the first rule that fits, or None."""
    for index, rule in enumerate(behaviour.answers):
        if fnmatchcase(model, rule.model) and (rule.match is None or rule.match.search(ask.text)):
            if rule.tools and (ask.after_tool or not ask.callable or not ask.tools):
                continue
            return index
    return None


def write_draft(
    behaviour: Behaviour, ask: Ask, word: str, draws: Draws, rule: Rule | None, turn: Callable[[], int]
) -> Draft:
    """Writes what the model says to one request.

    Args:
        behaviour: of the provider.
        ask: the request.
        word: the model's name without ``sim/`` and fault: ``echo``, ``words-200``, ``tools-2``, anything.
        draws: the call's random numbers.
        rule: the rule that fits, or None.
        turn: counts the rule's answers, for ``texts`` in turn.
    """
    identity = draws.word()
    position = turn() if rule is not None and rule.texts else 0
    choices = [_choice(behaviour, ask, word, draws, rule, position + index) for index in range(ask.n)]
    cached = int(ask.input_tokens * behaviour.cached)
    return Draft(identity, ask.model, choices, ask.input_tokens, cached)


def _choice(behaviour: Behaviour, ask: Ask, word: str, draws: Draws, rule: Rule | None, position: int) -> Choice:
    choice = Choice()
    if rule is not None and rule.reasoning:
        choice.reasoning = tokens.split(rule.reasoning)
    elif ask.reasoning:
        choice.reasoning = generate_words(draws, ask.reasoning)
    calls = _calls(ask, word, rule)
    if calls:
        choice.calls = [Call(draws.word(), name, tokens.split(arguments)) for name, arguments in calls]
        choice.finish = "tool_calls"
    else:
        choice.text = _text(behaviour, ask, word, draws, rule, position)
        _stop(choice, ask.stop)
    if ask.max_tokens is not None and choice.size > ask.max_tokens:
        _truncate(choice, ask.max_tokens)
    return choice


def _calls(ask: Ask, word: str, rule: Rule | None) -> list[tuple[str, str]]:
    if not ask.tools or not ask.callable:
        return []
    offers = {offer.name: offer for offer in ask.tools}
    if rule is not None and rule.tools:
        return [(use.name, _arguments(use, offers)) for use in (rule.tools if ask.parallel else rule.tools[:1])]
    kind, _, amount = word.partition("-")
    wanted = int(amount) if kind == "tools" and amount.isdigit() and not ask.after_tool else 0
    if ask.force and ask.force != "any":
        names: Sequence[str] = [ask.force]
    elif wanted or ask.force:
        every = list(offers)
        names = [every[index % len(every)] for index in range(min(wanted, 128) or 1)]
    else:
        names = ()
    return [(name, _arguments(ToolUse(name), offers)) for name in (names if ask.parallel else names[:1])]


def _arguments(use: ToolUse, offers: dict[str, ToolOffer]) -> str:
    value: Any = use.arguments
    if value is None:
        offer = offers.get(use.name)
        value = make_instance(offer.schema) if offer is not None else {}
    return msgspec.json.encode(value).decode()


def _text(behaviour: Behaviour, ask: Ask, word: str, draws: Draws, rule: Rule | None, position: int) -> list[str]:
    if rule is not None:
        if rule.texts:
            return tokens.split(rule.texts[position % len(rule.texts)])
        if rule.json is not None:
            return tokens.split(msgspec.json.encode(rule.json).decode())
        if rule.words is not None:
            return generate_words(draws, min(int(rule.words.draw(draws)), MAX_WORDS))
        if rule.echo:
            return _echo(ask.text)
    if ask.output is not None:
        value = {"echo": ask.text} if ask.output is True else make_instance(ask.output)
        return tokens.split(msgspec.json.encode(value).decode())
    for name in (word, behaviour.default):
        if name == "echo":
            break
        amount = words_asked(name)
        if amount is not None:
            return generate_words(draws, amount)
    return _echo(ask.text)


def _echo(text: str) -> list[str]:
    return _split_often(text) if len(text) <= 4096 else tokens.split(text)


def words_asked(name: str) -> int | None:
    """Returns the N of ``words-N``, or None for any other name."""
    kind, _, amount = name.partition("-")
    return min(int(amount), MAX_WORDS) if kind == "words" and amount.isdigit() else None


def _stop(choice: Choice, stops: tuple[str, ...]) -> None:
    if not stops:
        return
    text = "".join(choice.text)
    found = [(text.find(stop), stop) for stop in stops if stop and stop in text]
    if found:
        place, choice.stop = min(found)
        choice.text = tokens.split(text[:place])
        choice.finish = "stop_sequence"


def _truncate(choice: Choice, limit: int) -> None:
    choice.finish, choice.stop = "length", None
    choice.reasoning = choice.reasoning[:limit]
    left = limit - len(choice.reasoning)
    choice.text = choice.text[:left]
    left -= len(choice.text)
    kept = []
    for call in choice.calls:
        if left > 0:
            call.pieces = call.pieces[:left]
            left -= len(call.pieces)
            kept.append(call)
    choice.calls = kept


def blank(draft: Draft) -> Draft:
    """Returns the same draft with nothing said, for the fault ``empty``."""
    return Draft(draft.id, draft.model, [Choice() for _ in draft.choices], draft.input_tokens, draft.cached_tokens)


def filtered(draft: Draft) -> Draft:
    """Returns the same draft stopped half-way by a content filter."""
    choices = [Choice(text=choice.text[: len(choice.text) // 2], finish="content_filter") for choice in draft.choices]
    return Draft(draft.id, draft.model, choices, draft.input_tokens, draft.cached_tokens)
