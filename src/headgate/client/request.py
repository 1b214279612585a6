"""Request: what one library call asks for, checked like a client's headers are, and turned into a Call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from headgate.core.call import Call, Principal, Priority
from headgate.core.errors import BadRequest
from headgate.core.record import Record
from headgate.core.trace import read_traceparent

if TYPE_CHECKING:
    from headgate.compose import Core

LIBRARY = Principal("", "library", role="admin", direct=True)
_WORD_LIMIT = 256
_TAG_LIMIT = 32
_LONGEST = 86_400.0


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One call as it is asked for: the dialect's own ``fields``, and what the gateway wants to know of it.

    The other attributes are the arguments of ``Gateway.complete``.
    """

    fields: Mapping[str, Any]
    dialect: str = "openai_chat"
    timeout: float | None = None
    priority: Priority = "interactive"
    trace: str = ""
    session: str = ""
    user: str = ""
    feature: str = ""
    prompt: str = ""
    tags: Mapping[str, str] | None = None

    def call(self, core: Core) -> Call:
        """Returns the Call.

        Raises:
            BadRequest: an argument makes no sense; ``param`` names it.
        """
        face = core.dialects.get(self.dialect)
        if face is None:
            raise BadRequest(
                f"There is no dialect {self.dialect!r}; there is {', '.join(core.dialects)}.", param="dialect"
            )
        started = core.clock.monotonic()
        record = Record(core.ids.new(), core.clock.time_ns(), dialect=self.dialect)
        if self.priority not in get_args(Priority):
            raise BadRequest("priority must be 'interactive' or 'batch'", param="priority", code="invalid_value")
        record.priority = self.priority
        record.trace = _word("trace", self.trace)
        record.parent = read_traceparent(record.trace.encode())
        record.trace = record.parent[:32] or record.trace
        record.session = _word("session", self.session)
        record.user = _word("user", self.user)
        record.feature = _word("feature", self.feature)
        record.prompt = _word("prompt", self.prompt)
        record.tags = _tags(self.tags)
        deadline = None if self.timeout is None else started + _seconds(self.timeout)
        return Call(record, face, _body(self.fields), started, deadline=deadline, principal=LIBRARY)


def _body(fields: Mapping[str, Any]) -> bytes:
    given = {key: value for key, value in fields.items() if value is not None}
    if isinstance(messages := given.get("messages"), str):
        given["messages"] = [{"role": "user", "content": messages}]
    try:
        return msgspec.json.encode(given, enc_hook=_plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadRequest(f"The request can not be written as JSON: {error}.", code="invalid_json") from error


def _plain(value: Any) -> Any:
    """Turns the SDKs' own objects (pydantic models), and mappings and sequences of other kinds, into plain ones."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"an object of type {type(value).__name__} is in it")


def _seconds(timeout: float) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= _LONGEST:
        raise BadRequest(
            f"timeout must be a number of seconds above 0, at most {_LONGEST:g}", param="timeout", code="invalid_value"
        )
    return float(timeout)


def _word(name: str, value: object) -> str:
    """What the journal holds must be readable for years: text only, and of a bounded length."""
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be text, not {type(value).__name__}", param=name, code="invalid_type")
    if len(value) > _WORD_LIMIT or not value.isprintable():
        raise BadRequest(f"{name} must be at most {_WORD_LIMIT} printable characters", param=name, code="invalid_value")
    return value


def _tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    if tags is None:
        return {}
    if not isinstance(tags, Mapping):
        raise BadRequest(
            f"tags must be a mapping of names to texts, not {type(tags).__name__}", param="tags", code="invalid_type"
        )
    if len(tags) > _TAG_LIMIT:
        raise BadRequest(f"there can be at most {_TAG_LIMIT} tags", param="tags", code="invalid_value")
    return {_word("tags", key): _word(f"tags[{key!r}]", value) for key, value in tags.items()}
