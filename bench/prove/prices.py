#!/usr/bin/env python3
"""Proof: the cost of every usage in the recorded exchanges, by our table and arithmetic and by two public price files.

Each usage is priced three times: by Headgate (whole nano-dollars, the table of the installed ``genai-prices``), and by
a plain Decimal computation of its own over each file in ``$HEADGATE_SHARED_DATA/prices``. Every difference over 0.1 %
is put down to a rule, by the rates that the usage touched. Saves ``bench/results/prices.json``.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import os
import pathlib
import platform
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from headgate.config.price_book import load_table
from headgate.core.price import Rates
from headgate.core.usage import Usage
from headgate.dialects.anthropic.wire import WireUsage as AnthropicUsage
from headgate.dialects.openai_chat.wire import WireUsage as ChatUsage
from headgate.providers.pricelist import PriceList, Schedule

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("HEADGATE_SHARED_DATA", ROOT.parent / "shared" / "data"))
NANO = Decimal(1_000_000_000)
MILLION = Decimal(1_000_000)
NO_RULE = "the tables agree, the sums do not"
UNDECIDED = "the tables state different list prices; which one is right is not decided here"

GENAI_IDS = {
    "azure-openai": "azure",
    "bedrock": "aws",
    "gemini": "google",
    "vertex": "google",
    "gateway": "openai",
    "voyage": "voyageai",
}
LITELLM_PREFIXES = {
    "azure-openai": ("azure/", ""),
    "bedrock": ("", "bedrock/"),
    "gemini": ("gemini/",),
    "vertex": ("vertex_ai/", "", "gemini/"),
    "gateway": ("",),
    "together": ("together_ai/",),
    "openai": ("",),
    "anthropic": ("",),
    "cohere": ("", "cohere/"),
}
_DATED = re.compile(r"[-@](?:20\d{2}-\d{2}-\d{2}|20\d{6})$")
_REGION = re.compile(r"^(?:us|eu|apac|global|jp|au)\.(?=[a-z]+\.)")


class Seen(msgspec.Struct, frozen=True):
    """One usage: who reported it, for which model, how much."""

    provider: str
    model: str
    usage: Usage


# what the recordings hold


def read_usages(path: pathlib.Path) -> tuple[list[Seen], Counter[str]]:
    """Returns every usage in the recordings, and how many exchanges had none, by why."""
    found, without = [], Counter[str]()
    with gzip.open(path, "rt") as lines:
        for line in lines:
            exchange = json.loads(line)
            response = exchange["response"]
            if not 200 <= response["status"] < 300:
                without["refused"] += 1
                continue
            documents = list(read_documents(exchange))
            usage = last_usage(documents) or header_usage(response["headers"])
            if usage is None or not (usage.input or usage.output):
                without["no usage in it"] += 1
                continue
            model = model_of(exchange, documents)
            if not model:
                without["names no model"] += 1
                continue
            found.append(Seen(provider_of(exchange), model, usage))
    return found, without


def provider_of(exchange: dict[str, Any]) -> str:
    host = urlsplit(exchange["request"]["url"]).hostname or ""
    return "bedrock" if host.startswith("bedrock") else str(exchange["provider"])


def read_documents(exchange: dict[str, Any]) -> Iterator[Any]:
    """Yields the JSON documents of an answer: the body, a stream's events, what is inside of AWS event streams."""
    response = exchange["response"]
    body = response.get("body")
    data = body.encode() if body is not None else base64.b64decode(response.get("body_b64") or "")
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if b":event-type" in data:
        yield from read_events(data)
        return
    text = data.decode("utf-8", "replace")
    try:
        whole = json.loads(text)
    except ValueError:
        for line in text.splitlines():
            payload = line.partition(":")[2] if line.startswith("data:") else line
            if payload.strip().startswith("{"):
                try:
                    yield json.loads(payload)
                except ValueError:
                    continue
        return
    yield from whole if isinstance(whole, list) else [whole]


def read_events(data: bytes) -> Iterator[Any]:
    """Yields the payloads of an AWS event stream; some hold the model's own event, in base64."""
    position = 0
    while position + 16 <= len(data):
        whole, head = (int.from_bytes(data[position + n : position + n + 4], "big") for n in (0, 4))
        payload = data[position + 12 + head : position + whole - 4]
        position += whole or len(data)
        if payload[:1] == b"{":
            document = json.loads(payload)
            inner = base64.b64decode(document.get("bytes") or "")
            yield json.loads(inner) if inner[:1] == b"{" else document


def last_usage(documents: list[Any]) -> Usage | None:
    """Returns what an answer reports at its end. Anthropic's streams say a part of it at their beginning."""
    merged: AnthropicUsage | None = None
    found = None
    for document in documents:
        for shape in find_usages(document):
            if "input_tokens" in shape and ("cache_read_input_tokens" in shape or merged is not None):
                wire = msgspec.convert(shape, AnthropicUsage)
                merged = wire if merged is None else wire.over(merged)
                found = merged.neutral()
            elif set(shape) == {"output_tokens"} and merged is not None:
                found = msgspec.convert(shape, AnthropicUsage).over(merged).neutral()
            else:
                found = read_shape(shape) or found
    return found


def find_usages(node: Any) -> Iterator[dict[str, Any]]:
    """Yields whatever looks like a report of usage in a document, outermost first."""
    if not isinstance(node, dict):
        return
    if node.get("type") in ("message_delta", "message_start") or "usage" in node:
        usage = node.get("usage")
        if isinstance(usage, dict):
            yield {**usage, "service_tier": node.get("service_tier") or usage.get("service_tier")}
    for key in ("usageMetadata", "billed_units", "amazon-bedrock-invocationMetrics"):
        if isinstance(node.get(key), dict):
            yield node[key]
    if "inputTextTokenCount" in node or "prompt_token_count" in node:
        yield node
    if isinstance(node.get("results"), list) and node["results"] and isinstance(node["results"][0], dict):
        yield node["results"][0]
    for key in ("message", "response", "meta", "delta", "x_groq", "data"):
        yield from find_usages(node.get(key))


def read_shape(shape: dict[str, Any]) -> Usage | None:
    """Returns one report in the neutral convention; None for what is no report."""
    shape = {key: int(value) if isinstance(value, float) else value for key, value in shape.items()}
    get = shape.get
    if "prompt_tokens" in shape:
        return msgspec.convert(shape, ChatUsage, strict=False).neutral(get("service_tier"))
    if "billed_units" in shape:
        return read_shape(shape["billed_units"])
    if "promptTokenCount" in shape:
        return gemini_usage(shape)
    if "inputTokens" in shape:
        read, written = get("cacheReadInputTokens") or 0, get("cacheWriteInputTokens") or 0
        return Usage(get("inputTokens", 0) + read + written, get("outputTokens", 0), read, written)
    if "inputTokenCount" in shape:
        read, written = get("cacheReadInputTokenCount") or 0, get("cacheWriteInputTokenCount") or 0
        return Usage(shape["inputTokenCount"] + read + written, get("outputTokenCount", 0), read, written)
    if "inputTextTokenCount" in shape:
        made = sum(int(result.get("tokenCount", 0)) for result in get("results") or ())
        return Usage(shape["inputTextTokenCount"], made or get("totalOutputTextTokenCount") or 0)
    if "prompt_token_count" in shape:
        return Usage(shape["prompt_token_count"] or 0, get("generation_token_count") or 0)
    if "input_token_count" in shape:
        return Usage(shape["input_token_count"] or 0, get("generated_token_count") or 0)
    if "input_tokens" in shape:
        given, made = get("input_tokens_details") or {}, get("output_tokens_details") or {}
        cached, reasoning = given.get("cached_tokens") or 0, made.get("reasoning_tokens") or 0
        return Usage(int(shape["input_tokens"]), int(get("output_tokens") or 0), cached, reasoning=reasoning)
    return Usage(shape["total_tokens"]) if set(shape) - {"service_tier"} == {"total_tokens"} else None


def gemini_usage(shape: dict[str, Any]) -> Usage:
    modes = {"prompt": Counter[str](), "candidates": Counter[str]()}
    for name, counts in modes.items():
        for detail in shape.get(f"{name}TokensDetails") or ():
            counts[str(detail.get("modality"))] += detail.get("tokenCount") or 0
    thoughts = shape.get("thoughtsTokenCount") or 0
    return Usage(
        shape["promptTokenCount"],
        (shape.get("candidatesTokenCount") or 0) + thoughts,
        shape.get("cachedContentTokenCount") or 0,
        reasoning=thoughts,
        audio_input=modes["prompt"]["AUDIO"],
        image_output=modes["candidates"]["IMAGE"],
    )


def header_usage(headers: dict[str, str]) -> Usage | None:
    """Bedrock says it in headers too."""
    counts = [headers.get(f"x-amzn-bedrock-{kind}-token-count") for kind in ("input", "output")]
    return None if not any(counts) else Usage(*(int(count or 0) for count in counts))


def model_of(exchange: dict[str, Any], documents: list[Any]) -> str:
    """Returns the model as the answer names it, else as the request does."""
    url = unquote(urlsplit(exchange["request"]["url"]).path)
    if provider_of(exchange) == "bedrock" and "/model/" in url:
        return url.partition("/model/")[2].rpartition("/")[0]
    for document in documents:
        inner = document if isinstance(document, dict) else {}
        for place in (inner, inner.get("response"), inner.get("message"), inner.get("data")):
            if isinstance(place, dict) and isinstance(place.get("model") or place.get("modelVersion"), str):
                return str(place.get("model") or place.get("modelVersion"))
    return str(exchange.get("model") or "")


# the three tables


def plain_cost(rates: dict[str, Decimal], usage: Usage) -> Decimal:
    """Returns dollars, by arithmetic of its own: each kind of token at its rate, the rest at its family's."""
    total = Decimal(0)
    if "cache_write" in rates:
        rates = {"cache_write_1h": rates["cache_write"], **rates}
    for family, all_of_it, parts in (
        ("input", usage.input, ("cached", "cache_write", "cache_write_1h", "audio_input", "image_input")),
        ("output", usage.output, ("reasoning", "audio_output", "image_output")),
    ):
        rest = all_of_it
        for part in parts:
            count = getattr(usage, part)
            if count and part in rates:
                total += count * rates[part] / MILLION
                rest -= count
        total += rest * rates.get(family, Decimal(0)) / MILLION
    return total + usage.searches * rates.get("search", Decimal(0)) + rates.get("request", Decimal(0))


class GenaiFile:
    """The file ``genai_prices.json``: its rules looked up by our matcher, its numbers read as Decimal."""

    NAMES = {
        "input_mtok": "input",
        "output_mtok": "output",
        "cache_read_mtok": "cached",
        "cache_write_mtok": "cache_write",
        "cache_write_1h_mtok": "cache_write_1h",
        "output_reasoning_mtok": "reasoning",
        "input_audio_mtok": "audio_input",
        "output_audio_mtok": "audio_output",
        "input_image_mtok": "image_input",
        "output_image_mtok": "image_output",
    }

    def __init__(self, path: pathlib.Path, moment: datetime) -> None:
        self._moment = moment
        data = json.loads(path.read_text(), parse_float=Decimal, parse_int=Decimal)
        self._models = {provider["id"]: {model["id"]: model for model in provider["models"]} for provider in data}
        tables = []
        for provider in data:
            models = [
                {"id": model["id"], "match": self._match(model["match"]), "periods": []} for model in provider["models"]
            ]
            tables.append(
                {
                    "id": provider["id"],
                    "url": provider["api_pattern"],
                    "models": models,
                    "fallback": provider.get("fallback_model_providers") or [],
                }
            )
        self._list = PriceList.read(json.dumps({"version": "file", "tables": tables}).encode())
        self._owner = {model: provider["id"] for provider in data for model in (m["id"] for m in provider["models"])}

    def rates(
        self, provider: str, model: str, usage: Usage, ours: str | None
    ) -> tuple[dict[str, Decimal] | None, bool]:
        """Returns dollars per million tokens (None: unknown, or nothing said), and whether it matches another model
        than ``ours`` in spite of the date in its name."""
        found = self._list.find(provider, model)
        if found is None:
            return None, False
        id = found.model_id
        entry = self._models.get(provider, {}).get(id) or self._models[self._owner[id]][id]
        prices = entry["prices"]
        if isinstance(prices, list):
            holding = [one for one in prices if self._holds(one.get("constraint"))]
            prices = (holding[-1] if holding else prices[0])["prices"]
        rates = {}
        for key, value in prices.items():
            if key in self.NAMES:
                rates[self.NAMES[key]] = self._step(value, usage.input)
            elif key in ("web_searches_kcount", "requests_kcount"):
                rates["search" if "search" in key else "request"] = self._step(value, 0) / 1000
        other = ours not in (None, id) and _DATED.search(model) is not None
        return (rates if "input" in rates else None), other

    def _step(self, value: Any, tokens: int) -> Decimal:
        if not isinstance(value, dict):
            return Decimal(value)
        rate = value["base"]
        for tier in value["tiers"]:
            if tokens > tier["start"]:
                rate = tier["price"]
        return Decimal(rate)

    def _holds(self, constraint: dict[str, Any] | None) -> bool:
        if not constraint:
            return True
        if "start_date" in constraint:
            return self._moment.date().isoformat() >= constraint["start_date"]
        now = self._moment.time().isoformat()
        begin, end = constraint["start_time"][:8], constraint["end_time"][:8]
        return begin <= now < end if begin <= end else now >= begin or now < end

    def _match(self, clause: dict[str, Any]) -> list[Any]:
        ((name, value),) = clause.items()
        if isinstance(value, list):
            return [name, [self._match(one) for one in value]]
        return [name, value if name == "regex" else value.lower()]


class LitellmFile:
    """The file ``litellm_model_prices.json``: dollars per token, by ``provider/model``."""

    NAMES = {
        "input_cost_per_token": "input",
        "output_cost_per_token": "output",
        "cache_read_input_token_cost": "cached",
        "cache_creation_input_token_cost": "cache_write",
        "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
        "output_cost_per_reasoning_token": "reasoning",
        "input_cost_per_audio_token": "audio_input",
        "output_cost_per_audio_token": "audio_output",
        "input_cost_per_image_token": "image_input",
        "output_cost_per_image_token": "image_output",
    }

    def __init__(self, path: pathlib.Path) -> None:
        self._entries = json.loads(path.read_text(), parse_float=Decimal, parse_int=Decimal)

    def rates(self, provider: str, model: str, usage: Usage) -> tuple[dict[str, Decimal] | None, bool]:
        """Returns dollars per million tokens (None: unknown), and whether another snapshot's entry had to do."""
        bare = _REGION.sub("", model)
        for name in (model, bare):
            for prefix in LITELLM_PREFIXES.get(provider, (f"{provider}/",)):
                entry = self._entries.get(prefix + name)
                if entry is not None:
                    return self._read(entry, usage), False
        undated = _DATED.sub("", bare)
        for prefix in LITELLM_PREFIXES.get(provider, (f"{provider}/",)):
            entry = self._entries.get(prefix + undated)
            if entry is not None:
                return self._read(entry, usage), True
        return None, False

    def _read(self, entry: dict[str, Any], usage: Usage) -> dict[str, Decimal] | None:
        rates = {}
        for key, name in self.NAMES.items():
            value = entry.get(key)
            value = entry.get(f"{key}_{_LITELLM_TIERS.get(usage.tier)}", value)
            for threshold in (128, 200, 272):
                higher = entry.get(f"{key}_above_{threshold}k_tokens")
                if higher is not None and usage.input > threshold * 1000:
                    value = higher
            if value is not None:
                rates[name] = Decimal(value) * MILLION
        searches = entry.get("search_context_cost_per_query") or {}
        if "search_context_size_medium" in searches:
            rates["search"] = Decimal(searches["search_context_size_medium"])
        return rates if "input" in rates else None


def our_rates(rates: Rates) -> dict[str, Decimal]:
    """Returns our rates as the other tables': dollars per million tokens, or per piece."""
    return {name: Decimal(rate) / NANO for name, rate in msgspec.structs.asdict(rates).items() if rate is not None}


_LITELLM_TIERS = {"priority": "priority", "flex": "flex", "batch": "batches"}


# the differences


def differing(ours: dict[str, Decimal], theirs: dict[str, Decimal], usage: Usage) -> list[str]:
    """Returns a phrase for each rate that the usage touched and the tables do not share."""
    said = []
    for name in ("input", "output", *_PARTS, "search", "request"):
        count = 1 if name == "request" else getattr(usage, "searches" if name == "search" else name)
        if not count:
            continue
        family = _PARTS.get(name)
        here, there = (table.get(name, table.get(family or "", Decimal(0))) for table in (ours, theirs))
        if here == there:
            continue
        word = name.replace("_", " ")
        if name not in theirs and name in ours:
            said.append(f"lacks a {word} rate")
        elif name not in ours and name in theirs:
            said.append(f"has a {word} rate that ours lacks")
        else:
            said.append(f"{word} ${there.normalize():f} where ours has ${here.normalize():f}")
    return said


_PARTS = {
    "cached": "input",
    "cache_write": "input",
    "cache_write_1h": "input",
    "audio_input": "input",
    "image_input": "input",
    "reasoning": "output",
    "audio_output": "output",
    "image_output": "output",
}


class Tally:
    """What one file says of all usages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.compared = self.equal = 0
        self.unknown_here: Counter[tuple[str, str]] = Counter()
        self.unknown_there: Counter[tuple[str, str]] = Counter()
        self.differences: dict[tuple[str, str, str, str], list[tuple[Decimal, Decimal]]] = defaultdict(list)

    def add(self, seen: Seen, ours: Decimal, theirs: Decimal, rule: str, why: str) -> None:
        self.compared += 1
        if abs(ours - theirs) <= Decimal("0.001") * max(ours, theirs):
            self.equal += 1
        else:
            self.differences[seen.provider, seen.model, rule, why].append((ours, theirs))


def compare(
    seen: list[Seen],
    ours: PriceList,
    ids: dict[str, list[str]],
    genai: GenaiFile,
    litellm: LitellmFile,
    now: float,
) -> dict[str, Any]:
    """Prices every usage three times, at one moment; ``ids`` are our table's models by provider."""
    tallies = {"genai_prices.json": Tally("genai_prices.json"), "litellm_model_prices.json": Tally("litellm")}
    priced = inexact = 0
    unpriced: Counter[tuple[str, str]] = Counter()
    for one in seen:
        provider = GENAI_IDS.get(one.provider, one.provider)
        schedule = ours.find(provider, one.model) if ours.has(provider) else None
        price = schedule.at(now) if isinstance(schedule, Schedule) else None
        tables: dict[str, tuple[dict[str, Decimal] | None, bool]] = {
            "genai_prices.json": genai.rates(provider, one.model, one.usage, schedule and schedule.model_id),
            "litellm_model_prices.json": litellm.rates(one.provider, one.model, one.usage),
        }
        if price is None:
            unpriced[one.provider, one.model] += 1
        mine = None
        if price is not None:
            priced += 1
            mine = Decimal(price.cost(one.usage)) / NANO
            exact = plain_cost(our_rates(price.at(one.usage)), one.usage)
            inexact += abs(mine - exact) > Decimal("0.5") / NANO
        for name, (rates, other) in tables.items():
            tally = tallies[name]
            if rates is None and price is not None:
                tally.unknown_there[one.provider, one.model] += 1
            if rates is not None and price is None:
                tally.unknown_here[one.provider, one.model] += 1
            if rates is None or price is None or mine is None or schedule is None:
                continue
            words = differing(our_rates(price.at(one.usage)), rates, one.usage)
            rule = "the file counts this snapshot as another model" if other else ""
            if not rule:
                kin = [found for id in ids[provider] if (found := ours.find(provider, id)) is not None]
                alias = one.model.endswith("latest")
                rule = rule_of(words, schedule, now, one.usage, rates, alias=alias, kin=kin)
            tally.add(one, mine, plain_cost(rates, one.usage), rule, "; ".join(words))
    return {"priced": priced, "inexact": inexact, "unpriced": unpriced, "tallies": tallies}


def rule_of(
    words: list[str],
    schedule: Schedule,
    now: float,
    usage: Usage,
    theirs: dict[str, Decimal],
    *,
    alias: bool,
    kin: list[Schedule],
) -> str:
    """Returns the rule that a difference falls under; ``UNDECIDED`` where only the tables' sources could tell.

    Args:
        words: what the tables do not share.
        schedule: our price over time.
        now: the moment of the comparison.
        usage: what was priced.
        theirs: the file's rates.
        alias: whether the model's name is one that moves (``-latest``).
        kin: our prices of the same provider's other models.
    """
    if not words:
        return NO_RULE
    if not any("where ours" in word for word in words):
        lacking = all(word.startswith("lacks") for word in words)
        return "the file lacks a rate that ours has" if lacking else "ours lacks a rate that the file has"
    standard = schedule.at(now)
    if usage.tier and standard is not None and not differing(our_rates(standard.rates), theirs, usage):
        return f"the file has no rates for the {usage.tier} tier, which answered"
    for rule, moments in (
        ("ours goes by the hour of the day, the file does not", [now + hour * 3600 for hour in range(24)]),
        ("ours has a later price by its date", [now - month * 30 * 86_400 for month in range(1, 40)]),
        (
            "ours has a temporary price, the file the one after it",
            [now + month * 30 * 86_400 for month in range(1, 13)],
        ),
    ):
        if any(same_rates(schedule, moment, usage, theirs) for moment in moments):
            return rule
    if alias and any(same_rates(other, now, usage, theirs) for other in kin):
        return "the alias stands for another model of the provider in the file"
    here = standard and our_rates(standard.at(usage))
    if here and all(
        theirs.get(name) == here.get(name, Decimal(0)) * Decimal("1.1")
        for name in ("input", "output")
        if getattr(usage, name)
    ):
        return "the file's rates are exactly 1.1 times ours"
    return UNDECIDED


def same_rates(schedule: Schedule, moment: float, usage: Usage, theirs: dict[str, Decimal]) -> bool:
    """Whether our price at a moment is the file's, for all that a usage touches."""
    price = schedule.at(moment)
    return price is not None and not differing(our_rates(price.at(usage)), theirs, usage)


def rows_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns one row per file, provider, model and reason."""
    rows = []
    for name, tally in result["tallies"].items():
        for (provider, model, rule, why), costs in sorted(tally.differences.items()):
            ours, theirs = sum(one for one, _ in costs), sum(other for _, other in costs)
            rows.append(
                {
                    "file": name,
                    "provider": provider,
                    "model": model,
                    "usages": len(costs),
                    "ours $": f"{ours:.9f}".rstrip("0"),
                    "file's $": f"{theirs:.9f}".rstrip("0"),
                    "difference": f"{(theirs / ours - 1) * 100:+.1f} %" if ours else "from 0",
                    "rule": rule,
                    "the file": why,
                }
            )
    return rows


def summary(seen: list[Seen], without: Counter[str], result: dict[str, Any]) -> dict[str, Any]:
    """Returns the result in the shape of the proofs page."""
    tallies = result["tallies"]
    rows = rows_of(result)
    others = ", ".join(f"{count} {why}" for why, count in without.items())
    parts = [
        f"{len(seen)} usages in the recorded exchanges (the others: {others}).",
        f"{result['priced']} have a price in our table; {sum(result['unpriced'].values())} have none and are "
        f"recorded as unpriced: {names(result['unpriced'])}.",
    ]
    for name, tally in tallies.items():
        rules = Counter[str]()
        for (_, _, rule, _), costs in tally.differences.items():
            rules[rule] += len(costs)
        told = "; ".join(f"{count}: {rule}" for rule, count in rules.most_common()) or "none"
        parts.append(
            f"`{name}`: {tally.compared} compared, {tally.equal} within 0.1 %, the others: {told}. "
            f"Priced by us alone: {names(tally.unknown_there) or 'none'}. "
            f"Priced by the file alone: {names(tally.unknown_here) or 'none'}."
        )
    bars = [
        {
            "what": "our integer cost is the exact one, rounded once",
            "bar": "all usages",
            "measured": f"{result['priced'] - result['inexact']} of {result['priced']}",
            "holds": result["inexact"] == 0,
        },
        {
            "what": "differences over 0.1 % that the rates do not explain",
            "bar": "0",
            "measured": str(sum(row["usages"] for row in rows if row["rule"] == NO_RULE)),
            "holds": not any(row["rule"] == NO_RULE for row in rows),
        },
    ]
    return {
        "name": "prices",
        "title": "Prices: every recorded usage, by three tables",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "about": "\n\n".join(parts),
        "rows": rows,
        "bars": bars,
    }


def names(counts: Counter[tuple[str, str]], most: int = 40) -> str:
    shown = [f"{provider}/{model} ({count})" for (provider, model), count in counts.most_common(most)]
    return ", ".join(shown) + (f" and {len(counts) - most} models more" if len(counts) > most else "")


def main() -> int:
    """Runs the comparison; returns 1 where a bar does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "bench" / "results" / "prices.json")
    arguments = parser.parse_args()
    seen, without = read_usages(SHARED / "cassettes" / "recorded_exchanges.jsonl.gz")
    with tempfile.TemporaryDirectory() as folder:
        ours = load_table(pathlib.Path(folder))
        (file,) = pathlib.Path(folder).glob("prices-*.json")
        ids = {
            table["id"]: [model["id"] for model in table["models"]] for table in json.loads(file.read_text())["tables"]
        }
    if ours is None:
        print("the price table can not be read", file=sys.stderr)
        return 1
    # Noon: what goes by the hour goes by the same hour in every run.
    moment = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    genai = GenaiFile(SHARED / "prices" / "genai_prices.json", moment)
    litellm = LitellmFile(SHARED / "prices" / "litellm_model_prices.json")
    result = summary(seen, without, compare(seen, ours, ids, genai, litellm, moment.timestamp()))
    arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(result["about"])
    for bar in result["bars"]:
        print(f"{'holds' if bar['holds'] else 'FAILS'}: {bar['what']}: {bar['measured']} (bar: {bar['bar']})")
    return 0 if all(bar["holds"] for bar in result["bars"]) else 1


if __name__ == "__main__":
    sys.exit(main())
