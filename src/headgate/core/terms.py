"""What one key may do and must bring: models by pattern, client addresses, tags, whether it makes calls at all."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence

from headgate.core.errors import BadRequest, Forbidden

ROLES = ("viewer", "developer", "admin")
"""Each may do what those before it may: read; make calls; change keys and people."""

_CACHED = 1024
_LONGEST = 256
"""Callers choose these words: neither how many are remembered nor how long they are may be theirs to say."""

_WILD = re.compile(r"[*?\[]")


def lesser_role(one: str, other: str) -> str:
    """Returns whichever of two roles may do less; a word that is no role may least."""
    return min(one, other, key=lambda role: ROLES.index(role) if role in ROLES else -1)


def has_role(role: str, wanted: str) -> bool:
    """Says whether ``role`` may do what ``wanted`` may."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(wanted)


class ModelPatterns:
    """Model names of which some are patterns (``*``, ``?``, ``[ab]``): asked by ``in``, as a set is.

    Iterating gives the names that are none, for suggestions.
    """

    __slots__ = ("_known", "_matches", "_names")

    def __init__(self, models: Sequence[str]) -> None:
        self._names = frozenset(model for model in models if not _WILD.search(model))
        wild = [fnmatch.translate(model) for model in models if model not in self._names]
        self._matches = re.compile("|".join(wild) or r"(?!)").match
        self._known: dict[str, bool] = {}

    def __contains__(self, model: str) -> bool:
        known = self._known.get(model)
        if known is None:
            if len(model) > _LONGEST:
                return False
            known = model in self._names or self._matches(model) is not None
            if len(self._known) < _CACHED:
                self._known[model] = known
        return known

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)


def allowed_models(models: Sequence[str]) -> frozenset[str] | ModelPatterns:
    """Returns the cheapest thing that answers ``name in models``."""
    return ModelPatterns(models) if any(_WILD.search(model) for model in models) else frozenset(models)


class Networks:
    """Networks (``10.0.0.0/8``, ``2001:db8::1``), asked by ``address in networks``."""

    __slots__ = ("_known", "_networks")

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = tuple(ipaddress.ip_network(one) for one in networks)
        self._known: dict[str, bool] = {}

    def __contains__(self, address: str) -> bool:
        known = self._known.get(address)
        if known is None:
            if len(address) > _LONGEST:
                return False
            known = self._inside(address)
            if len(self._known) < _CACHED:
                self._known[address] = known
        return known

    def _inside(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self._networks)


class Terms:
    """The restrictions of a key that has some; one without has no Terms, and pays nothing.

    Args:
        key: what the key is called in messages.
        networks: the only client addresses, as networks (``10.0.0.0/8``); None for all.
        tags: what every call must carry: ``name``, or ``name=value``.
        calls: whether it makes model calls at all.
    """

    __slots__ = ("_calls", "_key", "_networks", "_tags")

    def __init__(self, key: str, networks: Sequence[str] | None, tags: Sequence[str], *, calls: bool) -> None:
        self._key = key
        self._networks = None if networks is None else Networks(networks)
        self._tags = tuple(tag.partition("=") for tag in tags)
        self._calls = calls

    def check_address(self, address: str) -> None:
        """Raises:
        Forbidden: the key may not be used from this address (``address_not_allowed``).
        """
        if self._networks is not None and address not in self._networks:
            raise Forbidden(
                f"The key {self._key!r} may not be used from {address[:64] or 'an unknown address'}; "
                "use it where it is allowed, or have that address added to it.",
                code="address_not_allowed",
            )

    def check_call(self, tags: Mapping[str, str]) -> None:
        """Raises:
        Forbidden: the key makes no calls.
        BadRequest: a tag is missing or has another value (``missing_tag``).
        """
        if not self._calls:
            raise Forbidden(
                f"The key {self._key!r} has the role viewer, which reads but makes no calls; "
                "use a key with the role developer."
            )
        for name, equals, value in self._tags:
            if (tags.get(name) != value) if equals else not tags.get(name):
                raise BadRequest(
                    f"Calls with the key {self._key!r} must carry the tag {name + equals + value!r}; "
                    f"send the header `x-headgate-tags: {name}={value or '…'}`.",
                    code="missing_tag",
                    param="x-headgate-tags",
                )
