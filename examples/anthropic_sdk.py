"""Shows: the official Anthropic SDK, unchanged, through the gateway: an answer, a stream, and counting tokens."""

import os

from anthropic import Anthropic

URL = os.environ.get("HEADGATE_URL", "http://127.0.0.1:8080")
MODEL = os.environ.get("HEADGATE_MODEL", "sim/echo")

client = Anthropic(base_url=URL, api_key=os.environ.get("HEADGATE_KEY", "none"))
question = [{"role": "user", "content": "What stands between an application and its models?"}]

answer = client.messages.create(model=MODEL, max_tokens=200, messages=question)
print("".join(block.text for block in answer.content if block.type == "text"))
print(f"stop: {answer.stop_reason}, tokens: {answer.usage.input_tokens} in, {answer.usage.output_tokens} out")

with client.messages.stream(model=MODEL, max_tokens=200, messages=question) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print()

count = client.messages.count_tokens(model=MODEL, messages=question)
print(f"counted: {count.input_tokens} tokens")
