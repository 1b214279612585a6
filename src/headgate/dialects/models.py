"""The list of models, and one model, in OpenAI's and in Anthropic's shape: pure functions, no dialect objects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec

from headgate.core.errors import BadRequest

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


class Page(msgspec.Struct, frozen=True):
    """Which part of the list Anthropic's caller asks for.

    Attributes:
        limit: at most so many; None is all.
        after: only what stands behind this id; "" is from the start.
        before: only what stands ahead of this id, the last ``limit`` of it; "" is to the end.
    """

    limit: int | None = None
    after: str = ""
    before: str = ""


ALL = Page()


def read_page(query: bytes) -> Page:
    """Reads ``limit``, ``after_id`` and ``before_id`` of a query string.

    Raises:
        BadRequest: a limit that is no number from 1 to 1000, or both ids.
    """
    given = dict(parse_qsl(query.decode("latin-1")))
    limit, after, before = given.get("limit"), given.get("after_id", ""), given.get("before_id", "")
    if limit is not None and not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:5]) <= 1000):
        raise BadRequest("limit must be a whole number from 1 to 1000.", code="invalid_value", param="limit")
    if after and before:
        raise BadRequest("Send after_id or before_id, not both.", code="invalid_value", param="before_id")
    return Page(None if limit is None else int(limit), after, before)


def render_models(models: Sequence[ModelInfo], shape: Shape, page: Page = ALL) -> bytes:
    """Returns the JSON body of ``GET /v1/models``.

    Args:
        models: all of them, in the order to show.
        shape: the caller's dialect.
        page: what Anthropic's caller asks for; OpenAI's list has no pages.

    Raises:
        BadRequest: the page begins at a model that is not in the list.

    Example:
        >>> render_models([], "openai")
        b'{"object":"list","data":[]}'
    """
    if shape == "openai":
        return msgspec.json.encode({"object": "list", "data": [_object(model, shape) for model in models]})
    shown, more = _cut(models, page)
    first, last = (shown[0].id, shown[-1].id) if shown else (None, None)
    data = [_object(model, shape) for model in shown]
    return msgspec.json.encode({"data": data, "has_more": more, "first_id": first, "last_id": last})


def render_model(model: ModelInfo, shape: Shape) -> bytes:
    """Returns the JSON body of ``GET /v1/models/{id}`` in the caller's shape."""
    return msgspec.json.encode(_object(model, shape))


def _cut(models: Sequence[ModelInfo], page: Page) -> tuple[Sequence[ModelInfo], bool]:
    """Returns a page, and whether more follows it in the direction that was asked for."""
    if page.before:
        models = models[: _place(models, page.before, "before_id")]
        limit = len(models) if page.limit is None else page.limit
        return models[max(0, len(models) - limit) :], len(models) > limit
    if page.after:
        models = models[_place(models, page.after, "after_id") + 1 :]
    return models[: page.limit], page.limit is not None and len(models) > page.limit


def _place(models: Sequence[ModelInfo], name: str, param: str) -> int:
    for place, model in enumerate(models):
        if model.id == name:
            return place
    raise BadRequest(f"{param}: there is no model {name[:100]!r} in the list.", code="invalid_value", param=param)


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
