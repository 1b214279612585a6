"""The one key of LiteLLM's part in bench/prove/spend.py, with LiteLLM's own budget on it: $1.00.

LiteLLM calls this for each request, as its documentation has it for keys that its database does not know; all that it
does with the budget then (reservation, spend counters, refusal) is its own.
"""

from typing import Any

from litellm.proxy._types import UserAPIKeyAuth, hash_token

BUDGET = 1.0


async def user_api_key_auth(request: Any, api_key: str) -> UserAPIKeyAuth:
    """Lets every key in, each with its budget."""
    return UserAPIKeyAuth(api_key=api_key, token=hash_token(api_key), max_budget=BUDGET, spend=0.0, key_alias="poor")
