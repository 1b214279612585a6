"""The data plane: a pure ASGI callable that finds a path in a dict and takes one call end to end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from headgate.core.call import Call
from headgate.core.errors import BadRequest, ConfigError, HeadgateError, Unavailable, UnknownModel
from headgate.core.record import Record, dispatched
from headgate.dialects import models as models_face
from headgate.dialects.base import Dialect
from headgate.pipeline.auth import admit
from headgate.server.caller import AsgiCaller, Caller, Receive, Send
from headgate.server.estimate import PATH, Estimates
from headgate.server.feedback import PATH as FEEDBACK
from headgate.server.feedback import FeedbackSurface
from headgate.server.guard import Guard, Limits
from headgate.server.intake import check_content, read_settings
from headgate.server.nowhere import nothing_at
from headgate.server.respond import StreamWriter, render_error, send_json, send_unary
from headgate.server.status import status_of
from headgate.transport.retire import Retirement

if TYPE_CHECKING:
    from headgate.compose import Core
    from headgate.config.settings import Settings
    from headgate.console.app import Console
    from headgate.server.admin.app import Admin
    from headgate.server.reload import Reloader

Scope = dict[str, Any]
_PATHS = {
    "/v1/chat/completions": "openai_chat",
    "/v1/messages": "anthropic",
    "/v1/messages/count_tokens": "count_tokens",
    "/v1/embeddings": "embeddings",
}
_MODELS = "/v1/models"
_ADMIN = "/admin/"
METRICS = "/metrics"
_CONSOLE = "/console"
_GONE = b'{"error":{"code":"draining","message":"shutting down"}}'


class App:
    """One gateway as an ASGI application.

    Attributes:
        draining: set at shutdown: ``/readyz`` says 503 and streams are given their bounded time to end.
        limits: of client connections; those of a call are the ones at its beginning.
        reloader: follows the configuration from startup to shutdown, if set before.
        version: of the configuration that holds, shown by ``/readyz``; "" where there is no file.
    """

    def __init__(self, start: Callable[[], Awaitable[Core]], limits: Limits, keyless: bool) -> None:
        """Args:
        start: makes the core; awaited once, at the lifespan's startup or (mounted without one) the first request.
        limits: of client connections.
        keyless: whether keyless mode may exist here (a server bound to loopback).
        """
        self._start = start
        self.limits = limits
        self._keyless = keyless
        self._core: Core | None = None
        self._estimates = Estimates(keyless)
        self._feedback = FeedbackSurface(keyless)
        self._starting = asyncio.Lock()
        self._dialects: Mapping[str, Dialect] = {}
        self._targets: Mapping[bytes, Dialect] = {}
        self._guards: set[Guard] = set()
        self._admin: Admin | None = None
        self._console: Console | None = None
        self.draining = False
        self.reloader: Reloader | None = None
        self.version = ""
        self._retirement = Retirement()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection."""
        if scope["type"] != "http":
            return await self._other(scope, receive, send)
        if self._core is None:
            await self.startup()
        path = scope["path"]
        root = scope.get("root_path")
        if root and path.startswith(root):
            path = path[len(root) :]
        dialect = self._dialects.get(path)
        if dialect is None and path.startswith(_ADMIN):
            return await self._administer(scope, receive, send)
        if dialect is None and (path == _CONSOLE or path.startswith(_CONSOLE + "/")):
            return await self._show(scope, receive, send)
        caller = AsgiCaller(scope, receive, send)
        if dialect is not None and scope["method"] == "POST":
            return await self.serve(caller, dialect)
        return await self._small(path, dialect, scope["method"], caller, scope.get("query_string", b""))

    def dialect_at(self, target: bytes) -> Dialect | None:
        """Returns whose path a request target is; None where it is none of the data plane's."""
        return self._targets.get(target) or self._targets.get(target.partition(b"?")[0])

    async def startup(self) -> None:
        """Makes the core, once."""
        async with self._starting:
            if self._core is None:
                core = await self._start()
                self._dialects = {path: core.dialects[name] for path, name in _PATHS.items()}
                self._targets = {path.encode(): dialect for path, dialect in self._dialects.items()}
                self._core = core
                if self.reloader is not None:
                    self.reloader.start(self.apply)

    def apply(self, settings: Settings, version: str) -> None:
        """Makes new settings hold for the calls to come; those under way end with what they began with.

        Raises:
            ConfigError: they can not be composed, or all is over here; nothing has changed.
        """
        before = self._core
        if before is None or self.draining:
            raise ConfigError("this process is shutting down")
        core = before.renew(settings)
        self._core, self.limits, self.version = core, Limits.of(settings.server), version
        calls = set(self._guards)

        def busy() -> bool:
            calls.difference_update([guard for guard in calls if guard.over])
            return bool(calls)

        self._retirement.add(before.dropped(core), busy)

    async def shutdown(self) -> None:
        """Closes the core: connections, journal, key ring."""
        self.draining = True
        if self.reloader is not None:
            await self.reloader.stop()
        await self._retirement.aclose()
        core, self._core = self._core, None
        self._feedback.close()
        admin, self._admin = self._admin, None
        console, self._console = self._console, None
        for desk in (admin, console):
            if desk is not None:
                await asyncio.to_thread(desk.close)
        if core is not None:
            await core.aclose()
        self._estimates.close()

    def cut(self) -> None:
        """Ends what is still under way, each with the error of its dialect: the drain's time is over."""
        for guard in list(self._guards):
            guard.cancel("draining", _draining())

    async def serve(self, caller: Caller, dialect: Dialect) -> None:
        """Takes one model call end to end."""
        core = self._core
        if core is None:
            return await caller.whole(*render_error(_draining(), dialect), close=True)
        clock = core.clock
        record = Record(core.ids.new(), clock.time_ns(), dialect=dialect.name)
        call = Call(
            record, dialect, b"", clock.monotonic(), headers=caller.headers, peer=caller.peer, status_of=status_of
        )
        guard = Guard(core.ticker, caller, self.limits, call)
        self._guards.add(guard)
        writer: StreamWriter | None = None
        try:
            check_content(caller.headers)
            call.raw = await caller.body(self.limits.body_bytes)
            guard.reading = False
            read_settings(call, caller.headers)
            # A request that will stream may be kept warm by comments while it waits.
            if call.raw.find(b'"stream"') >= 0:  # `in` would cost half a microsecond more: it tries a number first
                writer = StreamWriter(call, caller, guard)
                guard.beat = writer.beat
                guard.silent_since = guard.now()
            reply = await core.handler(call)
            try:
                if call.view.stream:
                    if writer is None:
                        writer = StreamWriter(call, caller, guard)
                    await writer.write(reply)
                else:
                    await send_unary(call, reply, caller, guard)
            except BaseException:
                await reply.aclose()
                raise
        except HeadgateError as error:
            await self._fail(error, guard, call, caller, writer, close=guard.reading)
        except asyncio.CancelledError:
            await self._cancelled(guard, call, caller, writer)
        finally:
            guard.stop()
            self._guards.discard(guard)

    async def _fail(
        self,
        error: HeadgateError,
        guard: Guard,
        call: Call,
        caller: Caller,
        writer: StreamWriter | None,
        *,
        close: bool,
    ) -> None:
        """Tells an error: as a response, or in band where a stream has begun."""
        await guard.hush()
        if writer is not None and writer.started:
            await writer.fail(error)
        else:
            shown = render_error(error, call.dialect, call.id, dispatched(call.record))
            await caller.whole(*shown, close=close, after=call.settle)

    async def _cancelled(self, guard: Guard, call: Call, caller: Caller, writer: StreamWriter | None) -> None:
        """The guard ended the request, or somebody from outside did, whose business it is to know."""
        if not guard.why:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        if guard.why == "slow_body":
            await self._fail(slow_body(), guard, call, caller, writer, close=True)
        elif guard.why == "draining":
            await self._fail(_draining(), guard, call, caller, writer, close=True)
        elif guard.why == "slow_client":
            caller.abort()

    async def _small(self, path: str, dialect: Dialect | None, method: str, caller: Caller, query: bytes) -> None:
        """Everything that is not a model call."""
        core = self._core
        if path == "/healthz":
            return await send_json(caller, 200, b'{"status":"ok"}')
        if path == METRICS and core is not None:
            return await self._metrics(method, core, caller)
        if path == "/readyz":
            ready = core is not None and not self.draining
            version = f',"config":"{self.version}"' if self.version else ""
            shown = f'{{"ready":{"true" if ready else "false"}{version}}}'
            return await send_json(caller, 200 if ready else 503, shown.encode())
        if core is None:
            return await send_json(caller, 503, _GONE)
        theirs = path.startswith("/v1/messages") or b"anthropic-version" in caller.headers
        face = core.dialects["anthropic" if theirs else "openai_chat"]
        try:
            if path == _MODELS or path.startswith(_MODELS + "/"):
                if method not in ("GET", "HEAD"):
                    raise BadRequest(f"{path} takes GET, not {method}.", code="method_not_allowed")
                return await self._list_models(path[len(_MODELS) + 1 :], core, caller, query)
            if dialect is not None or (path in (PATH, FEEDBACK) and method != "POST"):
                raise BadRequest(f"{path} takes POST, not {method}.", code="method_not_allowed")
            if path == PATH:
                return await self._estimates.serve(caller, core, self.limits)
            if path == FEEDBACK:
                return await self._feedback.serve(caller, core, self.limits)
            raise nothing_at(path, (*_PATHS, _MODELS))
        except HeadgateError as error:
            await caller.whole(*render_error(error, face))
        return None

    async def _metrics(self, method: str, core: Core, caller: Caller) -> None:
        from headgate.server.metrics import serve_metrics

        try:
            if method not in ("GET", "HEAD"):
                raise BadRequest(f"{METRICS} takes GET, not {method}.", code="method_not_allowed")
            open_to = core.settings.server.metrics
            await serve_metrics(caller, core, keyless=self._keyless, open_to=open_to)
        except HeadgateError as error:
            await caller.whole(*render_error(error, core.dialects["openai_chat"]))

    async def _administer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The admin API; its code is loaded when it is first asked for, on a thread."""
        if self._admin is None:
            async with self._starting:
                core = self._core
                if core is None:
                    return await send_json(AsgiCaller(scope, receive, send), 503, _GONE)
                if self._admin is None:
                    self._admin = await asyncio.to_thread(self._open_admin, core)
        return await self._admin(scope, receive, send)

    def _open_admin(self, core: Core) -> Admin:
        from headgate.server.admin.app import Admin

        return Admin(lambda: self._core, core.data, self._keyless, lambda: self.limits)

    async def _show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The console; as the admin API, loaded when it is first asked for, on a thread."""
        if self._console is None:
            async with self._starting:
                core = self._core
                if core is None:
                    return await send_json(AsgiCaller(scope, receive, send), 503, _GONE)
                if self._console is None:
                    self._console = await asyncio.to_thread(self._open_console, core)
        return await self._console(scope, receive, send)

    def _open_console(self, core: Core) -> Console:
        from headgate.console.app import Console

        return Console(lambda: self._core, core.data, self._keyless, status_of)

    async def _list_models(self, name: str, core: Core, caller: Caller, query: bytes) -> None:
        headers = caller.headers
        principal = admit(headers, caller.peer, core.keys, self._keyless, core.proxies)
        allowed = principal.models
        shape: models_face.Shape = "anthropic" if b"anthropic-version" in headers else "openai"
        shown = {known: info for known, info in core.models.items() if allowed is None or known in allowed}
        if not name:
            page = models_face.read_page(query) if shape == "anthropic" else models_face.ALL
            return await send_json(caller, 200, models_face.render_models(list(shown.values()), shape, page))
        if name not in shown:
            raise UnknownModel(f"The model {name[:100]!r} does not exist here.", param="model")
        return await send_json(caller, 200, models_face.render_model(shown[name], shape))

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._lifespan(receive, send)
        if scope["type"] == "websocket":
            await receive()
            return await send({"type": "websocket.close", "code": 1003})
        return None

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.startup()
        except HeadgateError as error:
            return await send({"type": "lifespan.startup.failed", "message": error.message})
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.shutdown()
        return await send({"type": "lifespan.shutdown.complete"})


def slow_body() -> BadRequest:
    """Returns the error for a body that did not arrive in time."""
    return BadRequest("The request body did not arrive in time.", code="slow_body")


def _draining() -> Unavailable:
    return Unavailable("The gateway is shutting down; send the request again.", code="draining", retry_after=1)
