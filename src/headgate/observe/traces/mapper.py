"""The mapper: Records become spans by OpenTelemetry's conventions for generative AI. The one place that knows them.

The conventions are those of release 1.41.1, the last one that has the ``gen_ai`` attributes in the main repository;
their own repository has not released yet. Moving to another release means changing this module, and the list of names
that its tests compare with. What has no name there is called ``headgate.*``.

Tokens, cost and content stand on attempts, never on the call: who sums over spans counts each token once, at the model
that was billed for it, failed attempts and lost hedges included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headgate.core.record import AttemptRecord, Record
from headgate.core.trace import Provider
from headgate.observe.traces.span import Event, Place, Span, Value, place_of, span_id

VERSION = "1.41.1"
SCHEMA_URL = f"https://opentelemetry.io/schemas/{VERSION}"

OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
CONVERSATION_ID = "gen_ai.conversation.id"
PROMPT_NAME = "gen_ai.prompt.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_CREATION_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
ERROR_TYPE = "error.type"
HTTP_STATUS = "http.response.status_code"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
SESSION_ID = "session.id"
USER_ID = "user.id"
SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE = "service.instance.id"

CALL_ID = "headgate.call.id"
OUTCOME = "headgate.outcome"
DIALECT = "headgate.dialect"
PRIORITY = "headgate.priority"
TRACE = "headgate.trace"
KEY_ID = "headgate.key.id"
KEY_NAME = "headgate.key.name"
TEAM = "headgate.team"
FEATURE = "headgate.feature"
TAG = "headgate.tag."
ATTEMPTS = "headgate.attempts"
ATTEMPT = "headgate.attempt"
ANSWERED = "headgate.answered"
DEPLOYMENT = "headgate.deployment"
COST = "headgate.cost.dollars"
ESTIMATED = "headgate.usage.estimated"
UPSTREAM_ID = "headgate.upstream.id"
SKIPPED = "headgate.attempt.skipped"
"""The event of an attempt that was never made: a breaker was open, or a queue full."""

UNIQUE = frozenset({CALL_ID, RESPONSE_ID, UPSTREAM_ID, TRACE, TIME_TO_FIRST_CHUNK, COST})
"""Names whose values seldom come twice."""
OTHER = "_OTHER"
"""The type of an error that has none."""
_OWN = "headgate"
_OPERATIONS = {"openai_chat": "chat", "openai_responses": "chat", "anthropic": "chat", "embeddings": "embeddings"}
_OPERATIONS |= {"gemini": "generate_content"}
# A Record has the request's id where the provider sent one, else the completion's.
_COMPLETIONS = ("chatcmpl-", "msg_", "resp_", "gen-")
_GENERIC = frozenset({"openai_compatible", "anthropic_compatible"})
_HOSTS = (
    ("api.openai.com", "openai"),
    ("openai.azure.com", "azure.ai.openai"),
    ("cognitiveservices.azure.com", "azure.ai.openai"),
    ("models.ai.azure.com", "azure.ai.inference"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("api.perplexity.ai", "perplexity"),
    ("api.cohere.com", "cohere"),
    ("api.cohere.ai", "cohere"),
    ("api.x.ai", "x_ai"),
)
_FAILED = frozenset({"failed", "refused"})


def is_error(record: Record) -> bool:
    """Whether a call went wrong, and so is exported whatever its trace's verdict is."""
    return record.outcome in _FAILED


def map_call(
    record: Record,
    providers: Mapping[str, Provider],
    content: Mapping[str, Value] | None = None,
    place: Place | None = None,
) -> list[Span]:
    """Returns a call's spans: its own first, then one for each attempt that was made.

    Args:
        record: the call.
        providers: where answers come from, by the provider's configured name.
        content: attributes that tell prompt and answer; they go to the attempt that answered, else to the last one.
            With it go the words of error messages: they may repeat what was asked.
        place: the call's trace, where it is known already.
    """
    place = place or place_of(record)
    operation = _OPERATIONS.get(record.dialect, record.dialect or "chat")
    own = span_id(record.id)
    made = [n for n, attempt in enumerate(record.attempts) if attempt.outcome != "skipped"]
    teller = record.winner if record.winner in made else made[-1] if made else -1
    told = content is not None
    attributes = _call_attributes(record, operation, place, providers, teller)
    if content and teller < 0:
        attributes.update(content)
    call = Span(
        place.trace_id,
        own,
        place.parent_id,
        bool(place.parent_id),
        f"{operation} {record.model}".strip(),
        "server" if record.status else "internal",
        record.time_ns,
        record.time_ns + 1000 * max(0, record.duration_us),
        attributes,
        is_error(record),
        record.error_message if told and is_error(record) else "",
        _skips(record),
    )
    spans = [call]
    for n in made:
        attributes = _attempt_attributes(record, n, operation, providers)
        if content and n == teller:
            attributes.update(content)
        spans.append(_attempt_span(record, n, operation, call, attributes, told))
    return spans


def _attempt_span(record: Record, n: int, operation: str, call: Span, attributes: dict[str, Value], told: bool) -> Span:
    attempt = record.attempts[n]
    started = record.time_ns + 1000 * max(0, attempt.started_us)
    ended = record.time_ns + 1000 * (attempt.ended_us if attempt.ended_us >= 0 else max(0, record.duration_us))
    failed = attempt.outcome == "failed"
    return Span(
        call.trace_id,
        span_id(record.id, n + 1),
        call.span_id,
        False,
        f"{operation} {attempt.model}".strip(),
        "client",
        started,
        max(started, ended),
        attributes,
        failed,
        attempt.error_message if told and failed else "",
    )


def provider_name(name: str, known: Provider | None) -> str:
    """Returns what the conventions call a provider: by its host, then by its row, else as it is configured."""
    if known is None:
        return name or _OWN
    for host, word in _HOSTS:
        if known.host == host or known.host.endswith((f".{host}", f"-{host}")):
            return word
    if known.host.startswith("bedrock") and known.host.endswith(".amazonaws.com"):
        return "aws.bedrock"
    return name if known.row in _GENERIC else known.row


def _call_attributes(
    record: Record, operation: str, place: Place, providers: Mapping[str, Provider], teller: int
) -> dict[str, Value]:
    teller = teller if teller >= 0 else len(record.attempts) - 1
    answer = record.attempts[teller] if teller >= 0 else None
    found: dict[str, Value] = {
        OPERATION_NAME: operation,
        PROVIDER_NAME: _OWN if answer is None else provider_name(answer.provider, providers.get(answer.provider)),
        CALL_ID: record.id,
        OUTCOME: record.outcome,
        ATTEMPTS: len(record.attempts),
    }
    named = "" if record.trace == place.trace_id.hex() else record.trace
    _add(
        found,
        (REQUEST_MODEL, record.model),
        (REQUEST_STREAM, record.stream),
        (REQUEST_MAX_TOKENS, record.max_tokens),
        (RESPONSE_MODEL, answer.upstream_model if answer is not None and record.winner >= 0 else ""),
        (CONVERSATION_ID, record.session),
        (SESSION_ID, record.session),
        (USER_ID, record.user),
        (PROMPT_NAME, record.prompt),
        (HTTP_STATUS, record.status),
        (DIALECT, record.dialect),
        (PRIORITY, record.priority),
        (TRACE, named),
        (KEY_ID, record.key_id),
        (KEY_NAME, record.key_name),
        (TEAM, record.team),
        (FEATURE, record.feature),
        *((TAG + name, value) for name, value in record.tags.items()),
    )
    if record.finish:
        found[FINISH_REASONS] = [record.finish]
    if record.stream and record.first_content_us >= 0:
        found[TIME_TO_FIRST_CHUNK] = record.first_content_us / 1e6
    if is_error(record):
        found[ERROR_TYPE] = record.error or OTHER
    return found


def _attempt_attributes(record: Record, n: int, operation: str, providers: Mapping[str, Provider]) -> dict[str, Value]:
    attempt = record.attempts[n]
    known = providers.get(attempt.provider)
    found: dict[str, Value] = {
        OPERATION_NAME: operation,
        PROVIDER_NAME: provider_name(attempt.provider, known),
        CALL_ID: record.id,
        ATTEMPT: n + 1,
        DEPLOYMENT: attempt.deployment,
        OUTCOME: attempt.outcome,
        ANSWERED: n == record.winner,
    }
    _add(
        found,
        (REQUEST_MODEL, attempt.model),
        (REQUEST_STREAM, record.stream),
        (REQUEST_MAX_TOKENS, attempt.max_tokens),
        (RESPONSE_ID if attempt.upstream_id.startswith(_COMPLETIONS) else UPSTREAM_ID, attempt.upstream_id),
        (RESPONSE_MODEL, attempt.upstream_model),
        (CONVERSATION_ID, record.session),
        (SESSION_ID, record.session),
        (USER_ID, record.user),
        (HTTP_STATUS, attempt.status),
        (SERVER_ADDRESS, known.host if known is not None else ""),
        (SERVER_PORT, known.port if known is not None else 0),
    )
    if attempt.finish:
        found[FINISH_REASONS] = [attempt.finish]
    if record.stream and attempt.first_content_us >= 0:
        found[TIME_TO_FIRST_CHUNK] = max(0, attempt.first_content_us - attempt.started_us) / 1e6
    if attempt.outcome == "failed":
        found[ERROR_TYPE] = attempt.error or OTHER
    if attempt.cost is not None:
        found[COST] = attempt.cost / 1e9
    _add_usage(found, attempt, operation)
    return found


def _add_usage(found: dict[str, Value], attempt: AttemptRecord, operation: str) -> None:
    usage = attempt.usage
    if usage is None:
        return
    found[INPUT_TOKENS] = usage.input
    if operation != "embeddings":
        found[OUTPUT_TOKENS] = usage.output
    _add(
        found,
        (CACHE_READ_TOKENS, usage.cached),
        (CACHE_CREATION_TOKENS, usage.cache_write + usage.cache_write_1h),
        (REASONING_TOKENS, usage.reasoning),
        (ESTIMATED, usage.estimated),
    )


def _skips(record: Record) -> tuple[Event, ...]:
    return tuple(
        Event(
            SKIPPED,
            record.time_ns + 1000 * max(0, attempt.started_us),
            {ATTEMPT: n + 1, DEPLOYMENT: attempt.deployment, ERROR_TYPE: attempt.error or OTHER},
        )
        for n, attempt in enumerate(record.attempts)
        if attempt.outcome == "skipped"
    )


def _add(found: dict[str, Value], *pairs: tuple[str, Any]) -> None:
    """Adds what is there: no empty word, no zero, no ``false``."""
    for name, value in pairs:
        if value:
            found[name] = value
