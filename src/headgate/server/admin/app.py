"""The admin API as an ASGI application: lets callers in by role, reads what they send, does it on a thread, answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from starlette import types
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from headgate.compose import Core
from headgate.core.errors import BadRequest, Forbidden, HeadgateError, Unavailable
from headgate.core.terms import has_role
from headgate.pipeline.auth import admit, bearer, client_address
from headgate.server.admin import read
from headgate.server.admin.openapi import Failure, Problem
from headgate.server.admin.route import ROOT, Ask, Route
from headgate.server.admin.table import ROUTES
from headgate.server.caller import Receive, Send
from headgate.server.guard import Limits
from headgate.server.status import status_of
from headgate.stores.change import Once
from headgate.stores.data import DataDir
from headgate.stores.registry import Registry
from headgate.stores.store_desk import StoreDesk

WAITING = 64
"""Requests at once, beyond which more are turned away: administration must not starve the data plane."""

_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_UNREAD = frozenset({"body_too_large", "slow_body", "body_cut"})
"""After these something of the request is still to come: the connection is of no more use."""

_log = logging.getLogger("headgate.admin")
_Endpoint = Callable[[Request], Awaitable[Response]]


class Admin(StoreDesk):
    """The application, and what all its requests share (``route.Desk``)."""

    def __init__(
        self, core: Callable[[], Core | None], data: DataDir | None, keyless: bool, limits: Callable[[], Limits]
    ) -> None:
        """Args:
        core: returns the gateway as it is now, None once it shuts down.
        data: the data directory, None for a gateway without one.
        keyless: whether keyless mode may exist here.
        limits: returns those of client connections, as they are now.
        """
        super().__init__(data, "headgate-admin")
        self._core = core
        self._keyless = keyless
        self._limits = limits
        self._open = 0
        self._asgi = Starlette(
            routes=[
                StarletteRoute(ROOT + path, self._endpoint(rows), methods=list(rows))
                for path, rows in _by_path().items()
            ],
            exception_handlers={HTTPException: _no_route},
        )
        self._asgi.router.redirect_slashes = False

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serves one request."""
        await self._asgi(scope, cast(types.Receive, receive), cast(types.Send, send))

    @property
    def core(self) -> Core:
        """The gateway as it is now. Raises Unavailable once it shuts down."""
        core = self._core()
        if core is None:
            raise Unavailable("The gateway is shutting down; send the request again.", code="draining", retry_after=1)
        return core

    def _endpoint(self, rows: dict[str, Route]) -> _Endpoint:
        async def answer(request: Request) -> Response:
            route = rows["GET" if request.method == "HEAD" else request.method]
            try:
                return await self._serve(route, request)
            except HeadgateError as error:
                return render(error)
            except ClientDisconnect:
                return render(BadRequest("The client left before the request was whole.", code="body_cut"))
            except Exception as error:
                _log.exception("%s %s failed inside the gateway", route.method, route.path)
                return render(HeadgateError(f"The gateway failed inside ({type(error).__name__}); see its log."))

        return answer

    async def _serve(self, route: Route, request: Request) -> Response:
        core = self.core
        headers = dict(request.scope["headers"])
        peer = request.client.host if request.client is not None else "127.0.0.1"
        principal = admit(headers, peer, core.keys, self._keyless, core.proxies)
        address = client_address(headers, peer, core.proxies)
        if not has_role(principal.role, route.role):
            raise Forbidden(
                f"The key {principal.key_name!r} has the role {principal.role}; {route.name} needs {route.role}."
            )
        if self._open >= WAITING:
            raise Unavailable("Too many admin requests at once; send it again.", retry_after=1)
        self._open += 1
        try:
            raw = await read.body(request, headers, self._limits())
            key = read.idempotency_key(headers) if route.method != "GET" else ""
            actor = principal.key_id or "keyless"
            target = f"{route.method} {request.url.path}\n".encode()
            once = Once(actor, key, target + raw) if key else None
            body = read.decode(raw, route.takes)
            query = read.query(request.query_params.multi_items(), route.query)
            path = read.path(request.path_params)
            # What a caller in keyless mode sends for a key is no secret.
            token = bearer(headers) if principal.key_id else b""

            def work() -> tuple[Any, bool]:
                registry = Registry(self.engine, actor, once=once, token=token)
                result = _do(route, Ask(self, principal, registry, path, body, query, address))
                if route.method != "GET":
                    # Here at once, elsewhere at their next look; so too where this look fails.
                    with contextlib.suppress(Unavailable):
                        core.keys.refresh()
                return result, registry.replayed

            result, replayed = await asyncio.get_running_loop().run_in_executor(self.threads, work)
        finally:
            self._open -= 1
        more = {"idempotency-replayed": "true"} if replayed else {}
        return _json(route.status, result, more)


def render(error: HeadgateError) -> Response:
    """Returns an error as the admin API tells it."""
    more = {} if error.retry_after is None else {"retry-after": str(max(1, round(error.retry_after)))}
    if error.code in _UNREAD:
        more["connection"] = "close"
    return _json(status_of(error), Failure(Problem(error.code, error.message, error.param)), more)


def _do(route: Route, ask: Ask) -> Any:
    try:
        return route.does(ask)
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise Unavailable(f"the database does not answer ({type(cause).__name__})", code="store_unavailable") from error


def _json(status: int, value: Any, more: dict[str, str]) -> Response:
    return Response(msgspec.json.encode(value), status, {**_HEADERS, **more}, "application/json")


def _by_path() -> dict[str, dict[str, Route]]:
    paths: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = route
    return paths


async def _no_route(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: a path that is none, a method that a path has not."""
    path = request.url.path[:100]
    if isinstance(error, HTTPException) and error.status_code == 405:
        response = render(BadRequest(f"{path} does not take {request.method[:20]}.", code="method_not_allowed"))
        response.headers.update(error.headers or {})
        return response
    return render(BadRequest(f"There is nothing at {path}.", code="unknown_path"))
