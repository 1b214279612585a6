"""Shows: the official OpenAI SDK, unchanged, through the gateway: one answer, its record's id, all models."""

import os

from openai import OpenAI

URL = os.environ.get("HEADGATE_URL", "http://127.0.0.1:8080")
MODEL = os.environ.get("HEADGATE_MODEL", "sim/echo")

client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("HEADGATE_KEY", "none"))

raw = client.chat.completions.with_raw_response.create(
    model=MODEL,
    messages=[
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "What stands between an application and its models?"},
    ],
    extra_headers={"x-headgate-tags": "example=openai_sdk", "x-headgate-timeout-ms": "30000"},
)
answer = raw.parse()
print(answer.choices[0].message.content)
print(f"finish: {answer.choices[0].finish_reason}, tokens: {answer.usage.total_tokens if answer.usage else 'unknown'}")
print(f"record: headgate record {raw.headers['x-headgate-id']}, answered by {raw.headers['x-headgate-deployment']}")
print(f"models: {', '.join(model.id for model in client.models.list()) or 'none configured'}")
