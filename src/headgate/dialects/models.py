"""The list of models, and one model, in OpenAI's and in Anthropic's shape: pure functions, no dialect objects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

Shape = Literal["openai", "anthropic"]


class ModelInfo(msgspec.Struct, frozen=True):
    """A model that a caller may name.

    Attributes:
        id: the name to put in a request.
        created: when it was made, in seconds since 1970; 0 where nobody knows.
        owner: who serves it.
        title: a name for people; the id where empty.
    """

    id: str
    created: int = 0
    owner: str = "headgate"
    title: str = ""


def render_models(models: Sequence[ModelInfo], shape: Shape) -> bytes:
    """Returns the JSON body of ``GET /v1/models``.

    Args:
        models: all of them, in the order to show.
        shape: the caller's dialect. Anthropic's has one page with everything in it.

    Example:
        >>> render_models([], "openai")
        b'{"object":"list","data":[]}'
    """
    data = [_object(model, shape) for model in models]
    if shape == "openai":
        return msgspec.json.encode({"object": "list", "data": data})
    first, last = (models[0].id, models[-1].id) if models else (None, None)
    return msgspec.json.encode({"data": data, "has_more": False, "first_id": first, "last_id": last})


def render_model(model: ModelInfo, shape: Shape) -> bytes:
    """Returns the JSON body of ``GET /v1/models/{id}`` in the caller's shape."""
    return msgspec.json.encode(_object(model, shape))


def _object(model: ModelInfo, shape: Shape) -> dict[str, Any]:
    if shape == "openai":
        return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owner}
    created = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.title or model.id,
        "created_at": created,
        "lifecycle": "active",
    }
