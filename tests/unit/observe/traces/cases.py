"""Calls whose spans the tests look at."""

from __future__ import annotations

from headgate.core.record import AttemptRecord, Record
from headgate.core.trace import Provider
from headgate.core.usage import Usage

TIME = 1_764_000_000_000_000_000
PARENT = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PROVIDERS = {
    "main": Provider("openai", "api.openai.com", 443),
    "claude": Provider("anthropic", "api.anthropic.com", 443),
    "mine": Provider("openai_compatible", "llm.example.org", 8000),
    "sim": Provider("sim"),
}


def _fallback() -> Record:
    lost = AttemptRecord(
        *("main/gpt-4o", "main", "gpt-4o", 400, -1, 80_400, "failed", 503, "provider_unavailable", "It is down."),
        fault="upstream",
        sent=True,
        max_tokens=256,
    )
    won = AttemptRecord(
        *("claude/claude-sonnet-4-5", "claude", "claude-sonnet-4-5", 81_000, 900_000, 1_500_000, "completed", 200),
        sent=True,
        upstream_id="msg_01",
        upstream_model="claude-sonnet-4-5-20250929",
        finish="stop",
        usage=Usage(input=120, output=80, cached=64, cache_write=16, cache_write_1h=8, reasoning=12),
        max_tokens=256,
        cost=1_234_000,
    )
    return Record(
        *("hg_19a0000000100000000000000001", TIME),
        key_id="key_1",
        key_name="app",
        user="ann",
        team="search",
        feature="answers",
        tags={"env": "prod"},
        trace=PARENT[:32],
        session="chat-7",
        dialect="openai_chat",
        model="smart",
        outcome="completed",
        status=200,
        finish="stop",
        usage=won.usage,
        attempts=[lost, won],
        winner=1,
        first_content_us=900_000,
        duration_us=1_501_000,
        max_tokens=256,
        cost=1_234_000,
        prompt="answer",
        parent=PARENT,
    )


def _stream() -> Record:
    attempt = AttemptRecord(
        *("main/gpt-4o", "main", "gpt-4o", 250, 310_250, 2_000_000, "completed", 200),
        sent=True,
        upstream_id="chatcmpl-1",
        upstream_model="gpt-4o-2024-08-06",
        finish="length",
        usage=Usage(input=10, output=200, estimated=True),
        max_tokens=200,
        cost=2_025_000,
    )
    return Record(
        *("hg_19a0000000100000000000000002", TIME),
        dialect="openai_chat",
        model="fast",
        trace="run-7",
        stream=True,
        outcome="completed",
        status=200,
        finish="length",
        usage=attempt.usage,
        attempts=[attempt],
        winner=0,
        first_content_us=310_250,
        duration_us=2_000_400,
        max_tokens=200,
    )


def _error() -> Record:
    skipped = AttemptRecord(*("main/gpt-4o", "main", "gpt-4o", 300, -1, 300, "skipped"), error="breaker_open")
    failed = AttemptRecord(
        *("mine/llama", "mine", "llama", 350, -1, 1_000_350, "failed", 0, "timeout", "No headers within 1 s: 'secret'"),
        fault="upstream",
        sent=True,
        max_tokens=4096,
        usage=Usage(input=40, output=4096, estimated=True),
    )
    return Record(
        *("hg_19a0000000100000000000000003", TIME),
        dialect="anthropic",
        model="both",
        outcome="failed",
        status=504,
        error="timeout",
        error_message="No headers within 1 s: 'secret'",
        fault="upstream",
        attempts=[skipped, failed],
        duration_us=1_000_500,
        max_tokens=4096,
        priority="batch",
    )


def _embeddings() -> Record:
    attempt = AttemptRecord(
        *("main/text-embedding-3-small", "main", "text-embedding-3-small", 100, 50_000, 50_100, "completed", 200),
        sent=True,
        upstream_model="text-embedding-3-small",
        usage=Usage(input=8),
        cost=160,
    )
    return Record(
        *("hg_19a0000000100000000000000004", TIME),
        dialect="embeddings",
        model="embed",
        outcome="completed",
        status=200,
        usage=attempt.usage,
        attempts=[attempt],
        winner=0,
        first_content_us=50_000,
        duration_us=50_200,
    )


def _cancelled() -> Record:
    attempt = AttemptRecord(
        *("sim/chat", "sim", "chat", 90, 20_000, 70_000, "cancelled", 200, "client_gone"),
        sent=True,
        upstream_model="chat",
        usage=Usage(input=5, output=3, estimated=True),
        cost=0,
    )
    return Record(
        *("hg_19a0000000100000000000000005", TIME),
        dialect="openai_chat",
        model="fast",
        stream=True,
        outcome="cancelled",
        status=200,
        error="client_gone",
        attempts=[attempt],
        winner=0,
        first_content_us=20_000,
        duration_us=70_100,
    )


def _refused() -> Record:
    return Record(
        *("hg_19a0000000100000000000000006", TIME),
        dialect="openai_chat",
        model="fast",
        outcome="refused",
        status=402,
        error="budget_exceeded",
        error_message="The budget is used up.",
        fault="caller",
        duration_us=200,
    )


def _library() -> Record:
    attempt = AttemptRecord(
        *("sim/echo", "sim", "echo", 10, 500, 600, "completed", 200), sent=True, usage=Usage(3, 4), finish="stop"
    )
    return Record(
        *("hg_19a0000000100000000000000007", TIME),
        dialect="openai_chat",
        model="sim/echo",
        trace="4bf92f3577b34da6a3ce929d0e0e4736",
        outcome="completed",
        finish="stop",
        attempts=[attempt],
        winner=0,
        first_content_us=500,
        duration_us=610,
    )


CASES = {
    "fallback": _fallback,
    "stream": _stream,
    "error": _error,
    "embeddings": _embeddings,
    "cancelled": _cancelled,
    "refused": _refused,
    "library": _library,
}
