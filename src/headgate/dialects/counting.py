"""The most input tokens that a request can come to, told from its bytes: what is reserved before a call (DESIGN §6).

No tokenizer makes more tokens than there are UTF-8 bytes, and JSON only makes text longer. So the whole body's length
bounds its text, and the 20 bytes and more that each message spends on its braces, role and quotes bound what a provider
adds to a message. What is no text (images, files, audio) is found by the parts' types and counted by itself.
"""

from __future__ import annotations

import msgspec

from headgate.core.encoding import UNKNOWN_ENCODING, Encoding
from headgate.core.usage import priced_tier
from headgate.dialects.base import View
from headgate.dialects.tokens import counter

PER_REQUEST = 32
PER_TOOLS = 800
"""What a provider adds where tools are given (Anthropic: a system prompt of 300 to 530 tokens)."""
PER_PROVIDER_TOOL = 1200
"""The definition of a tool that the provider knows by its type (computer use is the longest)."""
BYTES_PER_PAGE = 50_000
PAGES_UNSEEN = 20
"""Pages taken for a file behind a URL or an id."""
AUDIO_BYTES_PER_TOKEN = 40
"""Base64 of the thinnest speech there is (8 kbit/s) for one token of the finest counting (32 a second)."""

_NOTHING = msgspec.Raw(b"null")
_LIST = ord("[")


class _Message(msgspec.Struct, gc=False):
    content: msgspec.Raw = _NOTHING


class _Part(msgspec.Struct, gc=False):
    """A content part of any dialect: its type, and the fields that may hold something heavy."""

    type: str = ""
    image_url: msgspec.Raw = _NOTHING
    image: msgspec.Raw = _NOTHING
    source: msgspec.Raw = _NOTHING
    input_audio: msgspec.Raw = _NOTHING
    file: msgspec.Raw = _NOTHING
    content: msgspec.Raw = _NOTHING


class _Source(msgspec.Struct, gc=False):
    """What a document is of: Anthropic's ``source`` or OpenAI's ``file``."""

    type: str = ""
    data: msgspec.Raw = _NOTHING
    file_data: msgspec.Raw = _NOTHING
    content: msgspec.Raw = _NOTHING


class _Tool(msgspec.Struct, gc=False):
    type: str = "function"


_messages = msgspec.json.Decoder(list[_Message]).decode
_parts = msgspec.json.Decoder(list[_Part]).decode
_source = msgspec.json.Decoder(_Source).decode
_tools = msgspec.json.Decoder(list[_Tool]).decode
_word = msgspec.json.Decoder(str | None).decode
_IMAGES = frozenset({"image", "image_url", "input_image"})
_FILES = frozenset({"document", "file", "input_file", "container_upload"})
_OWN_TOOLS = frozenset({"function", "custom"})


def input_bound(view: View, encoding: Encoding = UNKNOWN_ENCODING) -> int:
    """Returns a number of input tokens that the request does not exceed at the provider.

    Files behind a URL or an id, and what a provider's own web search reads, have no such bound: the first count as
    ``PAGES_UNSEEN`` pages, the second as nothing. Whoever must never undercount widens the bound from what was settled.

    Args:
        view: the request's top level, of any dialect.
        encoding: of the deployment. Only where it is ``exact`` its tokenizer counts: 15 µs a kilobyte, instead of 0.3.
    """
    fields, raw = view.fields, view.raw
    heavy = 0
    messages = fields.get("messages")
    # A part that is no plain text has a type; escaped, its letters could hide.
    if messages is not None and (raw.find(b'"type"') >= 0 or raw.find(b"\\u") >= 0):
        try:
            for message in _messages(messages):
                content = message.content
                if memoryview(content)[0] == _LIST:
                    heavy += _weigh(content, encoding)
        except (msgspec.DecodeError, UnicodeDecodeError):
            heavy = 0  # no provider takes such messages
    bound = PER_REQUEST + heavy
    if "tools" in fields:
        bound += _tool_bound(fields["tools"])
    if encoding.exact and not heavy:
        count = counter(encoding.name)
        if count is not None:
            return bound + count(raw.decode())
    return bound + len(raw)


def asked_tier(view: View) -> str:
    """Returns the service tier that the request asks for where that may have a price of its own, else ""."""
    fields = view.fields
    for key in ("service_tier", "speed"):
        if key in fields:
            try:
                tier = priced_tier(_word(fields[key]))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if tier:
                return tier
    return ""


def _weigh(content: msgspec.Raw, encoding: Encoding) -> int:
    """What a list of parts comes to beside its bytes: tokens of what is no text, less the bytes that it takes."""
    total = 0
    for part in _parts(content):
        kind = part.type
        if kind == "text":
            continue
        if kind in _IMAGES:
            total += encoding.image - max(len(part.image_url), len(part.image), len(part.source))
        elif kind in _FILES:
            total += _file(part.source if len(part.source) > len(part.file) else part.file, encoding)
        elif kind == "input_audio":
            size = len(part.input_audio)
            total += size // AUDIO_BYTES_PER_TOKEN - size
        elif memoryview(part.content)[0] == _LIST:
            total += _weigh(part.content, encoding)
    return total


def _file(source: msgspec.Raw, encoding: Encoding) -> int:
    """The same of one file: by its size where its data is here, a flat number of pages where it is elsewhere."""
    try:
        seen = _source(source)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return PAGES_UNSEEN * encoding.page
    if seen.type == "text":
        return 0
    if memoryview(seen.content)[0] == _LIST:
        return _weigh(seen.content, encoding)
    size = max(len(seen.data), len(seen.file_data))
    if size <= len(_NOTHING):
        return PAGES_UNSEEN * encoding.page
    return encoding.page * (1 + size * 3 // 4 // BYTES_PER_PAGE) - size


def _tool_bound(tools: msgspec.Raw) -> int:
    try:
        known = sum(tool.type not in _OWN_TOOLS for tool in _tools(tools))
    except (msgspec.DecodeError, UnicodeDecodeError):
        known = 0
    return PER_TOOLS + known * PER_PROVIDER_TOOL
