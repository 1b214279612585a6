"""Shows: a streamed answer through the OpenAI SDK, with a tool call, the time to the first content, and the usage."""

import os
import time

from openai import OpenAI

URL = os.environ.get("HEADGATE_URL", "http://127.0.0.1:8080")
MODEL = os.environ.get("HEADGATE_MODEL", "sim/echo")

client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("HEADGATE_KEY", "none"))


def stream(model: str, question: str, **parameters: object) -> None:
    """Prints what comes, as it comes."""
    started, first = time.monotonic(), None
    chunks = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": question}],
        stream=True,
        stream_options={"include_usage": True},
        **parameters,
    )
    for chunk in chunks:
        for choice in chunk.choices:
            if first is None and (choice.delta.content or choice.delta.tool_calls):
                first = time.monotonic() - started
            if choice.delta.content:
                print(choice.delta.content, end="", flush=True)
            for call in choice.delta.tool_calls or []:
                print(call.function.name or call.function.arguments, end=" ", flush=True)
            if choice.finish_reason:
                print(f"\nfinish: {choice.finish_reason}")
        if chunk.usage:
            print(f"tokens: {chunk.usage.prompt_tokens} in, {chunk.usage.completion_tokens} out")
    print(f"first content after {(first or 0) * 1000:.1f} ms")


stream(MODEL, "Tell me about streams, in a few words.")
weather = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city, now.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
stream(MODEL.replace("sim/echo", "sim/tools-2"), "How is the weather in Oslo and in Lima?", tools=[weather])
