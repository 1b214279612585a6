"""Drives TensorZero's embedded gateway in this process: ``tensorzero_load.py CONFIG BODY``.

It has no HTTP face to put wrk before, so the same number of tasks call it in a loop, and their cost is part of its
figure (as the cost of an HTTP server is part of the others'). Reads one JSON command per line, like
``{"op": "unary", "connections": N, "seconds": S}`` (op may be stream or first); answers each with one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop
from tensorzero import AsyncTensorZeroGateway


def arguments(body: dict[str, Any], op: str) -> dict[str, Any]:
    """Returns the same request as the HTTP body's, in TensorZero's own words."""
    system, user = (m["content"] for m in body["messages"])
    tokens = 2 if op == "first" else body["max_tokens"]
    return {
        "model_name": "unary" if op == "unary" else "stream",
        "input": {"system": system, "messages": [{"role": "user", "content": user}]},
        "params": {"chat_completion": {"temperature": body["temperature"], "max_tokens": tokens}},
        "stream": op != "unary",
    }


async def one(client: Any, args: dict[str, Any]) -> tuple[float, float, int]:
    """Returns the seconds to the first content and to the end, and the pieces of text received."""
    start = time.perf_counter()
    answer = await client.inference(**args)
    if not args["stream"]:
        took = time.perf_counter() - start
        return took, took, len(answer.content[0].text) > 100
    first, texts = 0.0, 0
    async for chunk in answer:
        for part in chunk.content:
            if part.text:
                first = first or time.perf_counter() - start
                texts += 1
    return first, time.perf_counter() - start, texts


async def run(client: Any, args: dict[str, Any], connections: int, seconds: float) -> dict[str, Any]:
    """Calls from ``connections`` tasks until the time is up and returns the latencies in µs."""
    end = time.perf_counter() + seconds
    first: list[float] = []
    whole: list[float] = []
    pieces = 0
    expected = 1 if not args["stream"] else args["params"]["chat_completion"]["max_tokens"]
    errors: list[str] = []

    async def caller() -> None:
        nonlocal pieces
        while time.perf_counter() < end:
            try:
                a, b, n = await one(client, args)
            except Exception as error:
                errors.append(repr(error)[:300])
                return
            if n != expected:
                errors.append(f"{n} pieces of text instead of {expected}")
            first.append(a * 1e6)
            whole.append(b * 1e6)
            pieces += n

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(connections)))
    took = time.perf_counter() - start
    first.sort()
    whole.sort()
    n = max(1, len(whole))
    return {
        "requests": len(whole),
        "seconds": took,
        "p50_us": whole[n // 2] if whole else 0,
        "p99_us": whole[int(n * 0.99)] if whole else 0,
        "first_p50_us": first[n // 2] if first else 0,
        "first_p99_us": first[int(n * 0.99)] if first else 0,
        "errors": len(errors),
        "error": errors[0] if errors else "",
        "pieces": pieces,
    }


async def main(config: str, body: dict[str, Any]) -> None:
    """Serves commands until standard input ends."""
    loop = asyncio.get_running_loop()
    client = await AsyncTensorZeroGateway.build_embedded(config_file=config)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        answer = await run(client, arguments(body, command["op"]), command["connections"], command["seconds"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], json.loads(sys.argv[2])))
