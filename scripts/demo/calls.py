"""Draws the demo's calls: Records, and the payloads of the newest, all of it from one seed and one moment."""

from __future__ import annotations

import bisect
import json
import math
import random
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from cast import CUSTOMERS, EPISODES, FEATURES, PEOPLE, Episode, Feature
from opinions import opinion

from headgate.core.feedback import Feedback
from headgate.core.price import Price
from headgate.core.record import AttemptRecord, Record, sum_costs
from headgate.core.usage import Usage

HOUR_NS = 3_600 * 1_000_000_000
DAY_NS = 24 * HOUR_NS
PAYLOAD_HOURS = 36
_HOURS = [3, 2, 2, 2, 3, 6, 14, 30, 58, 80, 92, 95, 78, 84, 96, 92, 80, 60, 42, 34, 28, 20, 12, 6]
"""How busy each hour of a day is (UTC); features that run at night are flatter."""
_WEEK = [1.0, 1.06, 1.1, 1.04, 0.92, 0.38, 0.34]
_PACE = {"openai": (0.42, 0.011), "anthropic": (0.68, 0.014), "vllm": (0.16, 0.022)}
"""By provider: median seconds to the first content, and seconds per token from there."""


_TOO_LONG = Episode(
    "", 0, 0, 0, 400, "context_length", "This model's maximum context length is 128000 tokens; the messages have more."
)


class Drawn(NamedTuple):
    """One call: its Record, the bytes of request and answer where they are kept, and what the caller thought of it."""

    record: Record
    request: bytes | None = None
    response: bytes | None = None
    judgement: Feedback | None = None


class World:
    """Draws calls.

    Args:
        seed: what everything follows from.
        now_ns: the moment that the newest call is just before.
        keys: by name, the id of a virtual key.
        plans: by model, the deployments of its route, each with its price.
    """

    def __init__(
        self,
        seed: int,
        now_ns: int,
        keys: Mapping[str, str],
        plans: Mapping[str, list[tuple[str, Price | None]]],
    ) -> None:
        self._chance = random.Random(seed)
        self._now_ns = now_ns
        self._keys = keys
        self._plans = plans
        self._count = 0
        self._process = f"{self._chance.getrandbits(32):08x}"

    def calls(self, count: int, days: int) -> Iterator[Drawn]:
        """Yields about ``count`` calls of the last ``days`` days, the oldest first."""
        for moment, feature in self._moments(count, days):
            for step in range(feature.run if feature.run == 1 else self._chance.randint(3, 2 * feature.run - 3)):
                at = moment + step * int(self._chance.uniform(4, 14) * 1e9)
                if at < self._now_ns:
                    yield self._call(feature, at, moment, step)

    def _moments(self, count: int, days: int) -> Iterator[tuple[int, Feature]]:
        """When which feature begins something: busy hours, quiet weekends, a product that grows."""
        start = self._now_ns // HOUR_NS * HOUR_NS - days * DAY_NS
        hours = range(days * 24 + 1)
        busy = [self._weight(start + hour * HOUR_NS, hour / len(hours)) for hour in hours]
        whole = list(_accumulate(busy))
        share = [feature.share / feature.run for feature in FEATURES]
        # A run of calls counts as one beginning.
        begun = round(count * sum(share) / sum(feature.share for feature in FEATURES))
        moments = []
        for _ in range(begun):
            hour = bisect.bisect(whole, self._chance.random() * whole[-1])
            moments.append(start + int((hour + self._chance.random()) * HOUR_NS))
        for moment in sorted(moments):
            night = _HOURS[moment // HOUR_NS % 24] < 20
            choice = [
                part * (1 if feature.night or not night else 0.3) for part, feature in zip(share, FEATURES, strict=True)
            ]
            if moment < self._now_ns:
                yield moment, self._chance.choices(FEATURES, choice)[0]

    def _weight(self, at_ns: int, through: float) -> float:
        weekday = (at_ns // DAY_NS + 3) % 7  # 1970-01-01 was a Thursday
        return _HOURS[at_ns // HOUR_NS % 24] * _WEEK[weekday] * (0.6 + 0.4 * through)

    def _call(self, feature: Feature, at: int, begun: int, step: int) -> Drawn:
        chance = self._chance
        self._count += 1
        record = Record(f"hg_{at // 1_000_000:011x}{self._process}{self._count:08x}", at)
        record.key_id, record.key_name = self._keys[feature.key], feature.key
        record.user, record.team, record.feature = self._user(feature, begun), feature.team, feature.name
        record.prompt, record.model, record.dialect = feature.prompt, feature.model, feature.dialect
        record.stream, record.priority = feature.stream, feature.priority
        record.tags = {"env": "production" if chance.random() < 0.93 else "staging"}
        record.max_tokens = feature.max_tokens
        if feature.run > 1:
            record.session = f"run-{begun // 1_000_000_000 % 1_000_000:06d}"
            record.trace = f"{begun:032x}"
        if chance.random() < 0.004:
            return Drawn(_refuse(record))
        usage = self._usage(feature, step)
        self._attempts(record, feature, usage)
        return self._with_payload(record, feature, usage)

    def _user(self, feature: Feature, begun: int) -> str:
        if feature.people == "nobody":
            return ""
        if feature.people == "team":
            names = [name for name, team, _ in PEOPLE if team == feature.team]
            return names[begun // 7 % len(names)]
        place = min(int(self._chance.expovariate(1 / 6)), len(CUSTOMERS) - 1)  # a few ask most
        return CUSTOMERS[place]

    def _usage(self, feature: Feature, step: int) -> Usage:
        chance = self._chance
        given = max(8, round(feature.input * chance.lognormvariate(0, 0.45) * (1 + 0.35 * step)))
        made = round(feature.output * chance.lognormvariate(0, 0.5)) if feature.output else 0
        cached = given // 2 if feature.output and chance.random() < (0.8 if step else 0.25) else 0
        return Usage(given, min(made, feature.max_tokens or made), cached)

    def _attempts(self, record: Record, feature: Feature, usage: Usage) -> None:
        """Tries the plan's deployments in order, as the gateway would, until one answers."""
        chance, clock = self._chance, chance_us(self._chance, 120, 300)
        for place, (name, price) in enumerate(self._plans[feature.model]):
            for again in range(2):
                if again:
                    clock += chance_us(chance, 40_000, 250_000)
                provider, _, model = name.partition("/")
                attempt = AttemptRecord(
                    name, provider, model, clock, sent=True, reused_connection=chance.random() < 0.97
                )
                attempt.max_tokens = feature.max_tokens or (0 if feature.dialect == "embeddings" else 4096)
                record.attempts.append(attempt)
                failed = self._failure(provider, record.time_ns)
                if failed is None and feature.output and chance.random() < 0.008:
                    failed = _TOO_LONG
                if failed is None:
                    self._answer(record, attempt, feature, usage, price)
                    return
                clock += chance_us(chance, 60_000, 900_000)
                attempt.ended_us, attempt.outcome, attempt.status = clock, "failed", failed.status
                attempt.error, attempt.error_message, attempt.fault = failed.error, failed.message, _fault(failed)
                attempt.cost = 0
                if failed is _TOO_LONG or place + 1 < len(self._plans[feature.model]):
                    break  # elsewhere before again
            if failed is _TOO_LONG:
                break  # the caller's own fault: no other deployment would take it
        last = record.attempts[-1]
        status = last.status if last.status in (400, 429) else 503
        record.outcome, record.status, record.duration_us = "failed", status, clock + 200
        record.error, record.error_message, record.fault = last.error, last.error_message, last.fault
        record.cost = sum_costs(record.attempts)

    def _failure(self, provider: str, at_ns: int) -> Episode | None:
        ago = (self._now_ns - at_ns) / HOUR_NS
        for one in EPISODES:
            if one.provider == provider and one.ago_h - one.length_h < ago <= one.ago_h:
                return one if self._chance.random() < one.share else None
        if self._chance.random() < 0.006:
            return Episode(provider, 0, 0, 0, 500, "server_error", "The server had an error while processing.")
        return None

    def _answer(
        self, record: Record, attempt: AttemptRecord, feature: Feature, usage: Usage, price: Price | None
    ) -> None:
        chance, (first, each) = self._chance, _PACE[attempt.provider]
        ago_h = (self._now_ns - record.time_ns) / HOUR_NS
        slow = 2.6 if attempt.provider == "anthropic" and ago_h < 3 else 1.0
        wait = int(first * slow * chance.lognormvariate(0, 0.5) * 1e6 * (1 + usage.input / 20_000))
        if feature.dialect == "embeddings":
            wait //= 5
        made = int(usage.output * each * chance.lognormvariate(0, 0.25) * 1e6)
        content = wait if feature.stream else wait + made
        left = feature.stream and chance.random() < 0.008
        if left:
            usage.output, made = usage.output // 3, made // 3
            usage.estimated = True
        attempt.first_content_us = attempt.started_us + content
        attempt.ended_us = attempt.started_us + wait + made
        attempt.status, attempt.outcome = 200, "cancelled" if left else "completed"
        attempt.usage, attempt.upstream_model = usage, attempt.model
        attempt.upstream_id = (
            f"{'msg' if attempt.provider == 'anthropic' else 'chatcmpl'}_{chance.getrandbits(48):012x}"
        )
        if price is not None:
            attempt.rates = price.at(usage)
            attempt.cost = attempt.rates.cost(usage)
        long = bool(feature.max_tokens) and usage.output >= feature.max_tokens
        attempt.finish = "" if left else "length" if long else "stop"
        record.winner, record.usage, record.finish = len(record.attempts) - 1, usage, attempt.finish
        record.outcome, record.status = attempt.outcome, 200
        record.first_content_us = attempt.first_content_us + chance_us(chance, 60, 160)
        record.duration_us = attempt.ended_us + chance_us(chance, 80, 220)
        record.cost = sum_costs(record.attempts)

    def _with_payload(self, record: Record, feature: Feature, usage: Usage) -> Drawn:
        question, answer = self._chance.choice(feature.questions)
        request = _request(record, feature, question)
        response = _response(record, feature, answer, usage) if record.outcome == "completed" else b""
        record.request_bytes, record.response_bytes = len(request), len(response)
        judgement = opinion(self._chance, record, feature, self._now_ns)
        if not response or self._now_ns - record.time_ns > PAYLOAD_HOURS * HOUR_NS:
            return Drawn(record, judgement=judgement)
        record.payloads = "full"
        return Drawn(record, request, response, judgement)


def chance_us(chance: random.Random, low: float, high: float) -> int:
    """Returns so many µs, mostly near ``low``."""
    return int(low + (high - low) * math.pow(chance.random(), 3))


def _accumulate(values: list[float]) -> Iterator[float]:
    total = 0.0
    for value in values:
        total += value
        yield total


def _fault(failed: Episode) -> Literal["caller", "upstream"]:
    return "caller" if failed.status == 400 else "upstream"


def _refuse(record: Record) -> Record:
    record.outcome, record.status, record.fault = "refused", 429, "caller"
    record.error = "rate_limit_exceeded"
    record.error_message = f"The key {record.key_name} has made all the requests that it may in this minute."
    record.duration_us, record.cost = 150, 0
    return record


def _request(record: Record, feature: Feature, question: str) -> bytes:
    if feature.dialect == "embeddings":
        return json.dumps({"model": record.model, "input": question}).encode()
    body: dict[str, object] = {"model": record.model}
    if feature.max_tokens:
        body["max_tokens"] = feature.max_tokens
    if feature.stream:
        body["stream"] = True
    system = f"You help with {feature.name.replace('-', ' ')}. Be brief and exact."
    if feature.dialect == "anthropic":
        return json.dumps({**body, "system": system, "messages": [{"role": "user", "content": question}]}).encode()
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    return json.dumps({**body, "messages": messages}).encode()


def _response(record: Record, feature: Feature, answer: str, usage: Usage) -> bytes:
    attempt = record.attempts[record.winner]
    if feature.dialect == "embeddings":
        data = [{"object": "embedding", "index": 0, "embedding": [0.0123, -0.0456, 0.0789]}]
        counts = {"prompt_tokens": usage.input, "total_tokens": usage.input}
        return json.dumps({"object": "list", "model": attempt.model, "data": data, "usage": counts}).encode()
    if feature.dialect == "anthropic":
        return _anthropic_stream(attempt, answer, usage)
    counts = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    }
    base = {"id": attempt.upstream_id, "created": record.time_ns // 1_000_000_000, "model": attempt.model}
    if not feature.stream:
        choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": attempt.finish}
        return json.dumps({**base, "object": "chat.completion", "choices": [choice], "usage": counts}).encode()
    base["object"] = "chat.completion.chunk"
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": piece}, None) for piece in _pieces(answer)]
    deltas.append(({}, attempt.finish))
    chunks = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} for delta, finish in deltas]
    chunks.append({**base, "choices": [], "usage": counts})
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode() + b"data: [DONE]\n\n"


def _anthropic_stream(attempt: AttemptRecord, answer: str, usage: Usage) -> bytes:
    message = {
        "id": attempt.upstream_id,
        "type": "message",
        "role": "assistant",
        "model": attempt.model,
        "content": [],
        "stop_reason": None,
        "usage": {
            "input_tokens": usage.input - usage.cached,
            "cache_read_input_tokens": usage.cached,
            "output_tokens": 1,
        },
    }
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]
    events += [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
        for piece in _pieces(answer)
    ]
    stop = "max_tokens" if attempt.finish == "length" else "end_turn"
    events += [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": usage.output}},
        {"type": "message_stop"},
    ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def _pieces(answer: str) -> list[str]:
    words = answer.split(" ")
    return [" ".join(words[n : n + 3]) + (" " if n + 3 < len(words) else "") for n in range(0, len(words), 3)]
