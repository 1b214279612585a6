"""Calls through a gateway cost what their usage says, to the nano-dollar, and reports add them up."""

from __future__ import annotations

import json
import pathlib
import signal

from headgate.core.price import show_dollars

from .conftest import Gateway

CONFIG = """
models:
  fast: {route: [sim/fail-503, sim/words-50], price: {input: 2.5, output: 10, cached: 1.25}}
  free: {route: [sim/echo]}
data: {dir: data}
"""


def test_every_call_is_charged(tmp_path: pathlib.Path) -> None:
    """Unary and streamed answers, after a refused attempt that costs nothing; counting is free; unpriced is named."""
    gate = Gateway(tmp_path, CONFIG)
    try:
        nano = 0
        for size in (1, 7, 300):
            ask = [{"role": "user", "content": "word " * size}]
            status, _, body = gate.chat(model="fast", messages=ask, max_tokens=60)
            assert status == 200
            usage = json.loads(body)["usage"]
            nano += usage["prompt_tokens"] * 2_500 + usage["completion_tokens"] * 10_000
            gate.chat(model="fast", messages=ask, max_tokens=60, stream=True)
        assert gate.chat(model="free")[0] == 200
        counted = {"model": "fast", "messages": [{"role": "user", "content": "hi"}]}
        assert gate.post("/v1/messages/count_tokens", counted)[0] == 200
        named = gate.chat(model="free", headers={"x-headgate-prompt": "greet@3"})
        assert named[0] == 200
    finally:
        assert gate.stop(signal.SIGTERM) == 0
    found = json.loads(gate.run("spend", "--by", "model", "--format", "json"))
    rows = {row["model"]: row for row in found["rows"]}
    # Each request was made twice: whole and streamed.
    assert rows["fast"]["cost_usd"] == show_dollars(2 * nano)
    assert (rows["fast"]["calls"], rows["fast"]["unpriced_calls"]) == (7, 0)
    assert rows["free"]["cost_usd"] is None
    assert found["unpriced"] == [{"deployment": "sim/echo", "calls": 2}]
    (prompt,) = [
        row for row in json.loads(gate.run("spend", "--by", "prompt", "--format", "json"))["rows"] if row["prompt"]
    ]
    assert (prompt["prompt"], prompt["calls"]) == ("greet@3", 1)
    lines = [json.loads(line) for line in gate.run("records", "--format", "jsonl", "--model", "fast").splitlines()]
    tried = next(line for line in lines if line["dialect"] == "openai_chat")["attempts"]
    assert tried[0]["cost"] == 0
    assert tried[1]["rates"]["cached"] == 1_250_000_000
