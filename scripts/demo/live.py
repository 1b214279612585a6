"""Makes the demo live: a call now and then, as the features make them, through the gateway's front door."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable, Mapping

from cast import CUSTOMERS, FEATURES, Feature

_PATHS = {"openai_chat": "/v1/chat/completions", "anthropic": "/v1/messages", "embeddings": "/v1/embeddings"}
_JUDGED, _PLEASED = 0.15, 0.9
"""Which share of answers somebody judges, and which share of those is liked."""


def wait_until_open(port: int, seconds: float = 30.0) -> None:
    """Waits until the gateway answers.

    Raises:
        TimeoutError: it does not.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/health")
            connection.getresponse().read()
            connection.close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"no gateway answers on port {port}")


def trickle(port: int, keys: Mapping[str, str], rate: float, *, is_over: Callable[[], bool]) -> None:
    """Makes ``rate`` calls a second (none for 0), one after the other, until ``is_over``."""
    chance = random.Random()
    while not is_over():
        if rate <= 0:
            time.sleep(0.5)
            continue
        time.sleep(min(5.0, chance.expovariate(rate)))
        feature = chance.choices(FEATURES, [one.share for one in FEATURES])[0]
        try:
            _call(port, keys[feature.key], feature, chance)
        except (OSError, http.client.HTTPException):
            continue  # an upstream that breaks off is part of the demo


def _call(port: int, key: str, feature: Feature, chance: random.Random) -> None:
    question, _ = chance.choice(feature.questions)
    body: dict[str, object] = {"model": feature.model}
    if feature.dialect == "embeddings":
        body["input"] = question
    else:
        body["messages"] = [{"role": "user", "content": question}]
        body["max_tokens"] = feature.max_tokens or 400
        body["stream"] = feature.stream
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}", "x-headgate-tags": "env=live"}
    if feature.people == "customers":
        headers["x-headgate-user"] = chance.choice(CUSTOMERS)
    if feature.prompt:
        headers["x-headgate-prompt"] = feature.prompt
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", _PATHS[feature.dialect], json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200 and feature.people == "customers" and feature.output and chance.random() < _JUDGED:
            score = 1 if chance.random() < _PLEASED else 0
            judged = json.dumps({"id": answer.headers["x-headgate-id"], "score": score})
            connection.request("POST", "/v1/feedback", judged, headers)
            connection.getresponse().read()
    finally:
        connection.close()
