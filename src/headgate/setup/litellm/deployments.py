"""Deployments of a LiteLLM configuration: ``model_list`` becomes models, each with a group of equals as its route."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from headgate.config.checks import check_model
from headgate.setup.litellm.notes import Notes, join, number, plain
from headgate.setup.litellm.providers import Providers

_HANDLED = frozenset(
    {
        *("model", "api_base", "base_url", "api_key", "organization", "custom_llm_provider", "max_tokens", "timeout"),
        *("stream_timeout", "max_retries", "num_retries", "weight", "rpm", "tpm", "max_parallel_requests"),
        *("input_cost_per_token", "output_cost_per_token", "api_version", "extra_headers"),
        *("cache_read_input_token_cost", "cache_creation_input_token_cost"),
    }
)
_REASONS = {
    **dict.fromkeys(
        (
            "temperature",
            "top_p",
            "seed",
            "stop",
            "presence_penalty",
            "frequency_penalty",
            "response_format",
            "extra_body",
        ),
        "a deployment sets no request fields here; send it from the application",
    ),
    **dict.fromkeys(("mock_response", "mock_timeout"), "for such answers there is the simulator: sim/…"),
    "tags": "no routing by tags; make a model of its own, and keys that may use it",
    "region_name": "no routing by region; make a model of its own",
    "input_cost_per_second": "prices here are per token, per piece or per request",
    "drop_params": "what another dialect can not express is left out and named (server.strict_translation: false)",
}
_SURFACES = frozenset({"", "chat", "embedding", "completion", "batch", "responses"})
_RATES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached",
    "cache_creation_input_token_cost": "cache_write",
}


class Deployments:
    """Collects models.

    Attributes:
        models: our section ``models``: by name, its settings, with ``route`` still a flat list of steps.
        steps: the same steps, by the model's name, for other models' fallbacks.
        prices: by provider and by its model, ``prices`` of our section ``providers``.
        lost: names of models of which nothing could be carried.
    """

    def __init__(self, notes: Notes, providers: Providers) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.steps: dict[str, list[dict[str, Any]]] = {}
        self.prices: dict[str, dict[str, dict[str, int | float]]] = {}
        self.lost: list[str] = []
        self._notes = notes
        self._providers = providers

    def read(self, entries: object) -> None:
        """Reads ``model_list``."""
        if not isinstance(entries, list):
            self._notes.lost("model_list", "it is no list")
            return
        for index, entry in enumerate(entries):
            path = f"model_list[{index}]"
            if isinstance(entry, Mapping) and isinstance(entry.get("litellm_params"), Mapping):
                self._entry(entry, str(entry.get("model_name", "")), path)
            else:
                self._notes.lost(path, "it has no litellm_params")
        self.lost = [name for name in dict.fromkeys(self.lost) if name not in self.models]

    def _entry(self, entry: Mapping[str, Any], name: str, path: str) -> None:
        params, below = entry["litellm_params"], f"{path}.litellm_params"
        given = entry.get("model_info")
        info: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
        mode = str(info.get("mode") or "")
        if mode not in _SURFACES:
            self._lose(name, path, f"Headgate serves conversations and embeddings, no {mode.replace('_', ' ')}")
            return
        wrong = check_model(name)
        if wrong:
            self._lose(name, f"{path}.model_name", wrong)
            return
        start = len(self._notes.all)
        place = self._providers.place(params, below)
        if not place.provider:
            del self._notes.all[start:]
            self._lose(name, path, place.why)
            return
        if "*" in name or "*" in place.model:
            self._notes.changed(
                path,
                f"no wildcards: ask for {place.provider}/MODEL by its name; a key must allow it (keys create --direct)",
            )
            return
        step = f"{place.provider}/{place.model}"
        self._add(name, step, params, path, below)
        self._price({**params, **info}, step, below)
        self._leftovers(entry, params, info, path)

    def _add(self, name: str, step: str, params: Mapping[str, Any], path: str, below: str) -> None:
        model = self.models.setdefault(name, {})
        steps = self.steps.setdefault(name, [])
        twin = next((one for one in steps if one["use"] == step), None)
        weight = number(params.get("weight")) or number(params.get("rpm"))
        if twin is not None:
            twin["weight"] = twin.get("weight", 1) + (weight or 1)
            self._notes.changed(path, f"the same deployment twice: {step} has its share")
        else:
            steps.append({"use": step, **({"weight": plain(weight)} if weight else {})})
            self._notes.carried(path, f"models.{name}: {step}")
        self._policies(model, params, below)

    def _policies(self, model: dict[str, Any], params: Mapping[str, Any], path: str) -> None:
        for theirs, section, ours in (
            ("timeout", "timeouts", "total"),
            ("stream_timeout", "timeouts", "first_content"),
            ("max_retries", "retry", "attempts"),
            ("num_retries", "retry", "attempts"),
            ("max_parallel_requests", "limit", "concurrency"),
        ):
            value = number(params.get(theirs))
            if value is None or (section == "timeouts" and value < 0.001):
                continue
            there = model.setdefault(section, {})
            there[ours] = max(there.get(ours, 0), min(plain(value), 20) if section == "retry" else plain(value))
            self._notes.carried(join(path, theirs), f"{section}.{ours} of the model")
        longest = number(params.get("max_tokens"))
        if longest is not None:
            model["max_tokens"] = int(longest)
            self._notes.changed(join(path, "max_tokens"), "max_tokens of the model: sent where a caller names none")

    def _price(self, params: Mapping[str, Any], step: str, path: str) -> None:
        """Notes a deployment's price with its provider: a model's would hold for its fallbacks as well."""
        rates: dict[str, int | float] = {}
        for theirs, ours in _RATES.items():
            if (
                theirs in params
                and not isinstance(params[theirs], bool)
                and (params[theirs] == 0 or number(params[theirs]))
            ):
                rates[ours] = plain(float(Decimal(str(params[theirs])) * 1_000_000))
        if not rates:
            return
        given = next(theirs for theirs, ours in _RATES.items() if ours in rates)
        provider, _, model = step.partition("/")
        ours = f"providers.{provider}.prices.{model}"
        missing = [f"{side}_cost_per_token" for side in ("input", "output") if side not in rates]
        if missing:
            self._notes.to_do(
                f"{path}.{given}",
                f"without {' and '.join(missing)} it is no price: write {ours} whole; "
                "until then the table's holds, if any",
            )
            return
        if self.prices.setdefault(provider, {}).setdefault(model, rates) != rates:
            self._notes.lost(f"{path}.{given}", f"{ours} is another already; one deployment has one price here")
        else:
            self._notes.carried(f"{path}.{given}", f"{ours}, per million tokens")

    def _leftovers(
        self, entry: Mapping[str, Any], params: Mapping[str, Any], info: Mapping[str, Any], path: str
    ) -> None:
        below = f"{path}.litellm_params"
        for outer in ("rpm", "tpm"):
            where = below if outer in params else path
            if outer in params or outer in entry:
                self._notes.changed(
                    join(where, outer),
                    "the deployment's weight"
                    if outer == "rpm" and outer in params
                    else "not needed: what a provider allows is learned from its "
                    "answers (limit.adaptive); for callers there are limits",
                )
        if "api_version" in params:
            self._notes.changed(f"{below}.api_version", "not needed at Azure's /openai/v1")
        if "extra_headers" in params:
            self._notes.lost(
                f"{below}.extra_headers", "they may hold secrets: write them under headers of the provider"
            )
        self._notes.leftovers(params, _HANDLED, below, _REASONS)
        known = frozenset({"id", "mode", "base_model", *_RATES})
        self._notes.leftovers(info, known, f"{path}.model_info", {})
        self._notes.leftovers(entry, frozenset({"model_name", "litellm_params", "model_info", "rpm", "tpm"}), path, {})

    def _lose(self, name: str, path: str, why: str) -> None:
        self._notes.lost(path, why)
        self.lost.append(name)
