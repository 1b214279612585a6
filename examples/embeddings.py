"""Shows: embeddings through the OpenAI SDK, and which of three sentences are closest."""

import math
import os

from openai import OpenAI

URL = os.environ.get("HEADGATE_URL", "http://127.0.0.1:8080")
MODEL = os.environ.get("HEADGATE_EMBEDDING_MODEL", "sim/echo")

client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("HEADGATE_KEY", "none"))

texts = ["The gate is open.", "The gate is closed.", "Bread needs flour, water and salt."]
answer = client.embeddings.create(model=MODEL, input=texts)
vectors = [item.embedding for item in answer.data]


def similarity(one: list[float], other: list[float]) -> float:
    """Returns the cosine of the angle between two vectors."""
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


print(f"{len(vectors)} vectors of {len(vectors[0])} dimensions, {answer.usage.prompt_tokens} tokens")
for i in range(len(texts)):
    for j in range(i + 1, len(texts)):
        print(f"{similarity(vectors[i], vectors[j]):+.3f}  {texts[i]!r} / {texts[j]!r}")
