"""The providers as data: one row says how a provider is addressed, authenticated and what it understands."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

DIALECTS = ("openai_chat", "anthropic")
"""The conversation dialects that an upstream may speak."""

_OPENAI_ENDPOINTS = {"openai_chat": "/chat/completions", "embeddings": "/embeddings", "models": "/models"}
_ANTHROPIC_ENDPOINTS = {"anthropic": "/messages", "count_tokens": "/messages/count_tokens", "models": "/models"}

_OPENAI_REQUEST = frozenset({b"openai-beta", b"openai-organization", b"openai-project", b"x-client-request-id"})
_ANTHROPIC_REQUEST = frozenset({b"anthropic-beta", b"anthropic-version"})
_RETRY = frozenset({b"retry-after", b"retry-after-ms"})
_OPENAI_RESPONSE = _RETRY | {b"x-request-id", b"openai-processing-ms", b"openai-version"}
_ANTHROPIC_RESPONSE = _RETRY | {b"request-id"}
_OPENAI_LIMITS = (b"x-ratelimit-",)
_ANTHROPIC_LIMITS = (b"anthropic-ratelimit-",)


class ModelNames:
    """A provider's models where the list is closed: ``in`` goes by a pattern, iteration gives examples."""

    __slots__ = ("_examples", "_pattern")

    def __init__(self, pattern: str, examples: tuple[str, ...]) -> None:
        self._pattern = re.compile(pattern, re.ASCII)
        self._examples = examples

    def __contains__(self, name: str) -> bool:
        return self._pattern.fullmatch(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._examples)


class ProviderRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one kind of provider. Header names are lower case.

    Attributes:
        name: the row's name, the ``type`` of a configured provider.
        title: its name for people.
        dialects: the conversation dialects it speaks, the preferred one first.
        endpoints: path below ``url`` for each surface: ``openai_chat``, ``anthropic``, ``embeddings``,
            ``models``, ``count_tokens``; a surface that is missing is not served.
        url: base URL with its version prefix and no slash at the end; "" where the configuration must name it.
        embedded: it runs inside this process and has no URL.
        key_env: environment variables that may hold its key, in order; each also as ``NAME_FILE``, a path.
        key_required: it answers nobody without a key.
        auth_header: the request header that carries the key.
        auth_prefix: what stands before the key in that header.
        static_headers: sent with every request, unless the caller sends one of ``request_headers`` by that name.
        max_tokens_field: the request field that bounds the answer's length.
        stream_usage: streams report usage only where ``stream_options.include_usage`` asks for it.
        request_headers: the caller's headers that may go upstream.
        response_headers: its response headers that may go to the caller.
        response_prefixes: the same, by how the name begins.
        models: which models it has, where that is known here; None where only the provider knows.
    """

    name: str
    title: str
    dialects: tuple[str, ...]
    endpoints: dict[str, str]
    url: str = ""
    embedded: bool = False
    key_env: tuple[str, ...] = ()
    key_required: bool = False
    auth_header: str = "authorization"
    auth_prefix: str = "Bearer "
    static_headers: dict[str, str] = {}
    max_tokens_field: str = "max_tokens"
    stream_usage: bool = True
    request_headers: frozenset[bytes] = frozenset()
    response_headers: frozenset[bytes] = frozenset()
    response_prefixes: tuple[bytes, ...] = ()
    models: ModelNames | None = None


def _compatible(name: str, title: str, url: str = "") -> ProviderRow:
    """A server that copies OpenAI's chat wire and asks for a key only where it was told to."""
    return ProviderRow(
        name=name,
        title=title,
        dialects=("openai_chat",),
        endpoints=_OPENAI_ENDPOINTS,
        url=url,
        request_headers=_OPENAI_REQUEST,
        response_headers=_OPENAI_RESPONSE,
        response_prefixes=_OPENAI_LIMITS,
    )


def _anthropic(name: str, title: str, url: str, key_env: tuple[str, ...]) -> ProviderRow:
    return ProviderRow(
        name=name,
        title=title,
        dialects=("anthropic",),
        endpoints=_ANTHROPIC_ENDPOINTS,
        url=url,
        key_env=key_env,
        key_required=bool(key_env),
        auth_header="x-api-key",
        auth_prefix="",
        static_headers={"anthropic-version": "2023-06-01"},
        stream_usage=False,
        request_headers=_ANTHROPIC_REQUEST,
        response_headers=_ANTHROPIC_RESPONSE,
        response_prefixes=_ANTHROPIC_LIMITS,
    )


_ALL = (
    ProviderRow(
        name="openai",
        title="OpenAI",
        dialects=("openai_chat",),
        endpoints=_OPENAI_ENDPOINTS,
        url="https://api.openai.com/v1",
        key_env=("OPENAI_API_KEY",),
        key_required=True,
        max_tokens_field="max_completion_tokens",
        request_headers=_OPENAI_REQUEST,
        response_headers=_OPENAI_RESPONSE,
        response_prefixes=_OPENAI_LIMITS,
    ),
    _anthropic("anthropic", "Anthropic", "https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",)),
    _compatible("ollama", "Ollama", "http://127.0.0.1:11434/v1"),
    _compatible("vllm", "vLLM", "http://127.0.0.1:8000/v1"),
    _compatible("llamacpp", "llama.cpp server", "http://127.0.0.1:8080/v1"),
    _compatible("lmstudio", "LM Studio", "http://127.0.0.1:1234/v1"),
    _compatible("openai_compatible", "any server that speaks OpenAI chat completions"),
    _anthropic("anthropic_compatible", "any server that speaks Anthropic messages", "", ()),
    ProviderRow(
        name="sim",
        title="the embedded simulator",
        dialects=("openai_chat", "anthropic"),
        endpoints=_OPENAI_ENDPOINTS | _ANTHROPIC_ENDPOINTS,
        embedded=True,
        models=ModelNames(
            r"(?:echo|words-\d{1,7}|tools-\d{1,4})(?:\+.+)?|fail-.+",
            ("echo", "words-50", "words-200", "words-1000", "tools-2", "fail-503"),
        ),
        request_headers=_OPENAI_REQUEST | _ANTHROPIC_REQUEST,
        response_headers=_OPENAI_RESPONSE | _ANTHROPIC_RESPONSE,
        response_prefixes=_OPENAI_LIMITS + _ANTHROPIC_LIMITS,
    ),
)

ROWS: dict[str, ProviderRow] = {row.name: row for row in _ALL}
"""Every row by its name."""

GENERIC = {"openai_chat": ROWS["openai_compatible"], "anthropic": ROWS["anthropic_compatible"]}
"""The row of a provider that is configured by ``dialect`` and ``url`` alone."""
