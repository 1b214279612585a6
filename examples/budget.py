"""Shows: a budget that is used up is refused before anything is sent, and says which one, and when it begins anew."""

import asyncio
import pathlib
import tempfile

from headgate import Gateway, LimitExceeded

CONFIG = """
models:
  fast: {route: [sim/echo], price: {input: 0.15, output: 0.60}}   # dollars per million tokens
limits:
  - {scope: user, amount: 0.0002, per: day, name: pocket money}   # every user, each for themselves
"""


async def main(folder: pathlib.Path) -> None:
    """Asks as Ann until her money is gone, then as Bob."""
    config = folder / "headgate.yaml"
    config.write_text(CONFIG)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    async with Gateway(config, data=folder / "data") as gateway:
        answers = 0
        try:
            while True:
                await gateway.complete("fast", question, user="ann", max_tokens=100)
                answers += 1
        except LimitExceeded as error:
            print(f"after {answers} answers: {error.message}")
            print(f"limit: {error.limit}; try again in {error.retry_after:.0f} s")
        bob = await gateway.complete("fast", question, user="bob", max_tokens=100)
        print(f"Bob is answered for ${bob.cost}")


with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(pathlib.Path(folder)))
