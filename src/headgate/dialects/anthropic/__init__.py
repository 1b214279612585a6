"""The Anthropic messages dialect."""

from headgate.dialects.anthropic.dialect import Anthropic

__all__ = ["Anthropic"]
