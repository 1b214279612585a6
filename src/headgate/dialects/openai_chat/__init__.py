"""OpenAI's chat completions wire, both faces."""

from headgate.dialects.openai_chat.dialect import OpenAIChat

__all__ = ["OpenAIChat"]
