"""The console as an ASGI application: lets people in, runs a page's function on a thread, answers with its template."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast
from urllib.parse import quote

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from starlette import types
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from headgate.compose import Core
from headgate.console import entry, playground
from headgate.console.browser import is_secure, origin_of, peer_of, read_form, wants_json
from headgate.console.door import ROOT, Door, Visitor, check_post, cookie_of, new_token, proof_of, set_cookie
from headgate.console.look import assets, render
from headgate.console.page import Json, Page, Redirect, Result, View, Visit, Words
from headgate.console.table import PAGES, menu
from headgate.core.errors import BadRequest, Forbidden, HeadgateError, Unauthenticated, Unavailable
from headgate.core.terms import has_role
from headgate.pipeline.auth import client_address
from headgate.stores.data import DataDir
from headgate.stores.store_desk import StoreDesk

WAITING = 64
"""Requests at once, beyond which more are turned away: looking must not starve the data plane."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
_FOREVER = "public, max-age=31536000, immutable"

_log = logging.getLogger("headgate.console")
StatusOf = Callable[[HeadgateError | None], int]


class Console(StoreDesk):
    """The application, and what all its pages share (``page.Desk``)."""

    def __init__(
        self, core: Callable[[], Core | None], data: DataDir | None, keyless: bool, status_of: StatusOf
    ) -> None:
        """Args:
        core: returns the gateway as it is now, None once it shuts down.
        data: the data directory, None for a gateway without one.
        keyless: whether keyless mode may exist here.
        status_of: picks the HTTP status of an error.
        """
        super().__init__(data, "headgate-console")
        self._core = core
        self._door = Door(keyless)
        self._status_of = status_of
        self._open = 0
        pages: dict[str, dict[str, Page]] = {}
        for page in PAGES:
            pages.setdefault(page.path, {})[page.method] = page
        routes = [
            Route(ROOT + path, self._endpoint(rows), methods=list(rows)) for path, rows in pages.items() if path != "/"
        ]
        self._asgi = Starlette(
            routes=[
                Route(ROOT, self._endpoint(pages["/"]), methods=["GET"]),
                Route(ROOT + "/", self._endpoint(pages["/"]), methods=["GET"]),
                Route(ROOT + "/static/{name}", self._static, methods=["GET"]),
                Route(ROOT + "/login", self._guarded(self._login), methods=["GET", "POST"]),
                Route(ROOT + "/playground/ask", self._guarded(self._ask), methods=["POST"]),
                *routes,
            ],
            exception_handlers={HTTPException: self._no_page},
        )
        self._asgi.router.redirect_slashes = False

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serves one request."""
        await self._asgi(scope, cast(types.Receive, receive), cast(types.Send, send))

    @property
    def core(self) -> Core:
        """The gateway as it is now. Raises Unavailable once it shuts down."""
        core = self._core()
        if core is None:
            raise Unavailable("The gateway is shutting down.", code="draining", retry_after=1)
        return core

    # requests

    def _endpoint(self, rows: Mapping[str, Page]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return await self._page(rows["GET" if request.method == "HEAD" else request.method], request)

        return self._guarded(answer)

    def _guarded(self, endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Answers what goes wrong with a page that says so."""

        async def answer(request: Request) -> Response:
            if self._open >= WAITING:
                return self._problem(request, Unavailable("Too many requests at once; try again.", retry_after=1))
            self._open += 1
            try:
                return await endpoint(request)
            except HeadgateError as error:
                return self._problem(request, error)
            except ClientDisconnect:
                return self._problem(request, BadRequest("The request was cut.", code="body_cut"))
            except Exception as error:
                return self._failed(request, error)
            finally:
                self._open -= 1

        return answer

    async def _page(self, page: Page, request: Request) -> Response:
        headers = dict(request.scope["headers"])
        form = Words(await read_form(request, headers)) if page.method == "POST" else Words([])
        core, peer = self.core, peer_of(request)
        visitor: Visitor | None = None

        def work() -> tuple[Result, bytes]:
            nonlocal visitor
            visitor = self._door.enter(headers, peer, core.keys, core.proxies, lambda: self.engine)
            if not has_role(visitor.principal.role, page.role):
                raise Forbidden(
                    f"This page is for the role {page.role}; the key {visitor.principal.key_name!r} has the role "
                    f"{visitor.principal.role}."
                )
            if page.method == "POST":
                check_post(headers, visitor.token, form.get("proof") or headers.get(b"x-csrf-token", b"").decode())
            words = {name: str(word) for name, word in request.path_params.items()}
            if visitor.session is None and not visitor.token:
                visitor = msgspec.structs.replace(visitor, token=new_token())
            address = client_address(headers, peer, core.proxies)
            visit = Visit(self, visitor, words, Words(request.query_params.multi_items()), form, address)
            result = page.does(visit)
            if page.method == "POST":
                entry.refresh(core)
            body = self._show(result, page, visitor, request) if isinstance(result, View) else b""
            return result, body

        try:
            result, body = await self._on_thread(work)
        except Unauthenticated as error:
            return self._turned_away(request, headers, error)
        except HeadgateError as error:
            return self._problem(request, error, visitor)
        except Exception as error:
            return self._failed(request, error, visitor)
        response = _answer(result, body)
        if visitor is not None and visitor.session is None and visitor.token != cookie_of(headers):
            response.headers["set-cookie"] = set_cookie(visitor.token, secure=is_secure(request))
        return response

    async def _on_thread(self, work: Callable[[], Any]) -> Any:
        def run() -> Any:
            try:
                return work()
            except SQLAlchemyError as error:
                cause = getattr(error, "orig", None) or error
                raise Unavailable(
                    f"the database does not answer ({type(cause).__name__})", code="store_unavailable"
                ) from error

        return await asyncio.get_running_loop().run_in_executor(self.threads, run)

    def _show(self, view: View, page: Page, visitor: Visitor | None, request: Request) -> bytes:
        """Renders a page in its frame."""
        data = {
            "page": page,
            "here": request.url.path,
            "menu": menu(visitor.principal.role) if visitor is not None else [],
            "visitor": visitor,
            "proof": visitor.proof if visitor is not None else "",
            "origin": origin_of(request),
            **view.data,
        }
        return render(view.template, data)

    # what is no page of the table

    async def _static(self, request: Request) -> Response:
        found = assets().get(request.path_params["name"])
        if found is None:
            return self._problem(request, BadRequest("There is no such file.", code="unknown_path"))
        kept = _FOREVER if request.query_params.get("v") == found.version else "no-cache"
        headers = {**HEADERS, "cache-control": kept}
        return Response(found.data, 200, headers, found.type)

    async def _login(self, request: Request) -> Response:
        headers = dict(request.scope["headers"])
        core, peer = self.core, peer_of(request)
        secure = is_secure(request)
        token = cookie_of(headers) or new_token()
        back = entry.safe_return(request.query_params.get("to", ""))
        error = ""
        status = 200
        if request.method == "POST":
            form = Words(await read_form(request, headers))
            check_post(headers, cookie_of(headers), form.get("proof"))
            back = entry.safe_return(form.get("to"))
            try:
                key = form.get("key")
                opened = await self._on_thread(
                    lambda: self._door.log_in(key, headers, peer, core.keys, core.proxies, self.engine)
                )
                response = _answer(Redirect(back), b"")
                response.headers["set-cookie"] = set_cookie(opened, secure=secure)
                return response
            except (Unauthenticated, Forbidden, HeadgateError) as problem:
                error, status = problem.message, self._status_of(problem)
        elif core.keys.empty:
            return _answer(Redirect(back), b"")
        page = Page(path="/login", does=lambda visit: Json(None), title="Log in")
        view = View("login.html", {"proof": proof_of(token), "to": back, "error": error})
        body = await self._on_thread(lambda: self._show(view, page, None, request))
        response = _html(body, status)
        if token != cookie_of(headers):
            response.headers["set-cookie"] = set_cookie(token, secure=secure)
        return response

    async def _ask(self, request: Request) -> Response:
        """The playground's call: streamed, so it is no page."""
        headers = dict(request.scope["headers"])
        form = Words(await read_form(request, headers))
        core, peer = self.core, peer_of(request)

        def enter() -> Visitor:
            visitor = self._door.enter(headers, peer, core.keys, core.proxies, lambda: self.engine)
            if not has_role(visitor.principal.role, "developer"):
                raise Forbidden(f"Calls are for the role developer; this key has the role {visitor.principal.role}.")
            check_post(headers, visitor.token, form.get("proof"))
            return visitor

        visitor: Visitor = await self._on_thread(enter)
        question = playground.read_question(form)
        answer = playground.ask(core, visitor.principal, question, headers, peer)
        return StreamingResponse(answer, 200, HEADERS, "application/x-ndjson")

    def _turned_away(self, request: Request, headers: dict[bytes, bytes], error: Unauthenticated) -> Response:
        """Who is not logged in is sent to the login; scripts are told."""
        if error.code == "no_keys" or wants_json(request):
            return self._problem(request, error)
        if request.method == "GET" and not cookie_of(headers) and headers.get(b"sec-fetch-site") == b"cross-site":
            # A strict cookie does not come along from a link elsewhere; a look from here brings it.
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return _html(render("again.html", {"target": target}), 200)
        to = request.url.path.removeprefix(ROOT) if request.method == "GET" else ""
        if request.method == "GET" and request.url.query:
            to += f"?{request.url.query}"
        return _answer(Redirect("/login" + (f"?to={quote(to)}" if to not in ("", "/") else "")), b"")

    def _failed(self, request: Request, error: Exception, visitor: Visitor | None = None) -> Response:
        """Says that it is the gateway's own fault, and nothing of what it was about."""
        _log.error("%s %s failed inside the gateway", request.method, request.url.path, exc_info=error)
        inside = HeadgateError(f"The gateway failed inside ({type(error).__name__}); see its log.")
        return self._problem(request, inside, visitor)

    def _problem(self, request: Request, error: HeadgateError, visitor: Visitor | None = None) -> Response:
        status = self._status_of(error)
        more = {} if error.retry_after is None else {"retry-after": str(max(1, round(error.retry_after)))}
        if wants_json(request):
            data = {"error": {"code": error.code, "message": error.message}}
            return Response(msgspec.json.encode(data), status, {**HEADERS, **more}, "application/json")
        page = Page(path="", does=lambda visit: Json(None), title=_TITLES.get(status, "Something went wrong"))
        shown = {"status": status, "code": error.code, "message": error.message, "hint": error.hint}
        return _html(self._show(View("problem.html", shown), page, visitor, request), status, more)

    async def _no_page(self, request: Request, error: Exception) -> Response:
        """What Starlette itself refuses: a path that is none, a method that a path has not."""
        if isinstance(error, HTTPException) and error.status_code == 405:
            return self._problem(request, BadRequest("This page is not asked like that.", code="method_not_allowed"))
        return self._problem(request, BadRequest("There is no such page.", code="unknown_path"))


_TITLES = {403: "Not for this key", 404: "Not found", 503: "Not available now"}


def _answer(result: Result, body: bytes) -> Response:
    if isinstance(result, Redirect):
        return Response(b"", 303, {**HEADERS, "location": ROOT + result.to})
    if isinstance(result, Json):
        return Response(msgspec.json.encode(result.data), 200, HEADERS, "application/json")
    return _html(body, result.status)


def _html(body: bytes, status: int, more: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, {**HEADERS, **(more or {})}, "text/html; charset=utf-8")
