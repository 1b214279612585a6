"""A Page of the console: one row says who may see it, what it shows, and in which template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import msgspec
from sqlalchemy import Engine

from headgate.compose import Core
from headgate.console.door import Visitor
from headgate.core.errors import BadRequest
from headgate.core.terms import has_role


class Desk(Protocol):
    """What all pages share: ``engine`` is the store's, ``core`` the gateway as it is now."""

    @property
    def engine(self) -> Engine: ...
    @property
    def core(self) -> Core: ...


class Visit(msgspec.Struct):
    """One request for a page, let in and read.

    ``path`` holds the words between braces; ``query`` and ``form`` what was sent, "" for a field that was not;
    ``address`` is where it comes from.
    """

    desk: Desk
    visitor: Visitor
    path: Mapping[str, str]
    query: Words
    form: Words
    address: str = ""

    def may(self, role: str) -> bool:
        """Says whether the visitor may do what this role may."""
        return has_role(self.visitor.principal.role, role)


class Words:
    """Fields of a query or form, in order; a name may stand several times."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs

    def get(self, name: str, default: str = "") -> str:
        """Returns the last value without space at its ends; ``default`` where there is none, or an empty one."""
        found = self.all(name)
        return (found[-1] if found else "") or default

    def all(self, name: str) -> list[str]:
        """Returns every value that is not empty."""
        return [value.strip() for key, value in self.pairs if key == name and value.strip()]

    def number(self, name: str, default: int, least: int = 0, most: int = 2**62) -> int:
        """Returns a whole number within bounds.

        Raises:
            BadRequest: it is none.
        """
        text = self.get(name)
        if not text:
            return default
        if not text.isascii() or not text.isdigit() or not least <= int(text[:20]) <= most:
            raise BadRequest(f"{name} must be a whole number from {least} to {most}", code="invalid_value", param=name)
        return int(text)


class View(msgspec.Struct, frozen=True):
    """What a page answers with: a template and what it shows."""

    template: str
    data: Mapping[str, Any]
    status: int = 200


class Redirect(msgspec.Struct, frozen=True):
    """Go and look elsewhere in the console; ``to`` is a path below its root."""

    to: str


class Json(msgspec.Struct, frozen=True):
    """An answer for a script of ours."""

    data: Any


Result = View | Redirect | Json


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One row.

    Attributes:
        path: below the root: ``"/calls/{id}"``.
        does: what it shows or changes; on a thread, may block, and raise any HeadgateError.
        role: the least that may look.
        title: its name in menu and tab; "" for what is no page of its own.
        group: where in the menu; "" for nowhere.
        method: ``"GET"``, or ``"POST"`` for what changes something.
    """

    path: str
    does: Callable[[Visit], Result]
    role: str = "viewer"
    title: str = ""
    group: str = ""
    method: Literal["GET", "POST"] = "GET"
