"""A Route of the admin API: one row says who may call it, what it takes and gives, and what does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import msgspec
from sqlalchemy import Engine

from headgate.compose import Core
from headgate.core.call import Principal
from headgate.stores.data import DataDir
from headgate.stores.registry import Registry

Method = Literal["GET", "POST", "PATCH", "DELETE"]
ROOT = "/admin/v1"
PAGE = 50
MOST = 1000


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No fields at all."""


class Desk(Protocol):
    """What all requests share.

    ``engine`` is the store's, ``data`` the data directory; ``core`` the gateway as it is now.
    """

    @property
    def engine(self) -> Engine: ...
    @property
    def data(self) -> DataDir: ...
    @property
    def core(self) -> Core: ...


class Ask(msgspec.Struct):
    """One request, read and let in.

    ``path`` holds the words between braces, ``body`` and ``query`` what the route takes. ``registry`` changes things in
    the caller's name, once per idempotency key. ``address`` is where the request comes from.
    """

    desk: Desk
    principal: Principal
    registry: Registry
    path: Mapping[str, str]
    body: Any
    query: Any
    address: str = ""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One row.

    Attributes:
        method, path: ``"GET"``, ``"/keys/{id}"`` (below ``ROOT``).
        name: its operation id.
        about: one sentence.
        role: the least that may call it.
        does: does it, on a thread; may block, and raise any HeadgateError.
        gives: the struct that it answers with.
        status: of an answer that went well.
        takes: the struct of its body.
        query: the struct of its query parameters.
    """

    method: Method
    path: str
    name: str
    about: str
    role: str
    does: Callable[[Ask], Any]
    gives: Any
    status: int = 200
    takes: type[msgspec.Struct] = Nothing
    query: type[msgspec.Struct] = Nothing


def moment(time_ns: int) -> datetime:
    """Returns a stored time as JSON shows it: RFC 3339, in UTC."""
    return datetime.fromtimestamp(time_ns // 1000 / 1e6, UTC)


def moment_or_none(time_ns: int | None) -> datetime | None:
    """As ``moment``; None stays None."""
    return None if time_ns is None else moment(time_ns)
