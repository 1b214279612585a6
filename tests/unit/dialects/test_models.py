"""The model list in both shapes."""

from __future__ import annotations

import json

import anthropic.types
import pytest
from openai.types import Model

from headgate.core.errors import BadRequest
from headgate.dialects.models import ModelInfo, read_page, render_model, render_models

MODELS = [ModelInfo("fast", 1700000000, "team", "Fast one"), ModelInfo("sim/echo")]


def test_openai_shape() -> None:
    """A list object of model objects that the SDK reads."""
    body = json.loads(render_models(MODELS, "openai"))
    assert body["object"] == "list"
    assert body["data"][0] == {"id": "fast", "object": "model", "created": 1700000000, "owned_by": "team"}
    for item in body["data"]:
        Model.model_validate(item, strict=True)
    assert json.loads(render_model(MODELS[0], "openai")) == body["data"][0]


def test_anthropic_shape() -> None:
    """One page with its ends named; a model without a title is called by its id."""
    body = json.loads(render_models(MODELS, "anthropic"))
    assert (body["has_more"], body["first_id"], body["last_id"]) == (False, "fast", "sim/echo")
    assert body["data"][0] == {
        "type": "model",
        "id": "fast",
        "display_name": "Fast one",
        "created_at": "2023-11-14T22:13:20Z",
        "lifecycle": "active",
    }
    assert body["data"][1]["display_name"] == "sim/echo"
    for model in MODELS:
        anthropic.types.ModelInfo.model_validate_json(render_model(model, "anthropic"))


def test_no_models() -> None:
    """An empty list is still a list."""
    assert json.loads(render_models([], "openai")) == {"object": "list", "data": []}
    assert json.loads(render_models([], "anthropic"))["first_id"] is None


@pytest.mark.parametrize(
    ("query", "ids", "more"),
    [
        (b"", "abcde", False),
        (b"limit=2", "ab", True),
        (b"limit=5", "abcde", False),
        (b"limit=2&after_id=b", "cd", True),
        (b"limit=2&after_id=c", "de", False),
        (b"after_id=e", "", False),
        (b"limit=2&before_id=d", "bc", True),
        (b"limit=2&before_id=c", "ab", False),
        (b"before_id=b&beta=true", "a", False),
    ],
)
def test_pages_of_the_anthropic_shape(query: bytes, ids: str, more: bool) -> None:
    """As the SDK asks for them: forward from an id, or backward; has_more is of that direction."""
    body = json.loads(render_models([ModelInfo(name) for name in "abcde"], "anthropic", read_page(query)))
    assert ("".join(model["id"] for model in body["data"]), body["has_more"]) == (ids, more)
    assert (body["first_id"], body["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))


@pytest.mark.parametrize("query", [b"limit=0", b"limit=x", b"limit=1001", b"after_id=zz", b"after_id=a&before_id=b"])
def test_a_page_that_can_not_be_is_refused(query: bytes) -> None:
    """The error names the parameter."""
    with pytest.raises(BadRequest) as caught:
        render_models([ModelInfo("a"), ModelInfo("b")], "anthropic", read_page(query))
    assert caught.value.code == "invalid_value"
    assert (caught.value.param or "-") in query.decode()
