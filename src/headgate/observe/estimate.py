"""Estimates: what a call would take in tokens and money at each deployment of its plan, before it is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from headgate.core.call import Deployment
from headgate.core.encoding import Encoding
from headgate.core.price import NANO, how_to_price, show_dollars, show_money
from headgate.core.usage import Usage
from headgate.dialects.base import Dialect, View
from headgate.dialects.counting import asked_tier, input_bound
from headgate.dialects.estimating import Estimate, estimate_input
from headgate.dialects.fields import Fields, read_fields

Count = Callable[[View, Dialect, Encoding], Awaitable[Estimate]]
"""Counts the input of a request; another process may do it."""

_ANTHROPIC_ONLY = ("system", "thinking", "stop_sequences", "top_k", "mcp_servers")


class AtDeployment(msgspec.Struct):
    """The call at one deployment. Money is nano-dollars, None without a price.

    Attributes:
        deployment: ``provider/model``.
        input_tokens: as they will likely be counted; ``method`` says how: by ``tokenizer``, or by ``characters``.
        input_bound: what it can not exceed, web searches and unseen files excepted: what a budget reserves for.
        output_tokens: at most, over all choices.
        least: with no answer at all. most: with the longest one. reserved: what a budget sets aside.
        price: for people, "" for none.
    """

    deployment: str
    input_tokens: int
    method: str
    input_bound: int
    output_tokens: int
    least: int | None
    most: int | None
    reserved: int | None
    price: str


class CallEstimate(msgspec.Struct):
    """A whole estimate; ``warnings`` are sentences."""

    model: str
    dialect: str
    deployments: list[AtDeployment]
    warnings: list[str]

    def plain(self) -> dict[str, Any]:
        """Returns it as JSON has it: money in dollars as exact decimals, and the range over all deployments."""
        rows = [
            {
                "deployment": one.deployment,
                "input_tokens": one.input_tokens,
                "method": one.method,
                "input_tokens_bound": one.input_bound,
                "max_output_tokens": one.output_tokens,
                "cost_usd": _range(one.least, one.most),
                "reserved_usd": None if one.reserved is None else show_dollars(one.reserved),
                "price": one.price or None,
            }
            for one in self.deployments
        ]
        least = [one.least for one in self.deployments if one.least is not None]
        most = [one.most for one in self.deployments if one.most is not None]
        return {
            "model": self.model,
            "dialect": self.dialect,
            "input_tokens": {
                "min": min(one.input_tokens for one in self.deployments),
                "max": max(one.input_tokens for one in self.deployments),
            },
            "max_output_tokens": max(one.output_tokens for one in self.deployments),
            "cost_usd": _range(min(least, default=None), max(most, default=None)),
            "deployments": rows,
            "warnings": self.warnings,
        }


async def count_here(view: View, dialect: Dialect, encoding: Encoding) -> Estimate:
    """Counts in this process, which loads the tokenizer: for the command line."""
    return estimate_input(view, dialect, encoding)


async def estimate_call(
    view: View,
    dialect: Dialect,
    deployments: Sequence[Deployment],
    *,
    count: Count,
    warn_tokens: int,
    warn_dollars: float,
) -> CallEstimate:
    """Returns what a request would take at each of these deployments.

    Args:
        view: the request's top level.
        dialect: the one it is written in.
        deployments: its plan, at least one.
        count: counts its input.
        warn_tokens, warn_dollars: above which to warn.

    Raises:
        BadRequest: the request is malformed.
    """
    tier = asked_tier(view)
    counted: dict[Encoding, Estimate] = {}
    rows = []
    for deployment in deployments:
        encoding = deployment.encoding
        if encoding not in counted:
            counted[encoding] = await count(view, dialect, encoding)
        rows.append(_at(deployment, view, dialect, counted[encoding], tier))
    found = CallEstimate(view.model, dialect.name, rows, [])
    found.warnings += _warnings(rows, warn_tokens, int(warn_dollars * NANO))
    return found


def guess_dialect(headers: Mapping[bytes, bytes], raw: bytes) -> str:
    """Returns the name of the dialect that a request is written in: as its header says, else as its fields look.

    Raises:
        BadRequest: it is not a JSON object with unique keys.
    """
    named = headers.get(b"x-headgate-dialect")
    if named is not None:
        return named.decode("latin-1")
    fields: Fields = read_fields(raw)
    if "input" in fields and "messages" not in fields:
        return "embeddings"
    if b"anthropic-version" in headers or any(name in fields for name in _ANTHROPIC_ONLY):
        return "anthropic"
    return "anthropic" if b'"input_schema"' in bytes(fields.get("tools", b"")) else "openai_chat"


def _at(deployment: Deployment, view: View, dialect: Dialect, counted: Estimate, tier: str) -> AtDeployment:
    given = counted.tokens
    made = 0 if dialect.name == "embeddings" else view.n * (view.max_tokens or deployment.max_tokens)
    bound = max(given, input_bound(view, deployment.encoding))
    price = deployment.price
    least = most = reserved = None
    if price is not None:
        least = price.cost(Usage(given, tier=tier))
        most = price.cost(Usage(given, made, tier=tier))
        reserved = price.bound(bound, made, tier)
    shown = "" if price is None else price.show()
    return AtDeployment(deployment.name, given, counted.method, bound, made, least, most, reserved, shown)


def _warnings(rows: Sequence[AtDeployment], warn_tokens: int, warn_nano: int) -> list[str]:
    found = []
    for row in rows:
        if row.input_tokens > warn_tokens:
            found.append(
                f"{row.deployment}: {row.input_tokens:,} input tokens are over the {warn_tokens:,} to warn above."
            )
        if row.most is not None and row.most > warn_nano:
            found.append(
                f"{row.deployment}: up to {show_money(row.most)} is over the {show_money(warn_nano)} to warn above."
            )
        if row.most is None:
            found.append(f"{row.deployment} has no price; {how_to_price(row.deployment)}.")
    return found


def _range(least: int | None, most: int | None) -> dict[str, str] | None:
    return None if least is None or most is None else {"min": show_dollars(least), "max": show_dollars(most)}
