"""Fills a data directory with the demo's people, keys and calls, through the store's own doors."""

from __future__ import annotations

import itertools
import json
import pathlib
import time

from calls import World
from cast import FEATURES, PEOPLE, TEAMS
from sqlalchemy import Engine

from headgate.config.load import load_settings
from headgate.config.priced import price_steps, steps_of
from headgate.stores.data import DataDir
from headgate.stores.ingest import Ingest
from headgate.stores.journal.framing import PayloadEntry
from headgate.stores.keys import KeySpec
from headgate.stores.people import TeamSpec, UserSpec
from headgate.stores.registry import Registry

KEYS = "keys.json"
BATCH = 2000
CONFIG = """\
# The demo's gateway: real models and prices, but every provider is the simulator on this machine.
providers:
  openai: {url: "http://127.0.0.1:UPSTREAM/v1", key: none, price_table: openai}
  anthropic: {url: "http://127.0.0.1:UPSTREAM/v1", key: none, price_table: anthropic}
  vllm: {url: "http://127.0.0.1:UPSTREAM/v1", prices: {"*": {input: 0.05, output: 0.1}}}
models:
  assistant:
    description: Answers people
    route: [openai/gpt-4.1, anthropic/claude-sonnet-4-5]
  fast:
    description: Short and cheap
    route: [openai/gpt-4.1-mini, anthropic/claude-haiku-4-5, vllm/qwen3-8b]
  claude:
    description: For agents
    route: [anthropic/claude-sonnet-4-5, openai/gpt-4.1]
  embed:
    description: For search
    route: [openai/text-embedding-3-small]
limits:
  - {scope: user, unit: requests, per: minute, amount: 60}
  - {scope: team, value: growth, unit: dollars, per: day, amount: 2}
  - {scope: everything, unit: dollars, per: day, amount: 40}
alerts:
  rules:
    errors: {kind: error_rate, above: 0.05, by: model}
    slow: {kind: first_content, quantile: p95, above: 3}
    budget: {kind: budget, amount: 150, per: month, by: team}
    cost: {kind: cost_spike, by: feature}
data:
  dir: data
  payloads: full
"""


def fill(folder: pathlib.Path, config: pathlib.Path, *, calls: int, days: int, number: int) -> int:
    """Makes people, teams, keys and calls; returns how many calls.

    Args:
        folder: where ``keys.json`` (the keys' secrets, 0600) goes; the data goes where ``config`` says.
        config: the demo's configuration.
        calls: about how many.
        days: over how many days until now.
        number: the seed.
    """
    settings = load_settings(config)
    data = DataDir(settings.data.dir, url=settings.database_url)
    plans = {
        model: [(one.name, one.price) for one in price_steps(settings, steps_of(settings, model))]
        for model in settings.models
    }
    engine = data.open_engine()
    try:
        ids, secrets = _people(engine, days)
        world = World(number, time.time_ns(), ids, plans)
        count = _store(Ingest(engine, data.owner), world, calls, days)
    finally:
        engine.dispose()
    file = folder / KEYS
    file.touch(mode=0o600)
    file.write_text(json.dumps(secrets, indent=1))
    return count


def _people(engine: Engine, days: int) -> tuple[dict[str, str], dict[str, str]]:
    """Makes teams, people and one key per feature, as of before the first call; returns the keys' ids and secrets."""
    start = time.time_ns() - days * 86_400 * 1_000_000_000
    moments = itertools.count(start, 61 * 1_000_000_000)
    registry = Registry(engine, "cli:demo", time_ns=lambda: next(moments))
    for team, about in TEAMS.items():
        registry.create_team(TeamSpec(name=team, description=about))
    for name, team, role in PEOPLE:
        mail = name.lower().replace(" ", ".") + "@example.com"
        registry.create_user(UserSpec(name=name, email=mail, team=team, role=role))
    ids, secrets = {}, {}
    for feature in FEATURES:
        spec = KeySpec(name=feature.key, team=feature.team, feature=feature.name, models=[feature.model])
        made = registry.create_key(spec)
        ids[feature.key], secrets[feature.key] = made.info.id, made.secret
    old = registry.create_key(KeySpec(name="prototype", team="research", expires="90d"))
    registry.revoke_key(old.info.id)
    registry.create_key(KeySpec(name="intern-laptop", owner="Farah Haddad", expires="30d"))
    return ids, secrets


def _store(ingest: Ingest, world: World, calls: int, days: int) -> int:
    refused: list[object] = []
    count = 0
    drawn = world.calls(calls, days)
    while batch := list(itertools.islice(drawn, BATCH)):
        bodies = [
            PayloadEntry(one.record.id, one.request, one.response)
            for one in batch
            if one.request is not None and one.response is not None
        ]
        judgements = [one.judgement for one in batch if one.judgement is not None]
        ingest.store([one.record for one in batch], bodies, {}, refused.append, judgements)
        count += len(batch)
    if refused:
        raise RuntimeError(f"the store refused {len(refused)} of the demo's calls")
    return count
