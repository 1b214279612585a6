"""Headgate: an LLM gateway that speaks the providers' own dialects, and a library with the same core inside."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headgate.client.answer import Answer
    from headgate.client.gateway import Gateway
    from headgate.client.stream import Stream
    from headgate.client.sync import SyncGateway, SyncStream
    from headgate.core.choices import Choice, ToolUse
    from headgate.core.errors import (
        BadRequest,
        ConfigError,
        ConnectFailed,
        Forbidden,
        HeadgateError,
        LimitExceeded,
        Timeout,
        Unauthenticated,
        Unavailable,
        UnknownModel,
        UpstreamBroken,
        UpstreamError,
    )

__all__ = [
    "Answer",
    "BadRequest",
    "Choice",
    "ConfigError",
    "ConnectFailed",
    "Forbidden",
    "Gateway",
    "HeadgateError",
    "LimitExceeded",
    "Stream",
    "SyncGateway",
    "SyncStream",
    "Timeout",
    "ToolUse",
    "Unauthenticated",
    "Unavailable",
    "UnknownModel",
    "UpstreamBroken",
    "UpstreamError",
    "__version__",
]
__version__ = "0.1.0"

_CLIENT = {
    "Answer": "answer",
    "Choice": "answer",
    "ToolUse": "answer",
    "Gateway": "gateway",
    "Stream": "stream",
    "SyncGateway": "sync",
    "SyncStream": "sync",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that a verb of the CLI pays for no other."""
    if name not in __all__:
        raise AttributeError(f"module 'headgate' has no attribute {name!r}")
    home = f"headgate.client.{_CLIENT[name]}" if name in _CLIENT else "headgate.core.errors"
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    """Lists the public names, those not imported yet too."""
    return sorted({*globals(), *__all__})
