"""Balance: in which order the deployments of a group of equals are tried, by load, weight or price."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import msgspec

from headgate.core.call import Call, Deployment
from headgate.pipeline.health import Health

Way = Literal["ordered", "latency", "weighted", "cheapest"]
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Group:
    """Deployments that are equals, and the way to choose among them.

    Args:
        deployments: at least one.
        way: ``"ordered"``: as written; ``"latency"``: the better of two drawn at random, by peak EWMA of first-content
            time and calls in flight; ``"weighted"``: drawn by weight; ``"cheapest"``: by price.
        sticky: a conversation stays where its provider's prompt cache is warm, unless that one is under pressure.
        random: numbers from 0 to 1.
    """

    __slots__ = ("_pair", "_random", "_sticky", "_way", "deployments")

    def __init__(
        self,
        deployments: Sequence[Deployment],
        way: Way = "ordered",
        *,
        sticky: bool = False,
        random: Callable[[], float],
    ) -> None:
        self.deployments = tuple(deployments)
        self._way = way
        self._sticky = sticky
        self._random = random
        # Two equals are the usual case; both of their orders are made once.
        self._pair = (self.deployments, self.deployments[::-1]) if len(self.deployments) == 2 else None

    @property
    def is_fixed(self) -> bool:
        """Whether the order is always the same."""
        return len(self.deployments) == 1 or (self._way == "ordered" and not self._sticky)

    def order(self, call: Call, now: float) -> Sequence[Deployment]:
        """Returns every deployment in the order in which this call is to try them."""
        if self.is_fixed:
            return self.deployments
        free = [one for one in self.deployments if not _blocked(one, now)]
        chosen = self._choose(free) if free else self.deployments
        if self._sticky:
            chosen = self._stay(call, chosen, now)
        if len(free) == len(self.deployments):
            return chosen
        # Who would turn the call away comes last.
        return [*chosen, *(one for one in self.deployments if one not in chosen)]

    def _choose(self, among: Sequence[Deployment]) -> Sequence[Deployment]:
        if self._way == "latency":
            return self._least_loaded(among)
        if self._way == "weighted":
            # The draw of Efraimidis and Spirakis: first by weight, the rest by theirs, and so on.
            return sorted(among, key=lambda one: self._random() ** (1.0 / one.weight), reverse=True)
        return sorted(among, key=_price) if self._way == "cheapest" else among

    def _least_loaded(self, among: Sequence[Deployment]) -> Sequence[Deployment]:
        """The better of two that were drawn, then the rest by load: no herd runs after one good figure."""
        count = len(among)
        if self._pair is not None and count == 2:
            return self._pair[_load(self.deployments[1]) < _load(self.deployments[0])]
        first = among[int(self._random() * count)]
        if count > 1:
            others = [one for one in among if one is not first]
            second = others[int(self._random() * len(others))]
            if _load(second) < _load(first):
                first = second
        return [first, *sorted((one for one in among if one is not first), key=_load)]

    def _stay(self, call: Call, chosen: Sequence[Deployment], now: float) -> Sequence[Deployment]:
        key = conversation_key(call)
        home = max(self.deployments, key=lambda one: _score(key, one))
        if _blocked(home, now):
            return chosen
        return [home, *(one for one in chosen if one is not home)]


def conversation_key(call: Call) -> bytes:
    """Returns what is the same in every turn of a conversation: its session, or else its beginning.

    The beginning is the system prompt, tools left out, and all messages up to the first of the user.
    """
    if call.record.session:
        return call.record.session.encode()
    fields: dict[str, Any] = getattr(call.view, "fields", {})
    parts = [call.record.key_id.encode(), bytes(fields.get("system", b""))]
    messages = fields.get("messages")
    if messages is not None:
        try:
            items = _decode_items(messages)
        except msgspec.DecodeError:
            items = []
        for item in items:
            parts.append(bytes(item))
            if b'"user"' in parts[-1]:
                break
    return b"\0".join(parts)


def _score(key: bytes, deployment: Deployment) -> float:
    """Rendezvous hashing: every conversation ranks the deployments for itself; one that is added or gone moves only
    the conversations that are its own."""
    digest = hashlib.blake2b(deployment.name.encode(), key=hashlib.blake2b(key, digest_size=16).digest(), digest_size=7)
    draw = (int.from_bytes(digest.digest(), "big") + 1) / (1 << 56)
    return float(draw ** (1.0 / deployment.weight))


def _price(deployment: Deployment) -> float:
    """What three thousand tokens of input and one of output cost there now; what has no price comes last."""
    return float("inf") if deployment.price is None else deployment.price.bound(3000, 1000)


def _load(deployment: Deployment) -> float:
    health = cast("Health | None", deployment.health)
    return health.load() / deployment.weight if health is not None else 0.0


def _blocked(deployment: Deployment, now: float) -> bool:
    return deployment.health is not None and deployment.health.is_blocked(now)
