"""Shows: a provider that goes away; its breaker opens, another answers, and in the end a static text does."""

import asyncio
import pathlib
import tempfile
from collections import Counter

from headgate import Gateway
from headgate.sim.testing import running_sim

CONFIG = """
providers:
  primary: {{dialect: openai_chat, url: "{primary}/v1", key: none}}
models:
  safe: {{route: [primary/words-20, sim/echo]}}                 # another deployment answers
  alone:
    route: [primary/words-20]                                   # nobody else does
    answer: "We are overloaded; please try again in a minute."
"""


async def main(folder: pathlib.Path, primary: str) -> None:
    """Asks both models while the provider answers 503."""
    config = folder / "headgate.yaml"
    config.write_text(CONFIG.format(primary=primary))
    async with Gateway(config, data=folder / "data") as gateway:
        tries: Counter[int] = Counter()
        for _ in range(30):
            answer = await gateway.complete("safe", "Is anybody there?")
            tries[answer.attempts] += 1
        print(f"30 answers by {answer.deployment}; attempts that were sent, and how often: {dict(tries)}")
        answer = await gateway.complete("alone", "And alone?")
        print(f"alone: {answer.text}")


with tempfile.TemporaryDirectory() as folder, running_sim("faults: [{fault: 503}]") as url:
    asyncio.run(main(pathlib.Path(folder), url))
