"""Providers that speak OpenAI's wire, by the names that people know: where they are, and what holds their keys."""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """One provider.

    Attributes:
        title: for people.
        url: its base URL.
        key_env: variables that may hold its key, in order.
        model: one of its models, to begin with.
    """

    title: str
    url: str
    key_env: tuple[str, ...]
    model: str = ""


KNOWN: dict[str, Known] = {
    "groq": Known("Groq", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",), "llama-3.3-70b-versatile"),
    "mistral": Known("Mistral", "https://api.mistral.ai/v1", ("MISTRAL_API_KEY",), "mistral-small-latest"),
    "deepseek": Known("DeepSeek", "https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",), "deepseek-chat"),
    "gemini": Known(
        "Google Gemini, by its OpenAI surface",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        "gemini-2.5-flash",
    ),
    "openrouter": Known("OpenRouter", "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",), "openai/gpt-4o-mini"),
    "together_ai": Known(
        "Together AI", "https://api.together.xyz/v1", ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY")
    ),
    "fireworks_ai": Known(
        "Fireworks AI", "https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY")
    ),
    "xai": Known("xAI", "https://api.x.ai/v1", ("XAI_API_KEY",), "grok-3-mini"),
    "perplexity": Known(
        "Perplexity", "https://api.perplexity.ai", ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"), "sonar"
    ),
    "cerebras": Known("Cerebras", "https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",), "llama3.1-8b"),
    "nvidia_nim": Known("NVIDIA NIM", "https://integrate.api.nvidia.com/v1", ("NVIDIA_NIM_API_KEY", "NVIDIA_API_KEY")),
    "deepinfra": Known("DeepInfra", "https://api.deepinfra.com/v1/openai", ("DEEPINFRA_API_KEY",)),
    "sambanova": Known("SambaNova", "https://api.sambanova.ai/v1", ("SAMBANOVA_API_KEY",)),
    "moonshot": Known("Moonshot AI", "https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY",)),
    "cohere": Known(
        "Cohere, by its OpenAI surface", "https://api.cohere.ai/compatibility/v1", ("COHERE_API_KEY", "CO_API_KEY")
    ),
    "voyage": Known("Voyage AI", "https://api.voyageai.com/v1", ("VOYAGE_API_KEY",)),
}
"""By name. None of them is a row of ``providers.rows``: each is an OpenAI-compatible server by URL."""
