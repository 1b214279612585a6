"""The one upstream driver: sends an attempt to a provider and turns what comes back into frames.

What differs between providers is data (``rows``); what differs between wires is a dialect. Nothing is
left to differ here.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from headgate.core.call import Attempt, Call
from headgate.core.errors import BadRequest, HeadgateError, UpstreamBroken, UpstreamError
from headgate.core.event import Frame, Kind
from headgate.core.ports import Exchange, Transport, UpstreamAnswer
from headgate.dialects.base import Dialect, StreamDecoder
from headgate.providers.keychain import KeyChain
from headgate.providers.taping import taped

_SSE_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")
ERROR_BODY_LIMIT = 1024 * 1024
_REQUEST_IDS = (b"x-request-id", b"request-id", b"x-goog-request-id", b"apim-request-id")
_monotonic = time.monotonic


class AllowList(dict[bytes, bool]):
    """Which header names may pass; remembers its verdicts, so that a prefix costs a look-up."""

    def __init__(self, names: Collection[bytes] = (), prefixes: Sequence[bytes] = ()) -> None:
        super().__init__((name, True) for name in names)
        self._prefixes = tuple(prefixes)

    def __missing__(self, name: bytes) -> bool:
        verdict = name.startswith(self._prefixes) if self._prefixes else False
        if len(self) < 1000:
            self[name] = verdict
        return verdict


class Provider:
    """One configured provider at run time: where it is, what it speaks, what it is sent.

    Attributes:
        name: as in ``provider/model``.
        paths: request target by dialect name, e.g. ``{"openai_chat": b"/v1/chat/completions"}``; the first chat
            dialect in it is what other dialects are translated to.
        headers: constant header lines (credentials too, where there is one key), each ending in CRLF.
        keys: the provider's keys where it has several; None where ``headers`` has the only one.
        defaults: header lines by name, for where the client sends none of that name.
        request_headers: names of client headers that may go upstream.
        response_headers: says of an upstream header's name whether it may go to the client.
        max_tokens_field: ``"max_tokens"`` or ``"max_completion_tokens"``.
        stream_usage: whether usage is to be asked for in streams.
        response_limit: bytes that a unary answer may have, decoded; a stream's length is bound by its timeouts alone.
    """

    __slots__ = (
        "defaults",
        "headers",
        "keys",
        "max_tokens_field",
        "name",
        "paths",
        "request_headers",
        "response_headers",
        "response_limit",
        "stream_usage",
        "transport",
    )

    def __init__(
        self,
        name: str,
        transport: Transport,
        paths: Mapping[str, bytes],
        headers: bytes,
        *,
        defaults: Mapping[bytes, bytes] | None = None,
        request_headers: Collection[bytes] = (),
        response_headers: AllowList | None = None,
        max_tokens_field: str = "max_tokens",
        stream_usage: bool = True,
        response_limit: int = 64 * 1024 * 1024,
        keys: KeyChain | None = None,
    ) -> None:
        self.name = name
        self.keys = keys
        self.transport = transport
        self.paths = paths
        self.headers = headers
        self.defaults = dict(defaults or {})
        self.request_headers = tuple(request_headers)
        self.response_headers = response_headers or AllowList()
        self.max_tokens_field = max_tokens_field
        self.stream_usage = stream_usage
        self.response_limit = response_limit


class Driver:
    """Sends attempts to one model of one provider."""

    __slots__ = ("_dialects", "_model", "_provider", "_strict", "_target")

    def __init__(self, provider: Provider, model: str, dialects: Mapping[str, Dialect], strict: bool = False) -> None:
        """Args:
        provider: where to.
        model: the provider's name for the model.
        dialects: every dialect by name.
        strict: refuse a request that the provider's dialect can not carry whole.
        """
        self._provider = provider
        self._model = model
        self._dialects = dialects
        self._strict = strict
        self._target = next((name for name in ("openai_chat", "anthropic") if name in provider.paths), "")

    async def open(self, attempt: Attempt) -> UpstreamAnswer:
        """See ``core.ports.Upstream.open``."""
        call, provider, record = attempt.call, self._provider, attempt.record
        dialect: Dialect = call.dialect
        path = provider.paths.get(dialect.name)
        same = path is not None
        max_tokens = record.max_tokens = call.view.max_tokens or attempt.deployment.max_tokens
        if path is not None:
            changes = dialect.policy(
                call.view,
                model=self._model,
                max_tokens=max_tokens,
                max_tokens_field=provider.max_tokens_field,
                stream_usage=provider.stream_usage,
            )
            body = dialect.patch(call.view, changes) if changes else call.raw
        else:
            local = dialect.local_answer(call.view, attempt.deployment.encoding)
            if local is not None:
                return UpstreamAnswer((local[0],), None, local[1], dialect.name)
            dialect, path, body = self._translate(attempt, max_tokens)
        headers = self._headers(call, same)
        keys, key = provider.keys, 0
        if keys is not None:
            key = keys.pick(_monotonic())
            headers += keys.line(key)
        send = provider.transport.send if call.kept != "full" else taped(provider.transport, attempt, dialect.name)
        exchange = await send(
            "POST",
            path,
            headers,
            body,
            connect_timeout=attempt.deployment.timeouts.connect,
            on_abort=attempt.bind,
        )
        attempt.head_at = _monotonic()
        record.sent = True
        record.status = exchange.status
        record.reused_connection = exchange.reused
        record.upstream_id = _request_id(exchange.headers)
        try:
            return await self._read(exchange, dialect, attempt, same)
        except HeadgateError as error:
            exchange.abort()
            if keys is not None:
                attempt.rotated = keys.failed(key, error, _monotonic())
            raise _told(error, same) from None
        except BaseException:
            exchange.abort()
            raise

    async def _read(self, exchange: Exchange, dialect: Dialect, attempt: Attempt, same: bool) -> UpstreamAnswer:
        received, view = exchange.headers, attempt.call.view
        if not 200 <= exchange.status < 300:
            raise await _refusal(exchange, dialect)
        if attempt.deployment.health is not None:
            attempt.deployment.health.heed(received)
        allowed = self._provider.response_headers
        passed = [item for item in received.items() if allowed[item[0]]]
        kind = received.get(b"content-type", b"")
        first = b""
        if view.stream and not kind.startswith(b"text/event-stream"):
            first = await _first_bytes(exchange)
        if view.stream and (not first or first.lstrip().startswith(_SSE_STARTS)):
            decoder = dialect.stream_decoder()
            hide_usage = same and not view.include_usage
            source = _Stream(exchange, decoder, attempt, same, hide_usage, first)
            return UpstreamAnswer((), source, decoder.summary, dialect.name, passed)
        body = first + await exchange.read_all(self._provider.response_limit)
        exchange.finish()
        if view.stream or (kind and kind != b"application/json" and b"json" not in kind):
            _reject_content_type(dialect, kind, body)
        frame, summary = dialect.read_answer(body)
        summary.received = len(body)
        return UpstreamAnswer((frame,), None, summary, dialect.name, passed)

    def _translate(self, attempt: Attempt, max_tokens: int) -> tuple[Dialect, bytes, bytes]:
        """Renders the request in the provider's own dialect; what is lost is recorded, or refused when strict."""
        call, provider = attempt.call, self._provider
        if not self._target or call.dialect.name not in ("openai_chat", "anthropic"):
            raise BadRequest(
                f"{attempt.deployment.name} does not serve this kind of request ({call.dialect.name}).",
                code="unsupported",
            )
        dialect = self._dialects[self._target]
        if call.conversation is None:
            call.conversation = call.dialect.read_request(call.view)
        conversation = call.conversation
        conversation.model = self._model
        conversation.max_tokens = max_tokens
        encoded = dialect.write_request(
            conversation, max_tokens_field=provider.max_tokens_field, stream_usage=provider.stream_usage
        )
        if encoded.lost:
            if self._strict:
                raise BadRequest(
                    f"{attempt.deployment.name} speaks {dialect.name}, which has no counterpart for "
                    f"{', '.join(encoded.lost)}; leave that out, or allow translation with loss.",
                    code="untranslatable",
                    param=encoded.lost[0],
                )
            attempt.record.lost = list(encoded.lost)
        return dialect, provider.paths[self._target], encoded.body

    def _headers(self, call: Call, same: bool) -> bytes:
        """Header lines for one request: ours, and the client's own that mean something to this dialect."""
        provider, given = self._provider, call.headers
        lines = provider.headers
        for name, line in provider.defaults.items():
            if not same or name not in given:
                lines += line
        if same:
            for name in provider.request_headers:
                if name in given:
                    lines += b"%b: %b\r\n" % (name, given[name])
        return lines


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    for name in _REQUEST_IDS:
        value = headers.get(name)
        if value is not None:
            return value[:100].decode("latin-1")
    return ""


async def _first_bytes(exchange: Exchange) -> bytes:
    """Some servers label an event stream as JSON, or not at all: its first bytes tell. One space if there are none."""
    first = b""
    while len(first.lstrip()) < 6 and (piece := await exchange.read()):
        first += piece
    return first or b" "


async def _refusal(exchange: Exchange, dialect: Dialect) -> HeadgateError:
    """Reads an error answer. A body that breaks off still leaves a status to go by."""
    try:
        body = await exchange.read_all(ERROR_BODY_LIMIT)
        exchange.finish()
    except UpstreamBroken:
        body = b""
    return dialect.read_error(exchange.status, exchange.headers, body)


def _told(error: HeadgateError, same: bool) -> HeadgateError:
    """An upstream's own error body is for clients of its own dialect only."""
    if isinstance(error, UpstreamError) and not same:
        error.body = b""
    return error


def _reject_content_type(dialect: Dialect, kind: bytes, body: bytes) -> None:
    """Raises for a 2xx answer of the wrong kind; an error that hides in it is told as such."""
    if b"json" in kind:
        dialect.read_answer(body)
    shown = kind[:60].decode("latin-1") or "no content type"
    raise UpstreamBroken(f"The upstream answered 200 with {shown}.", code="wrong_content_type", sent=True)


class _Stream:
    """The Source of one streamed answer: reads, decodes, and holds the upstream to its termination contract."""

    __slots__ = ("_attempt", "_decoder", "_done", "_error", "_exchange", "_first", "_hide_usage", "_same")

    def __init__(
        self,
        exchange: Exchange,
        decoder: StreamDecoder,
        attempt: Attempt,
        same: bool,
        hide_usage: bool,
        first: bytes,
    ) -> None:
        self._first = first
        self._same = same
        self._exchange = exchange
        self._decoder = decoder
        self._attempt = attempt
        self._hide_usage = hide_usage
        self._done = False
        self._error: HeadgateError | None = None

    async def more(self) -> Sequence[Frame]:
        """Returns the next frames. See ``core.reply.Source.more``."""
        if self._error is not None:
            raise self._error
        if self._done:
            return ()
        attempt, decoder = self._attempt, self._decoder
        try:
            while True:
                attempt.waiting_since = _monotonic()
                data, self._first = self._first or await self._exchange.read(), b""
                attempt.waiting_since = 0.0
                frames = decoder.feed(data) if data else decoder.end()
                decoder.summary.received += len(data)
                if not data or (frames and frames[-1].kind is Kind.MARKER):
                    self._done = True
                    self._exchange.finish()
                if decoder.error is not None:
                    self._exchange.abort()
                    self._error = _told(decoder.error, self._same)
                    frames = [frame for frame in frames if frame.kind is not Kind.ERROR]
                    if not frames:
                        raise self._error
                if self._hide_usage:
                    frames = [frame for frame in frames if frame.kind is not Kind.USAGE]
                if frames or self._done:
                    return frames
        except BaseException:
            self._done = True
            self._exchange.abort()
            raise

    async def aclose(self) -> None:
        """Stops the upstream."""
        self._done = True
        self._exchange.abort()
