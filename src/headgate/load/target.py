"""Target: the URL that is loaded, and the requests that are sent to it."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

import msgspec

from headgate.core.errors import BadRequest

PATH = "/v1/chat/completions"
_WORD = b"stone "
_FILLER = 200_000
"""Words that one prompt has at most."""
_filler = _WORD * _FILLER


class Target:
    """Where calls go.

    Attributes:
        url: the endpoint's URL, without credentials.
        host, port: of its server.
        tls: how to speak with it, None for plain HTTP.
    """

    def __init__(self, url: str, *, model: str, key: str = "", tag: str = "", most_input: int = 0) -> None:
        """Args:
        url: a server (``http://127.0.0.1:8484``), an API's base (``https://api.example.com/v1``) or a whole endpoint.
        model: what is asked for where an arrival does not say.
        key: sent as bearer token; "" for none.
        tag: marks the calls of this run in the gateway's records.
        most_input: words that a prompt is cut to, 0 for as many as the arrival has tokens.

        Raises:
            BadRequest: it is no URL.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.username or parts.query:
            shown = "it" if "@" in url else repr(url[:100])  # what stands before an @ is a password
            raise BadRequest(f"not a URL to load: {shown}; write http://HOST:PORT, without a key or a query in it")
        path = parts.path.rstrip("/")
        path = path if path.endswith("/completions") else f"{path}{PATH.removeprefix('/v1') if path else PATH}"
        self.host = parts.hostname
        self.port = port or (443 if parts.scheme == "https" else 80)
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{parts.scheme}://{host}:{self.port}{path}"
        lines = [f"POST {path} HTTP/1.1", f"host: {host}:{self.port}", "content-type: application/json"]
        lines += [f"authorization: Bearer {key}"] if key else []
        lines += [f"x-headgate-tags: {tag}"] if tag else []
        self._head = ("\r\n".join(lines) + "\r\ncontent-length: %d\r\n\r\n").encode("latin-1")
        self._model = model
        self._most_input = min(most_input or _FILLER, _FILLER)

    def request(self, number: int, input_tokens: int, output_tokens: int, *, stream: bool, model: str = "") -> bytes:
        """Returns a whole request: a prompt of about so many tokens, an answer of at most so many.

        Args:
            number: of the call in its run; the prompt begins with it, so that no two are alike.
            input_tokens: words of the prompt.
            output_tokens: ``max_tokens``.
            stream: whether the answer is to be streamed, with its usage at its end.
            model: asked for instead of the run's.
        """
        words = max(0, min(input_tokens, self._most_input) - 1)
        name = msgspec.json.encode(model or self._model)
        extra = b',"stream":true,"stream_options":{"include_usage":true}' if stream else b""
        body = b'{"model":%b,"max_tokens":%d%b,"messages":[{"role":"user","content":"%d %b"}]}' % (
            *(name, max(1, output_tokens), extra, number),
            _filler[: words * len(_WORD)],
        )
        return self._head % len(body) + body
