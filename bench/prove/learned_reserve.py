#!/usr/bin/env python3
"""Proof: how far a budget is overshot where less than the worst case is reserved, and how many more calls fit at once.

The layer ``charge`` itself over a simulated provider, in memory: 20,000 calls, 500 at once, whose answers' lengths are
log-normal (median 120 tokens, at most their ``max_tokens`` of 4,096), against a budget that is used up, with
``leases.reserve`` 1, 0.99, 0.95 and 0.9. Once with answers that stay so, and once with answers that become ten times as
long when four fifths of the budget are used: the worst that can happen to what was learned. The figures are repeatable.
"""

from __future__ import annotations

import argparse
import asyncio
import pathlib
import random
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import msgspec
from harness import report

from headgate.core.call import Attempt, Call, Deployment, Timeouts
from headgate.core.clock import FixedClock
from headgate.core.errors import LimitExceeded
from headgate.core.event import Summary
from headgate.core.price import Price, Rates, show_money
from headgate.core.record import Record
from headgate.core.reply import Reply
from headgate.core.rule import LimitRule
from headgate.core.usage import Usage
from headgate.dialects.openai_chat import OpenAIChat
from headgate.pipeline.charge import charge
from headgate.pipeline.learned import Learned
from headgate.pipeline.local_meter import LocalMeter
from headgate.pipeline.rulebook import Rulebook

TITLE = "Reserving less than the worst case: what it buys, and what it risks"
PRICE = Price(Rates(150_000_000, 600_000_000))
MOST = 4096
BUDGET = 1_000_000_000
RAW = msgspec.json.encode({"model": "fast", "messages": [{"role": "user", "content": "Tell me a story. " * 20}]})


async def play(quantile: float, calls: int, at_once: int, *, shift: bool) -> dict[str, Any]:
    """Makes calls until all are answered or refused; returns what became of the budget."""
    draw = random.Random(7)
    meter = LocalMeter(FixedClock())
    book = Rulebook([LimitRule("everything", "", "dollars", "day", BUDGET)], meter.open)
    applied = book.find(("", "", "", "", "fast", "interactive"))
    dialect = OpenAIChat()
    view = dialect.view(RAW)

    async def upstream(attempt: Attempt) -> Reply:
        factor = 10 if shift and spent > BUDGET * 4 // 5 else 1
        made = min(MOST, int(factor * draw.lognormvariate(4.8, 1.0)) + 1)
        usage = attempt.record.usage = Usage(110, made)
        attempt.record.cost = PRICE.cost(usage)
        return Reply((), None, Summary(usage=usage))

    handler = charge(upstream, meter, Learned("up/m", quantile))
    deployment = Deployment("up/m", "up", "m", handler, Timeouts(), MOST, price=PRICE)
    answered = refused = most = spent = 0
    running: list[tuple[Reply, int]] = []
    for _ in range(calls):
        call = Call(Record("hg", 0), dialect, RAW, 0.0)
        call.view, call.limits = view, applied
        attempt = Attempt(call, deployment, 0)
        try:
            running.append((await handler(attempt), attempt.record.cost or 0))
            answered += 1
            spent += attempt.record.cost or 0
        except LimitExceeded:
            refused += 1
        most = max(most, len(running))
        while len(running) >= at_once or (running and refused and draw.random() < 0.3):
            await running.pop(draw.randrange(len(running)))[0].aclose()
    for reply, _ in running:
        await reply.aclose()
    worst = PRICE.bound(len(RAW) + 32, MOST)
    return {
        "answers": "suddenly longer" if shift else "steady",
        "leases.reserve": quantile,
        "answered": answered,
        "refused": refused,
        "most at once": most,
        "spent of $1.00": show_money(spent),
        "overshot_%": max(0.0, spent / BUDGET - 1) * 100,
        "allowed_overshoot_%": 0.0 if quantile >= 1 else most * worst / BUDGET * 100,
    }


def main() -> int:
    """Plays and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--quick", action="store_true", help="the same: it takes seconds")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "learned_reserve.json")
    args = parser.parse_args()
    shares = (1.0, 0.99, 0.95, 0.9)
    rows = [asyncio.run(play(share, args.calls, 500, shift=shift)) for shift in (False, True) for share in shares]
    for row in rows:
        print(row)
    safe = max(row["overshot_%"] for row in rows if row["leases.reserve"] == 1)
    steady = max(row["overshot_%"] for row in rows if row["answers"] == "steady")
    within = all(row["overshot_%"] <= row["allowed_overshoot_%"] for row in rows)
    worst = max(row["overshot_%"] for row in rows)
    bars = [
        report.bar("Overshoot where the worst case is reserved", "0", f"{safe:.3f} %", not safe),
        report.bar("Overshoot where a share is reserved, answers steady", "≤ 1 %", f"{steady:.3f} %", steady <= 1),
        report.bar("Overshoot at its worst", "within what docs/limits.md allows", f"{worst:.2f} %", within),
    ]
    print(report.bar_lines(bars))
    report.save("learned_reserve", TITLE, rows, bars, args.output, about=(__doc__ or "").split("\n\n")[1].strip())
    return int(not all(bar["holds"] for bar in bars))


if __name__ == "__main__":
    sys.exit(main())
