"""Writes neutral messages as Anthropic's ``system`` and its alternating turns."""

from __future__ import annotations

from typing import Any

from headgate.core.message import AnyPart, Message, Refusal, Thinking, ToolCall
from headgate.dialects.anthropic.write_parts import Blocks, PartWriter
from headgate.dialects.unsaid import refuse_unsaid


def write_messages(messages: list[Message], writer: PartWriter) -> tuple[Any, list[dict[str, Any]]]:
    """Returns the ``system`` (None, a string or blocks) and the ``messages``.

    System and developer messages become ``system``, in their order. One in the middle of the conversation joins
    them there, for not every model takes one in place: its words and authority are kept, its place is named as
    lost. (In a conversation of this dialect it stays where it stood.) Where nothing else was said, the last
    system message is sent as the user's, since Anthropic wants a turn to answer; its role is named as lost.

    Raises:
        BadRequest: nothing of a user's message has a place here.
    """
    system: Blocks = []
    turns: list[tuple[str, Blocks]] = []
    spoken = any(message.role not in ("system", "developer") for message in messages)
    last_own = len(messages) - 1 if not spoken and not writer.native else -1
    at, seen = 0, False
    for index, message in enumerate(messages):
        blocks = _blocks(message, at, writer)
        if message.name is not None:
            writer.lose(f"messages[{at}].name")
        if index == last_own:
            writer.lose(f"messages[{at}].role")
            _turn(turns, "user", blocks)
        elif message.role in ("system", "developer"):
            if seen and writer.native:
                turns.append(("system", blocks))
            else:
                if seen:
                    writer.lose(f"messages[{at}]")
                system += blocks
        else:
            seen = True
            if message.role == "user" and not blocks and not writer.native:
                places = (f"messages[{at}].content[{index}]" for index in range(len(message.parts)))
                refuse_unsaid(zip(message.parts, places, strict=True), "Anthropic's messages")
            _turn(turns, "assistant" if message.role == "assistant" else "user", blocks)
        # Several results are one message neutrally, but one each in the caller's request (OpenAI's).
        at += max(1, len(message.parts)) if message.role == "tool" else 1
    written = [{"role": role, "content": writer.content(blocks)} for role, blocks in turns]
    return (writer.content(system) if system else None), written


def _turn(turns: list[tuple[str, Blocks]], role: str, blocks: Blocks) -> None:
    """Adds to the last turn where the role is the same: Anthropic's turns alternate, results are the user's."""
    if not blocks:
        return
    if turns and turns[-1][0] == role:
        turns[-1][1].extend(blocks)
    else:
        turns.append((role, blocks))


def _blocks(message: Message, at: int, writer: PartWriter) -> Blocks:
    blocks: Blocks = []
    counts = {"content": 0, "tool_calls": 0}
    for index, part in enumerate(message.parts):
        path = f"messages[{at + index}]" if message.role == "tool" else f"messages[{at}].{_place(part, counts)}"
        block = writer.block(part, path)
        if block is None:
            continue
        if message.role in ("system", "developer") and block["type"] != "text":
            writer.lose(path)
            continue
        blocks.append(block)
    return blocks


def _place(part: AnyPart, counts: dict[str, int]) -> str:
    """Where a part stood in the caller's (OpenAI's) message."""
    if isinstance(part, Thinking):
        return "reasoning_content"
    if isinstance(part, Refusal):
        return "refusal"
    key = "tool_calls" if isinstance(part, ToolCall) else "content"
    place = f"{key}[{counts[key]}]"
    counts[key] += 1
    return place
