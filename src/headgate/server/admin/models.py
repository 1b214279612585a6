"""The admin API's routes for what is configured (models, deployments, providers; no secrets), and who asks."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headgate.config.settings import ModelSettings, StepSettings
from headgate.server.admin.route import Ask, Route


class Model(msgspec.Struct):
    """A name that callers use, and the deployments that answer for it, in order."""

    name: str
    description: str
    max_tokens: int
    deployments: list[str]


class Models(msgspec.Struct):
    """All models, in the order of the configuration."""

    data: list[Model]


class Deployment(msgspec.Struct):
    """A model at a provider, and the models that it answers for."""

    name: str
    provider: str
    model: str
    models: list[str]


class Deployments(msgspec.Struct):
    """All deployments that a model names."""

    data: list[Deployment]


class Provider(msgspec.Struct):
    """A provider: what kind it is, and which conversation dialects it speaks."""

    name: str
    type: str
    dialects: list[str]


class Providers(msgspec.Struct):
    """All providers."""

    data: list[Provider]


class Caller(msgspec.Struct):
    """Who asks. `key_id` is empty in keyless mode."""

    key_id: str
    key_name: str
    role: str
    user: str
    team: str


def _steps(model: ModelSettings) -> Iterable[StepSettings]:
    """Every deployment that may answer for a model: its route's, then those for a kind of failure."""
    for group in model.route:
        yield from group.steps
    for steps in model.on.values():
        yield from steps


def _models(ask: Ask) -> Models:
    return Models(
        [
            Model(
                model.name,
                model.description,
                model.max_tokens,
                list(dict.fromkeys(step.name for step in _steps(model))),
            )
            for model in ask.desk.core.settings.models.values()
        ]
    )


def _deployments(ask: Ask) -> Deployments:
    found: dict[str, Deployment] = {}
    for model in ask.desk.core.settings.models.values():
        for step in _steps(model):
            deployment = found.setdefault(step.name, Deployment(step.name, step.provider, step.model, []))
            if model.name not in deployment.models:
                deployment.models.append(model.name)
    return Deployments(list(found.values()))


def _providers(ask: Ask) -> Providers:
    providers = ask.desk.core.settings.providers.values()
    return Providers([Provider(one.name, one.row.name, list(one.dialects)) for one in providers])


def _caller(ask: Ask) -> Caller:
    who = ask.principal
    return Caller(who.key_id, who.key_name, who.role, who.user, who.team)


ROUTES = (
    Route(
        method="GET",
        path="/models",
        name="list_models",
        about="Lists the configured models and what answers for them.",
        role="viewer",
        does=_models,
        gives=Models,
    ),
    Route(
        method="GET",
        path="/deployments",
        name="list_deployments",
        about="Lists the deployments that models name.",
        role="viewer",
        does=_deployments,
        gives=Deployments,
    ),
    Route(
        method="GET",
        path="/providers",
        name="list_providers",
        about="Lists the configured providers, without their secrets.",
        role="viewer",
        does=_providers,
        gives=Providers,
    ),
    Route(
        method="GET",
        path="/me",
        name="get_me",
        about="Tells who the caller is, and what they may.",
        role="viewer",
        does=_caller,
        gives=Caller,
    ),
)
