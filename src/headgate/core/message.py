"""The neutral request: a conversation with its tools and parameters, that any dialect reads or writes.

It exists for translation between dialects, for guards and for trimming. When the client's dialect is the
provider's it is never built: the body goes through byte for byte (DESIGN §4).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Part(msgspec.Struct, tag=True, omit_defaults=True, kw_only=True):
    """One piece of a message. ``cache`` is Anthropic's ``cache_control`` object, kept where it stood.

    ``extra`` holds the block's other keys that have no neutral form, by their name on the conversation's
    ``origin`` wire; another dialect reports them as lost.
    """

    cache: dict[str, Any] | None = None
    extra: dict[str, Any] = {}


class Text(Part):
    """Plain text. ``citations`` as the wire gave them."""

    text: str
    citations: list[dict[str, Any]] | None = None


class Image(Part):
    """An image, by URL or as base64 ``data`` with its ``media_type``; ``detail`` is OpenAI's."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None
    file_id: str | None = None


class Document(Part):
    """A file: by URL, as base64 ``data``, as plain ``text``, as content parts, or by the provider's id."""

    url: str | None = None
    data: str | None = None
    text: str | None = None
    media_type: str | None = None
    file_id: str | None = None
    name: str | None = None
    context: str | None = None
    citations: dict[str, Any] | None = None
    content: list[Any] | None = None


class Audio(Part):
    """Input audio as base64 with its format (``wav``, ``mp3``)."""

    data: str
    format: str


class Thinking(Part):
    """Reasoning from an earlier turn; ``signature`` proves it to the provider that made it."""

    text: str
    signature: str | None = None


class RedactedThinking(Part):
    """Reasoning from an earlier turn that only its provider can read."""

    data: str


class Refusal(Part):
    """A refusal from an earlier turn."""

    text: str


class ToolCall(Part):
    """A tool call from an earlier turn. ``arguments`` is JSON text, as generated (it may be malformed)."""

    id: str
    name: str
    arguments: str


class ToolResult(Part):
    """What a tool gave back, as parts. ``error`` marks a failed run."""

    id: str
    parts: list[Any]
    error: bool = False


class Other(Part):
    """A block with no neutral form, in the wire shape of dialect ``origin``."""

    data: dict[str, Any]
    origin: str


AnyPart = Text | Image | Document | Audio | Thinking | RedactedThinking | Refusal | ToolCall | ToolResult | Other


class Message(msgspec.Struct, omit_defaults=True):
    """One turn. Tool results are parts of a ``tool`` message (one message per run of results)."""

    role: Role
    parts: list[AnyPart]
    name: str | None = None


class Tool(msgspec.Struct, omit_defaults=True):
    """A function the model may call; ``schema`` is its JSON Schema (None: takes anything).

    ``other`` holds a provider-side tool (web search…) whole, in the wire shape of dialect ``origin``;
    ``extra`` the keys of a custom tool that have no neutral form, as on a ``Part``.
    """

    name: str
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache: dict[str, Any] | None = None
    other: dict[str, Any] | None = None
    origin: str = ""
    extra: dict[str, Any] = {}


class ToolChoice(msgspec.Struct, omit_defaults=True):
    """Which tools the model may or must call: ``name`` where ``mode`` is ``one``; ``allowed`` narrows."""

    mode: Literal["auto", "none", "any", "one"]
    name: str | None = None
    allowed: list[str] | None = None


class OutputFormat(msgspec.Struct, omit_defaults=True):
    """The form asked of the answer: ``text``, any ``json`` object, or JSON after ``schema``."""

    kind: Literal["text", "json", "schema"]
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class Conversation(msgspec.Struct, omit_defaults=True):
    """A whole request, neutrally.

    ``messages`` keeps system and developer messages where they stood. ``effort`` is a reasoning effort
    word (``none``, ``minimal``, ``low``, ``medium``, ``high``…); ``thinking_tokens`` a reasoning budget;
    ``thinking`` whether reasoning is on (``enabled``, ``adaptive``) or off (``disabled``). ``extra`` holds
    fields of dialect ``origin`` that have no neutral form, by their wire name.
    """

    model: str
    messages: list[Message]
    origin: str
    max_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    output: OutputFormat | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: list[str] | None = None
    n: int = 1
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    effort: str | None = None
    thinking: Literal["enabled", "adaptive", "disabled"] | None = None
    thinking_tokens: int | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    verbosity: str | None = None
    cache: dict[str, Any] | None = None
    extra: dict[str, Any] = {}


class Encoded(msgspec.Struct):
    """A request body for an upstream, and what of the caller's request it could not carry.

    ``lost`` names fields by their path in the *caller's* request, e.g. ``"seed"`` or
    ``"messages[2].content[0].cache_control"``; DESIGN §8 says where it is reported.
    """

    body: bytes
    lost: tuple[str, ...] = ()
