"""``POST /v1/estimate`` over real sockets: what a request would cost, said without making it."""

from __future__ import annotations

import json
import pathlib
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from headgate.core.price import Price, Rates
from headgate.core.usage import Usage

from .conftest import Gateway

CONFIG = """
models:
  gpt-4o: {route: [near/gpt-4o, sim/echo], price: {input: 2.5, output: 10}, max_tokens: 100}
  plain: {route: [sim/echo]}
providers:
  near: {dialect: openai_chat, url: "http://127.0.0.1:9/v1"}
data: {dir: data}
estimate: {warn_tokens: 1000}
"""
ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello, gate!"}]}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a priced and an unpriced model."""
    one = Gateway(tmp_path_factory.mktemp("estimates"), CONFIG)
    yield one
    one.stop(signal.SIGTERM)


def ask(gate: Gateway, body: object, **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    status, _, data = gate.post("/v1/estimate", body, headers=named)
    return status, json.loads(data)


def test_it_tells_tokens_and_cost_of_each_deployment(gate: Gateway) -> None:
    """The tokenizer's count where there is one; the least, the most and what a budget would reserve, exactly."""
    status, found = ask(gate, ASK)
    assert status == 200
    near, sim = found["deployments"]
    assert (near["deployment"], near["input_tokens"], near["method"]) == ("near/gpt-4o", 11, "tokenizer")
    assert (sim["deployment"], sim["method"]) == ("sim/echo", "characters")
    price = Price(Rates(2_500_000_000, 10_000_000_000))
    assert near["cost_usd"] == {
        "min": f"{price.cost(Usage(11)) / 1e9:.7f}",
        "max": f"{price.cost(Usage(11, 100)) / 1e9:.7f}",
    }
    assert near["input_tokens_bound"] == len(json.dumps(ASK)) + 32
    assert found["cost_usd"]["min"] == "0.0000275"
    assert found["warnings"] == []


def test_a_large_request_and_an_unpriced_model_warn(gate: Gateway) -> None:
    """Above the configured size, and where nobody knows the price, it says so."""
    status, found = ask(gate, {**ASK, "model": "plain", "messages": [{"role": "user", "content": "word " * 2000}]})
    assert status == 200
    assert found["cost_usd"] is None
    assert "input tokens are over the 1,000 to warn above" in found["warnings"][0]
    assert "sim/echo has no price" in found["warnings"][1]


def test_it_takes_every_dialect(gate: Gateway) -> None:
    """Anthropic's requests by header or by their fields, embeddings, and whatever the header names."""
    talk = {**ASK, "max_tokens": 10}
    assert ask(gate, talk, anthropic_version="2023-06-01")[1]["dialect"] == "anthropic"
    assert ask(gate, {**talk, "system": "Be brief."})[1]["dialect"] == "anthropic"
    assert ask(gate, talk, x_headgate_dialect="anthropic")[1]["dialect"] == "anthropic"
    found = ask(gate, {"model": "gpt-4o", "input": ["one", "two"]})[1]
    assert (found["dialect"], found["max_output_tokens"]) == ("embeddings", 0)


def test_what_is_wrong_is_told_as_for_a_call(gate: Gateway) -> None:
    """No key, an unknown model, a malformed request, an unknown dialect, another method: the same errors."""
    assert ask(gate, {**ASK, "model": "nope"})[0] == 404
    status, told = ask(gate, {**ASK, "messages": [{"role": "user", "content": 7}]})
    assert (status, told["error"]["param"]) == (400, "messages[0].content")
    assert ask(gate, ASK, x_headgate_dialect="latin")[0] == 400
    assert ask(gate, [1])[0] == 400
    assert gate.raw(b"GET /v1/estimate HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").startswith(b"HTTP/1.1 405 ")
    assert ask(gate, ASK, authorization="Bearer hg-wrong")[0] == 401
    assert ask(gate, ASK, content_encoding="gzip")[0] == 415


def test_a_key_estimates_only_what_it_may_use(gate: Gateway) -> None:
    """A model that a key may not use does not exist for it, directly addressed ones neither."""
    key = gate.run("keys", "create", "--name", "narrow", "--models", "plain", "--quiet").strip()
    end = time.monotonic() + 60
    while ask(gate, ASK, authorization=f"Bearer {key}")[0] == 401 and time.monotonic() < end:
        time.sleep(0.05)  # workers learn of a key within a second
    assert ask(gate, ASK, authorization=f"Bearer {key}")[0] == 404
    assert ask(gate, {**ASK, "model": "plain"}, authorization=f"Bearer {key}")[0] == 200
    assert ask(gate, {**ASK, "model": "sim/echo"})[0] == 404


def test_nothing_is_called_or_recorded_and_the_worker_stays_small(gate: Gateway) -> None:
    """An estimate is no call; tokens are counted in a process of its own, which ends with the gateway's."""
    ask(gate, ASK)
    listed = gate.run("records", "--format", "jsonl")
    assert listed == ""
    status = pathlib.Path(f"/proc/{gate.process.pid}/status")
    if status.exists():
        (size,) = [int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS")]
        assert size < 80_000
