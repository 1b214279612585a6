"""Providers of a LiteLLM configuration: each place and key that its deployments name, once, under a name of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from headgate.config.checks import check_url
from headgate.providers.rows import ROWS
from headgate.setup.known import KNOWN
from headgate.setup.litellm.notes import Notes, join, variable_of

_LOCAL = {
    "ollama": "ollama",
    "ollama_chat": "ollama",
    "hosted_vllm": "vllm",
    "vllm": "vllm",
    "lm_studio": "lmstudio",
    "llamafile": "llamacpp",
}
_COMPATIBLE = frozenset({"custom_openai", "openai_like", "litellm_proxy", "openai", "aiohttp_openai", "infinity"})
_CHAT_PREFIX = re.compile(r"(gpt-|chatgpt-|o[134](-|$)|text-embedding-)")
_OTHER_SURFACE = re.compile(r"rerank|dall-e|whisper|tts-|gpt-image|imagen|moderation", re.IGNORECASE)
_FOREIGN = {
    "bedrock": "Headgate does not speak AWS Bedrock's wire yet",
    "vertex_ai": "Headgate does not speak Vertex AI's wire yet; Gemini by its OpenAI surface is the provider gemini",
    "sagemaker": "Headgate does not speak SageMaker's wire",
    "watsonx": "Headgate does not speak watsonx's wire",
    "azure_ai": "Headgate does not know the address of Azure AI models; describe it under providers by dialect and url",
    "auto_router": "Headgate has no router that learns; write the order of its route",
    "text-completion-openai": "Headgate serves chat completions and embeddings, no legacy completions",
}


class Place:
    """Which provider and model a deployment names; ``provider`` is "" where it can not be served here."""

    def __init__(self, provider: str, model: str, why: str = "") -> None:
        self.provider, self.model, self.why = provider, model, why


class Providers:
    """Collects providers.

    Attributes:
        written: the section ``providers`` of our file.
        secrets: the variables that its keys are taken from.
    """

    def __init__(self, notes: Notes, environ: Mapping[str, str]) -> None:
        self.written: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, str] = {}
        self._notes = notes
        self._environ = environ
        self._literal: dict[str, str] = {}

    def place(self, params: Mapping[str, Any], path: str) -> Place:
        """Returns where a deployment's ``litellm_params`` lead; its provider is written down, base and key noted."""
        named = params.get("model")
        if not isinstance(named, str) or not named.strip():
            return Place("", "", "it names no model")
        kind, model = _split(named, params)
        if _OTHER_SURFACE.search(model):
            return Place("", model, "Headgate serves conversations and embeddings: no images, speech or reranking")
        if kind in _FOREIGN or not kind:
            return Place(
                "", model, _FOREIGN.get(kind, f"no provider is known for {named!r}; write it as provider/model")
            )
        if kind == "text-completion-openai" or not model:
            return Place("", model, _FOREIGN.get(kind, "it names no model of that provider"))
        known = kind in ROWS or kind in KNOWN or kind in _LOCAL or kind in _COMPATIBLE or kind == "azure"
        if not known and not params.get("api_base"):
            return Place(
                "", model, f"Headgate does not know the provider {kind}; give it an api_base if it speaks OpenAI's wire"
            )
        settings = self._settings(kind, params, path)
        if isinstance(settings, str):
            return Place("", model, settings)
        return Place(self._named(kind, settings), model)

    def _settings(self, kind: str, params: Mapping[str, Any], path: str) -> dict[str, Any] | str:
        """Our words for a place and its key; a text says why it can not be."""
        url = self._url(kind, params, path)
        settings: dict[str, Any] = {}
        if kind in _LOCAL:
            settings["type"] = _LOCAL[kind]
            settings |= {"url": url} if url else {}
        elif kind == "anthropic":
            settings |= {"type": "anthropic", "url": url} if url else {"type": "anthropic"}
        elif kind == "openai" and not url:
            settings["type"] = "openai"
        elif url or kind in KNOWN:
            settings |= {"dialect": "openai_chat", "url": url or KNOWN[kind].url}
        else:
            return "it names no api_base"
        wrong = check_url(settings["url"]) if "url" in settings else ""
        if wrong:
            return f"its api_base can not be used: {wrong}"
        key = self._key(kind, params, path)
        settings |= {"key": key} if key else {}
        if isinstance(params.get("organization"), str) and params["organization"].isascii():
            variable = variable_of(params["organization"])
            settings["headers"] = {"openai-organization": f"env:{variable}" if variable else params["organization"]}
            self._notes.carried(join(path, "organization"), "headers.openai-organization of the provider")
        return settings

    def _url(self, kind: str, params: Mapping[str, Any], path: str) -> str:
        written, where = params.get("api_base") or params.get("base_url"), join(path, "api_base")
        if not isinstance(written, str) or not written.strip():
            if kind == "azure":
                self._notes.to_do(where, "write the resource's address: https://NAME.openai.azure.com/openai/v1")
                return "https://set-this-address.invalid/openai/v1"
            return ""
        url = written.strip()
        variable = variable_of(url)
        if variable:
            url = self._environ.get(variable, "").strip()
            if not url or check_url(url):
                self._notes.to_do(where, f"it is in {variable}, which is not set here: write the address itself")
                url = f"https://set-{re.sub('[^a-z0-9]+', '-', variable.lower()).strip('-')}.invalid/v1"
            else:
                self._notes.changed(where, f"the address that {variable} holds now; here an address is written out")
        elif kind != "azure":
            self._notes.carried(where, "url of the provider")
        return self._rooted(kind, url.rstrip("/"), where)

    def _rooted(self, kind: str, url: str, where: str) -> str:
        path = urlsplit(url).path
        if kind == "azure":
            if "/openai" not in path:
                self._notes.changed(where, "url of the provider, as /openai/v1: Azure's surface without versions")
                return f"{url}/openai/v1"
            return url
        if kind in ("anthropic", "ollama", "ollama_chat") and not path.endswith("/v1"):
            return f"{url}/v1"
        return url

    def _key(self, kind: str, params: Mapping[str, Any], path: str) -> str:
        """Our reference to its key, "" where it has none of its own; a key itself is never written."""
        written, where = params.get("api_key"), join(path, "api_key")
        if isinstance(written, str) and written.strip() and written.strip().lower() not in ("none", "null"):
            variable = variable_of(written)
            if variable:
                self._notes.carried(where, f"key: env:{variable}")
            else:
                variable = self._literal.get(written) or f"{_word(kind)}_KEY_{len(self._literal) + 1}"
                self._literal[written] = variable
                self._notes.to_do(where, f"the file holds the key itself: put it into the variable {variable}")
        else:
            known = ROWS[kind].key_env if kind in ROWS else KNOWN[kind].key_env if kind in KNOWN else ()
            if kind == "azure":
                known = ("AZURE_API_KEY",)
            if not known:
                return ""
            variable = next((name for name in known if self._environ.get(name)), known[0])
        self.secrets[variable] = kind
        return f"env:{variable}"

    def _named(self, kind: str, settings: dict[str, Any]) -> str:
        """The name of the provider with these settings, a new one where there is none yet."""
        for name, there in self.written.items():
            if there == settings:
                return name
        base = "openai" if kind in _COMPATIBLE and settings.get("type") == "openai" else kind.replace("_", "-")
        if kind in _COMPATIBLE and "url" in settings:
            host = urlsplit(settings["url"]).hostname or kind
            base = re.sub(r"[^a-z0-9.-]+", "-", host.lower()).strip("-.")[:40] or kind
        if base == "sim":
            base = "sim-there"  # ours is embedded
        name, count = base, 2
        while name in self.written:
            name, count = f"{base}-{count}", count + 1
        self.written[name] = settings
        return name


def _split(named: str, params: Mapping[str, Any]) -> tuple[str, str]:
    """The provider that LiteLLM would take, and the model's name there."""
    custom = params.get("custom_llm_provider")
    kind, slash, model = named.strip().partition("/")
    if isinstance(custom, str) and custom:
        return custom, model if slash and kind == custom else named
    if slash and (kind in ROWS or kind in KNOWN or kind in _LOCAL or kind in _COMPATIBLE or kind in _FOREIGN):
        return kind, model
    if slash and kind == "azure":
        return kind, model
    if _CHAT_PREFIX.match(named):
        return "openai", named
    if named.startswith("claude-"):
        return "anthropic", named
    if params.get("api_base"):
        return ("openai", named) if not slash else (kind, model)
    return (kind, model) if slash else ("", named)


def _word(text: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")
