"""The OpenAPI 3.1 document of the admin API, made from its table of routes."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from headgate.server.admin.route import ROOT, Nothing, Route

IDEMPOTENCY = "Idempotency-Key"
_REF = "#/components/schemas/{name}"


class Problem(msgspec.Struct):
    """What went wrong."""

    code: str
    message: str
    param: str | None = None


class Failure(msgspec.Struct):
    """How every error is answered."""

    error: Problem


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """Returns the document, as plain values."""
    kinds = [Failure, *(kind for route in routes for kind in (route.gives, route.takes, route.query))]
    structs = list(dict.fromkeys(kind for kind in kinds if kind not in (dict, Nothing)))
    shapes, schemas = msgspec.json.schema_components(structs, ref_template=_REF)
    shape = dict(zip(structs, shapes, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        query = schemas[route.query.__name__] if route.query is not Nothing else {}
        operation = {
            "operationId": route.name,
            "summary": route.about,
            "description": f"For the role {route.role}" + (" and above." if route.role != "admin" else " only."),
            "tags": [route.path.split("/")[1].partition(".")[0]],
            "parameters": [*_path(route.path), *_query(query), *_idempotency(route)],
            "responses": {
                str(route.status): _content("Done.", shape.get(route.gives, {"type": "object"})),
                "default": _content("Refused, or failed.", shape[Failure]),
            },
        }
        if route.takes is not Nothing:
            required = bool(schemas[route.takes.__name__].get("required"))
            body = {"required": required, "content": {"application/json": {"schema": shape[route.takes]}}}
            operation["requestBody"] = body
        paths.setdefault(ROOT + route.path, {})[route.method.lower()] = operation
    for kind in {route.query for route in routes} - {Nothing}:
        del schemas[kind.__name__]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headgate admin API",
            "description": "Keys, people, audit log, records and configuration of a Headgate gateway.",
            "version": importlib.metadata.version("headgate"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}, {"header": []}, {}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SCHEMES},
    }


_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A virtual key, `hg-…`."},
    "header": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same, as Anthropic's SDK has it.",
    },
}


def _content(about: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def _path(path: str) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(schema: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for name, kind in schema.get("properties", {}).items():
        yield {"name": name, "in": "query", "required": False, "schema": kind}


def _idempotency(route: Route) -> Iterable[dict[str, Any]]:
    if route.method != "GET":
        about = "A word of your own: the same call sent again with it is made once, and answered the same for a day."
        schema = {"type": "string", "minLength": 1, "maxLength": 255}
        yield {"name": IDEMPOTENCY, "in": "header", "required": False, "description": about, "schema": schema}
