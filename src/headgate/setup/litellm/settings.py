"""The other sections of a LiteLLM configuration: routing, fallbacks, retries, timeouts, budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from headgate.config.schema import Config
from headgate.setup.litellm.deployments import Deployments
from headgate.setup.litellm.notes import Notes, join, number, plain, variable_of

_BALANCE = {
    "simple-shuffle": "weighted",
    "least-busy": "latency",
    "latency-based-routing": "latency",
    "usage-based-routing": "latency",
    "usage-based-routing-v2": "latency",
    "cost-based-routing": "cheapest",
}
_WINDOWS = {"1h": "hour", "60m": "hour", "1d": "day", "24h": "day", "30d": "month", "1mo": "month", "1m": "minute"}
_ROUTER = frozenset(
    {
        *("routing_strategy", "num_retries", "timeout", "stream_timeout", "cooldown_time", "model_group_alias"),
        *("fallbacks", "default_fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "request_timeout"),
        *("max_budget", "budget_duration", "drop_params"),
    }
)
_NO_CACHE = "this release has no cache of answers"
_NO_GUARDS = "this release has no guards"
_OWN_STORE = "Headgate keeps its own store: SQLite, or a Postgres of its own under data.database"
_RECORDS = "every call is recorded here anyway: headgate records"
_REASONS = {
    **dict.fromkeys(("cache", "cache_params", "cache_responses"), _NO_CACHE),
    **dict.fromkeys(("guardrails", "policies", "policy_attachments", "prompt_injection_params"), _NO_GUARDS),
    **dict.fromkeys(("callbacks", "success_callback", "failure_callback", "service_callback"), _RECORDS),
    **dict.fromkeys(
        ("redis_host", "redis_port", "redis_password", "redis_url", "coordination_redis"), "no Redis is needed here"
    ),
    **dict.fromkeys(("database_url", "database_connection_pool_limit", "store_model_in_db"), _OWN_STORE),
    **dict.fromkeys(("finetune_settings", "files_settings"), "Headgate serves no files and no fine-tuning"),
    **dict.fromkeys(
        ("mcp_servers", "search_tools", "sandbox_tools", "vector_store_registry"), "Headgate runs no tools"
    ),
    "pass_through_endpoints": "Headgate forwards to model providers only",
    "environment_variables": "set them where the gateway is started; their values are not read",
    "include": "import each file that it names, too",
    "allowed_fails": "the breaker here judges a rate of failures: defaults.breaker.failure_rate",
    "retry_policy": "which failures are tried again is not a setting: those of which another try can help",
    "enable_tag_filtering": "no routing by tags; make a model of its own, and keys that may use it",
    "enable_pre_call_checks": "not needed: on context_length the route goes on by itself",
    "set_verbose": "logs have one level",
    "telemetry": "nothing is sent anywhere",
    "json_logs": "logs have one form",
    "default_team_settings": "records are not sent to Langfuse",
    "custom_auth": "callers have virtual keys: headgate keys create",
    "alerting": "alerts have a section of their own here",
    "provider_budget_config": "budgets hold for callers, features and models, not for providers",
}


class Sections:
    """Reads all but ``model_list``.

    Attributes:
        defaults, limits: those sections of our file.
        strategy: how equals are balanced.
    """

    def __init__(self, notes: Notes, deployments: Deployments) -> None:
        self.defaults: dict[str, Any] = {}
        self.limits: list[dict[str, Any]] = []
        self.balance = "weighted"
        self.aliases: dict[str, str] = {}
        self._notes = notes
        self._models = deployments
        self._extra: dict[str, list[str]] = {}
        self._instead: dict[str, dict[str, list[str]]] = {}

    def read(self, document: Mapping[str, Any]) -> None:
        """Reads every section; routes get their fallbacks."""
        for name in ("litellm_settings", "router_settings"):
            section = document.get(name)
            if isinstance(section, Mapping):
                self._policies(section, name)
                self._fallbacks(section, name)
                self._budget(section, name)
                self._notes.leftovers(section, _ROUTER, name, _REASONS)
        general = document.get("general_settings")
        if isinstance(general, Mapping):
            self._general(general)
        known = frozenset({"model_list", "litellm_settings", "router_settings", "general_settings"})
        self._notes.leftovers(document, known, "", _REASONS)

    def routes(self) -> None:
        """Writes each model's route, once everything is read: its equals, then its fallbacks."""
        models, steps = self._models.models, self._models.steps
        for name, model in models.items():
            tried = {step["use"] for step in steps[name]}
            route = [_group(steps[name], self.balance)]
            for other in [*self._extra.get(name, []), *self._extra.get("*", [])]:
                rest = [step for step in steps.get(other, []) if step["use"] not in tried]
                if rest:
                    tried |= {step["use"] for step in rest}
                    route.append(_group(rest, self.balance))
            model["route"] = route
            instead = {
                kind: list(dict.fromkeys(step["use"] for other in others for step in steps.get(other, [])))
                for kind, others in self._instead.get(name, {}).items()
            }
            if any(instead.values()):
                model["on"] = {kind: uses for kind, uses in instead.items() if uses}
        for alias, name in self.aliases.items():
            models[alias] = dict(models[name])

    def _policies(self, section: Mapping[str, Any], path: str) -> None:
        for theirs, group, ours in (
            ("num_retries", "retry", "attempts"),
            ("request_timeout", "timeouts", "total"),
            ("timeout", "timeouts", "total"),
            ("stream_timeout", "timeouts", "first_content"),
            ("cooldown_time", "breaker", "open"),
        ):
            value = number(section.get(theirs))
            if value is not None:
                self.defaults.setdefault(group, {})[ours] = min(plain(value), 20) if group == "retry" else plain(value)
                self._notes.carried(join(path, theirs), f"defaults.{group}.{ours}")
        if "drop_params" in section:
            self._notes.carried(join(path, "drop_params"), "server.strict_translation: false, which is the default")
        strategy = section.get("routing_strategy")
        if isinstance(strategy, str):
            self.balance = _BALANCE.get(strategy, "weighted")
            told = self._notes.carried if strategy in ("simple-shuffle", "cost-based-routing") else self._notes.changed
            told(join(path, "routing_strategy"), f"balance: {self.balance} in each group of equals")
        aliases = section.get("model_group_alias")
        for alias, target in aliases.items() if isinstance(aliases, Mapping) else ():
            name = target.get("model") if isinstance(target, Mapping) else target
            where = f"{path}.model_group_alias.{alias}"
            if name in self._models.models and alias not in self._models.models:
                self.aliases[str(alias)] = str(name)
                self._notes.carried(where, f"models.{alias}, with the route of {name}")
            else:
                self._notes.lost(
                    where, f"{alias} is a model already" if alias in self._models.models else f"no model {name}"
                )

    def _fallbacks(self, section: Mapping[str, Any], path: str) -> None:
        for theirs, kind in (
            ("fallbacks", ""),
            ("context_window_fallbacks", "context_length"),
            ("content_policy_fallbacks", "content_filter"),
        ):
            for name, others, where in _pairs(section.get(theirs), f"{path}.{theirs}"):
                there = [other for other in others if other in self._models.models]
                missing = [other for other in others if other not in there]
                if name not in self._models.models and name != "*":
                    self._notes.lost(where, f"there is no model {name} here")
                    continue
                if missing:
                    self._notes.lost(where, f"there is no model {', '.join(missing)} here")
                if there and kind:
                    self._instead.setdefault(name, {})[kind] = there
                    self._notes.carried(where, f"models.{name}.on.{kind}")
                elif there:
                    self._extra.setdefault(name, []).extend(there)
                    self._notes.carried(where, f"further steps of models.{name}.route")
        default = section.get("default_fallbacks")
        if isinstance(default, list):
            there = [str(other) for other in default if other in self._models.models]
            self._extra.setdefault("*", []).extend(there)
            where = f"{path}.default_fallbacks"
            if there:
                self._notes.carried(where, "further steps of every route")
            if len(there) < len(default):
                self._notes.lost(where, "some of its models are not here")

    def _budget(self, section: Mapping[str, Any], path: str) -> None:
        amount = number(section.get("max_budget"))
        if amount is None:
            return
        where, window = f"{path}.max_budget", _WINDOWS.get(str(section.get("budget_duration", "")))
        if "limits" not in Config.__struct_fields__:
            self._notes.lost(where, "this release has no budgets")
        elif window is None:
            self._notes.lost(where, "budgets here are per hour, day or month of the calendar: write it under limits")
        else:
            self.limits.append({"scope": "everything", "unit": "dollars", "per": window, "amount": plain(amount)})
            self._notes.carried(where, f"limits: dollars per {window}, of the calendar")

    def _general(self, general: Mapping[str, Any]) -> None:
        path = "general_settings.master_key"
        if "master_key" in general:
            variable = variable_of(general["master_key"])
            what = f"start it with HEADGATE_ADMIN_KEY=${variable}" if variable else "put it into HEADGATE_ADMIN_KEY"
            self._notes.to_do(path, f"{what}; it wants at least 16 characters")
        self._notes.leftovers(general, frozenset({"master_key"}), "general_settings", _REASONS)


def _group(steps: list[dict[str, Any]], balance: str) -> Any:
    """One deployment is a text; equals are a group."""
    if len(steps) == 1:
        return steps[0]["use"]
    weighted = balance == "weighted" and any("weight" in step for step in steps)
    total = max(step.get("weight", 1) for step in steps)
    # Weights here go from 0.001 to 1000; only their proportions count.
    scale = 1000 / total if total > 1000 else 1
    members: list[Any] = [
        {"use": step["use"], "weight": max(0.001, round(step.get("weight", 1) * scale, 3))} if weighted else step["use"]
        for step in steps
    ]
    return {"of": members, "balance": balance}


def _pairs(written: object, path: str) -> Iterator[tuple[str, list[str], str]]:
    """The entries of ``[{model: [other, …]}, …]``, each with its path."""
    for index, entry in enumerate(written if isinstance(written, list) else []):
        if isinstance(entry, Mapping):
            for name, others in entry.items():
                listed = others if isinstance(others, list) else [others]
                yield str(name), [str(other) for other in listed if isinstance(other, str)], f"{path}[{index}].{name}"
