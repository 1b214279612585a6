"""Shows: a route whose first provider refuses connections and whose second is overloaded; the third one answers."""

import asyncio
import pathlib
import tempfile

from headgate import Gateway

CONFIG = """
providers:
  down: {dialect: openai_chat, url: "http://127.0.0.1:9/v1", key: none}   # nobody listens there
models:
  fast: {route: [down/some-model, sim/fail-503, sim/echo]}                # tried in this order until one answers
"""


async def main(folder: pathlib.Path) -> None:
    """Asks once, and tells who answered."""
    config = folder / "headgate.yaml"
    config.write_text(CONFIG)
    async with Gateway(config, data=folder / "data") as gateway:
        answer = await gateway.complete("fast", [{"role": "user", "content": "Is anybody there?"}])
    print(answer.text)
    print(f"answered by {answer.deployment} at attempt {answer.attempts}")


with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(pathlib.Path(folder)))
