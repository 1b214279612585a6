"""Tool calls as they stream: which piece belongs to which call, whatever the server does with indexes and ids."""

from __future__ import annotations

from typing import Any

from headgate.core.event import Event, ToolCallDelta, ToolCallStart
from headgate.dialects.openai_chat.wire import Function, WireToolCall, arguments_of

LEGACY = "function_call"
"""Key in ``ToolCallStart.extra`` that marks a call of the old ``functions`` interface."""
CUSTOM = "custom"
"""Key in ``ToolCallStart.extra`` that marks a call of a custom tool, whose arguments are free text."""

_LEGACY_INDEX = -1


class CallTracker:
    """Numbers the tool calls of one answer and turns their pieces into events.

    OpenAI numbers calls by ``index`` and names id and function once. Others leave the index out, give every
    call index 0, repeat id and name in each piece, or leave the id out: all come out as OpenAI means it.
    """

    __slots__ = ("_answer_id", "_by_wire", "_counts", "_ids", "_last")

    def __init__(self, answer_id: str = "") -> None:
        """Args:
        answer_id: goes into the ids of calls that came without one.
        """
        self._answer_id = answer_id
        self._by_wire: dict[tuple[int, int], int] = {}
        self._ids: dict[tuple[int, int], str] = {}
        self._counts: dict[int, int] = {}
        self._last: dict[int, int] = {}

    def calls(self, choice: int) -> int:
        """Returns how many calls the choice has made so far."""
        return self._counts.get(choice, 0)

    def pieces(self, choice: int, calls: list[WireToolCall]) -> list[Event]:
        """Returns the events of one delta's ``tool_calls``."""
        events: list[Event] = []
        for call in calls:
            extra: dict[str, Any] = {}
            if call.custom is not None:
                name, arguments = call.custom.name or "", call.custom.input or ""
                extra[CUSTOM] = True
            elif call.function is not None:
                name, arguments = call.function.name or "", arguments_of(call.function)
            else:
                name = arguments = ""
            if call.extra_content:
                extra["extra_content"] = call.extra_content
            self._add(events, choice, call.index, call.id or "", name, arguments, extra)
        return events

    def legacy(self, choice: int, call: Function) -> list[Event]:
        """Returns the events of one delta's ``function_call``."""
        events: list[Event] = []
        self._add(events, choice, _LEGACY_INDEX, "", call.name or "", arguments_of(call), {LEGACY: True})
        return events

    def _add(
        self,
        events: list[Event],
        choice: int,
        wire_index: int | None,
        id: str,
        name: str,
        arguments: str,
        extra: dict[str, Any],
    ) -> None:
        index = self._known(choice, wire_index, id, name)
        if index is None:
            index = self._counts.get(choice, 0)
            self._counts[choice] = index + 1
            self._ids[choice, index] = id
            if wire_index is not None:
                self._by_wire[choice, wire_index] = index
            events.append(ToolCallStart(index, id or self._made_up(choice, index), name, choice, extra=extra))
        self._last[choice] = index
        if arguments:
            events.append(ToolCallDelta(index, arguments, choice))

    def _known(self, choice: int, wire_index: int | None, id: str, name: str) -> int | None:
        """Returns the index of the call that a piece continues, or None where it opens one."""
        index = self._last.get(choice) if wire_index is None else self._by_wire.get((choice, wire_index))
        if index is None:
            return None
        if wire_index is None:
            continues = not name or (bool(id) and id == self._ids[choice, index])
        else:
            # vLLM once gave each piece a fresh id, so only an id with a name says that the index is reused.
            continues = not (id and name) or id == self._ids[choice, index]
        return index if continues else None

    def _made_up(self, choice: int, index: int) -> str:
        stem = "".join(letter for letter in self._answer_id if letter.isalnum())[-24:]
        return f"call_{stem}_{choice}_{index}"
