"""Headgate: an LLM gateway that speaks the providers' own dialects, and a library with the same core inside."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headgate.client.answer import Answer
    from headgate.client.gateway import Gateway
    from headgate.client.sync import SyncGateway
    from headgate.core.errors import HeadgateError

__all__ = ["Answer", "Gateway", "HeadgateError", "SyncGateway", "__version__"]
__version__ = "0.1.0"

_HOMES = {
    "Answer": "headgate.client.answer",
    "Gateway": "headgate.client.gateway",
    "HeadgateError": "headgate.core.errors",
    "SyncGateway": "headgate.client.sync",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that a verb of the CLI pays for no other."""
    if name not in _HOMES:
        raise AttributeError(f"module 'headgate' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
