"""``/v1/messages/count_tokens`` as a dialect of its own: asked upstream where it is served, estimated where not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from msgspec.structs import replace

from headgate.core.encoding import Encoding
from headgate.core.event import Event, Frame, Kind, Summary, UsageReport
from headgate.core.usage import Usage
from headgate.dialects.anthropic.count import read_count_answer, write_count_answer
from headgate.dialects.anthropic.dialect import Anthropic
from headgate.dialects.base import Encoder, View
from headgate.dialects.estimating import estimate_conversation


class AnthropicCount(Anthropic):
    """Counts the input tokens of a messages request. Unary; its answer's usage is the count, nothing is billed."""

    name: ClassVar[str] = "count_tokens"
    billed: ClassVar[bool] = False

    def view(self, raw: bytes) -> View:
        """Reads the top level as a messages request's; a count is never streamed."""
        view = super().view(raw)
        view.stream = False
        return view

    def policy(
        self, view: View, *, model: str, max_tokens: int, max_tokens_field: str, stream_usage: bool
    ) -> dict[str, Any]:
        """Only the model's name may differ: this surface takes no bound."""
        return {"model": model} if view.model != model else {}

    def read_answer(self, body: bytes) -> tuple[Frame, Summary]:
        """Reads ``{"input_tokens": N}``.

        Raises:
            UpstreamBroken: it is not that.
        """
        return _counted(read_count_answer(body), body)

    def local_answer(self, view: View, encoding: Encoding) -> tuple[Frame, Summary]:
        """Estimates as the provider would count, for one that can not."""
        if not encoding.exact:  # its tokenizer is not in this process: 65 MB for one answer are too much
            encoding = replace(encoding, name="")
        tokens = estimate_conversation(self.read_request(view), encoding).tokens
        return _counted(tokens, write_count_answer(tokens), estimated=True)

    def encoder(self, *, stream: bool, model: str, include_usage: bool = True) -> Encoder:
        """Returns an encoder that renders the count."""
        return _CountEncoder()


class _CountEncoder(Encoder):
    def __init__(self) -> None:
        self._tokens = 0

    def feed(self, events: Sequence[Event]) -> bytes:
        for event in events:
            if isinstance(event, UsageReport):
                self._tokens = event.usage.input
        return b""

    def end(self) -> bytes:
        return write_count_answer(self._tokens)


def _counted(tokens: int, body: bytes, *, estimated: bool = False) -> tuple[Frame, Summary]:
    usage = Usage(tokens, estimated=estimated)
    return Frame(Kind.CONTENT, body, events=(UsageReport(usage),)), Summary(usage=usage, complete=True)
