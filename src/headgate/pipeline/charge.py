"""The layer ``charge``: reserves what an attempt may cost at most before it is sent, settles what it did cost.

See DESIGN §6. Once for each attempt, at that deployment's price: tokens and dollars. What ends the attempt, whatever
it is, settles or releases, exactly once.
"""

from __future__ import annotations

from headgate.core.call import Attempt, AttemptHandler
from headgate.core.errors import HeadgateError, LimitExceeded
from headgate.core.price import how_to_price
from headgate.core.reply import Ending, Reply
from headgate.core.usage import Usage
from headgate.dialects.counting import asked_tier, input_bound
from headgate.pipeline.learned import Learned
from headgate.pipeline.meter import Amounts, Hold, Meter

MARGIN = 64
"""Output tokens added to what was received of a stream: the provider may have made more than came."""


def charge(next: AttemptHandler, meter: Meter, learned: Learned, *, received: bool = False) -> AttemptHandler:
    """Builds the layer for one deployment.

    Args:
        next: the layer inside.
        meter: reserves and settles.
        learned: what is known of the deployment's bounds.
        received: whether a stream that was cut without usage settles at what was received of it and a margin, rather
            than at its reservation.

    Raises (from the handler):
        LimitExceeded: a budget (``budget_exceeded``) or rate is used up, or the deployment has no price under a budget
            (``unpriced_model``); nothing was sent.
        Unavailable: the store of the limits is away, and nothing may go on without it (``limits_unavailable``).
    """

    async def handler(attempt: Attempt) -> Reply:
        call = attempt.call
        applied = call.limits
        if applied is None or not applied.attempts or not call.dialect.billed:
            return await next(attempt)
        try:
            charged = _Charged(attempt, learned, money=applied.money, received=received)
            hold = meter.try_reserve(applied.attempts, charged.amounts, call, attempt.position)
            if hold is None:
                hold = await meter.reserve(applied.attempts, charged.amounts, call, attempt.position)
        except HeadgateError as error:
            raise attempt.skip(error) from None
        charged.hold = hold
        try:
            reply = await next(attempt)
        except BaseException:
            charged.settle(0)
            raise
        reply.on_end(charged.ended)
        return reply

    return handler


class _Charged:
    """One attempt's reservation: its bound, what of it is reserved, and its end.

    Attributes:
        amounts: nano-dollars, tokens, input and output tokens to reserve.
        hold: the reservation.
    """

    __slots__ = ("_attempt", "_given", "_learned", "_made", "_money", "_received", "amounts", "hold")

    hold: Hold

    def __init__(self, attempt: Attempt, learned: Learned, *, money: bool, received: bool) -> None:
        """Raises LimitExceeded where dollars are limited and the deployment has no price."""
        call, deployment = attempt.call, attempt.deployment
        view = call.view
        self._attempt = attempt
        self._learned = learned
        self._received = received
        given = self._given = input_bound(view, deployment.encoding)
        made = 0 if call.dialect.name == "embeddings" else view.n * (view.max_tokens or deployment.max_tokens)
        self._made = made
        nano = 0
        if money:
            price = deployment.price
            if price is None:
                raise _unpriced(deployment.name)
            nano = price.bound(given, made, asked_tier(view))
        self._money = nano
        if not learned.plain:
            nano = learned.reserve(learned.money, nano)
            given, made = learned.reserve(learned.input, given), learned.reserve(learned.output, made)
        self.amounts: Amounts = (nano, given + made, given, made)

    def ended(self, ending: Ending) -> None:
        """The answer's end, whatever it is."""
        self.settle(ending.summary.content_chars)

    def settle(self, characters: int) -> None:
        """Settles at what was used, or where nobody says that at what it may have been."""
        record = self._attempt.record
        usage = record.usage
        if usage is None:
            self.hold.release()
            return
        if usage.estimated:
            self._presume(characters)
            return
        given, made, nano = usage.input, usage.output, record.cost or 0
        learned = self._learned
        if not learned.plain or nano > self._money or given > self._given or made > self._made:
            if self._money:
                learned.settled(learned.money, self._money, nano)
            learned.settled(learned.input, self._given, given)
            learned.settled(learned.output, self._made, made)
        self.hold.settle((nano, given + made, given, made))

    def _presume(self, characters: int) -> None:
        """Usage was not reported: what was reserved counts as used, or where a setting says so what was received.

        The Record then says so too: the ledger is never below what a budget has counted.
        """
        attempt = self._attempt
        record, price = attempt.record, attempt.deployment.price
        made = self._made
        if self._received and attempt.call.view.stream:
            made = min(made, characters + MARGIN)
        usage = record.usage = Usage(self._given, made, estimated=True)
        nano, tokens, given, most = self.amounts
        if price is not None:
            rates = record.rates = price.at(usage)
            record.cost = rates.cost(usage)
            nano = min(nano, record.cost)
        self.hold.settle((nano, min(tokens, self._given + made), min(given, self._given), min(most, made)))


def _unpriced(name: str) -> LimitExceeded:
    return LimitExceeded(
        f"{name} has no price, and a budget holds for this call: {how_to_price(name)}.",
        code="unpriced_model",
        fault="gateway",
    )
