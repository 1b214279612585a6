"""Shows: the same gateway as a library, in this process, without HTTP: async and sync, one and many."""

import asyncio
import os
import tempfile

from headgate import Gateway, HeadgateError, SyncGateway

MODEL = os.environ.get("HEADGATE_MODEL", "sim/echo")


def ask(text: str) -> list[dict[str, str]]:
    """Returns a conversation of one question."""
    return [{"role": "user", "content": text}]


async def main(data: str) -> None:
    """The async face."""
    async with Gateway(data=data) as gateway:
        answer = await gateway.complete(MODEL, ask("Hello, library!"), timeout=30, tags={"example": "library"})
        print(f"{answer.text}  [{answer.deployment}, {answer.latency * 1000:.1f} ms, {answer.usage}]")

        async with gateway.stream(MODEL, ask("Piece by piece, please.")) as frames:
            async for text in frames.text():
                print(text, end="", flush=True)
        print(f"  [finish: {frames.answer().finish}]")

        requests = [{"model": MODEL, "messages": ask(f"Question {number}")} for number in range(5)]
        requests.append({"model": "sim/fail-500", "messages": ask("This one fails, and the others do not mind.")})
        for result in await gateway.map(requests, concurrency=3):
            print(f"{result.code}: {result.message}" if isinstance(result, HeadgateError) else result.text)


with tempfile.TemporaryDirectory() as data:
    asyncio.run(main(data))
    with SyncGateway(data=data) as gateway:
        print(gateway.complete(MODEL, ask("And without an event loop.")).text)
