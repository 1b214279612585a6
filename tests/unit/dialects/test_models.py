"""The model list in both shapes."""

from __future__ import annotations

import json

import anthropic.types
from openai.types import Model

from headgate.dialects.models import ModelInfo, render_model, render_models

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
