"""Price: what a model's tokens cost, in whole nano-dollars, and the arithmetic over it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from headgate.core.usage import Usage

NANO = 1_000_000_000
"""Nano-dollars in a dollar."""
MILLION = 1_000_000


class Rates(msgspec.Struct, frozen=True, array_like=True):
    """What one call is charged at: nano-dollars per million tokens, or per piece. Kept in the attempt's record.

    None means not priced apart: such tokens cost what their kind does (``cached`` as ``input``, ``reasoning`` as
    ``output``…). New fields go at the end with a default: older records must still be read.

    Attributes:
        input, output: per million tokens.
        cached: input read from the provider's prompt cache.
        cache_write, cache_write_1h: input written to it, for 5 minutes and for an hour.
        reasoning: of the output.
        audio_input, audio_output, image_input, image_output: tokens of those kinds.
        search: nano-dollars per web search.
        request: nano-dollars per request.
    """

    input: int
    output: int = 0
    cached: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_output: int | None = None
    search: int = 0
    request: int = 0

    def cost(self, usage: Usage) -> int:
        """Returns nano-dollars: exact, rounded half up once, at the end.

        Example:
            >>> Rates(150_000_000, 600_000_000, cached=75_000_000).cost(Usage(1000, 100, cached=400))
            180000
        """
        total = usage.input * self.input + usage.output * self.output
        cached, written = usage.cached, usage.cache_write
        if (
            usage.cache_write_1h
            or usage.searches
            or usage.audio_input
            or usage.audio_output
            or usage.image_input
            or usage.image_output
            or self.request
            or self.reasoning is not None
            or cached + written > usage.input
        ):
            total += self._apart(usage)
        else:
            if cached and self.cached is not None:
                total += cached * (self.cached - self.input)
            if written and self.cache_write is not None:
                total += written * (self.cache_write - self.input)
        return (total + 500_000) // MILLION

    def _apart(self, usage: Usage) -> int:
        """What the parts that are priced apart add to the plain product (often less than nothing)."""
        extra = (usage.searches * self.search + self.request) * MILLION
        for plain, all_of_it, parts in self._families(usage):
            over = -all_of_it
            for _, count, rate in parts:
                extra += count * (rate - plain)
                over += count
            if over > 0:
                extra += over * plain
        return extra

    def parts(self, usage: Usage) -> Iterator[tuple[str, int, int, bool]]:
        """Yields what ``cost`` adds up: a name, how many, nano-dollars, and whether those are per million of them."""
        for name, (plain, all_of_it, parts) in zip(("input", "output"), self._families(usage), strict=True):
            rest = all_of_it - sum(count for _, count, _ in parts)
            if rest > 0:
                yield name, rest, plain, True
            for part, count, rate in parts:
                yield part, count, rate, True
        if usage.searches and self.search:
            yield "searches", usage.searches, self.search, False
        if self.request:
            yield "request", 1, self.request, False

    def _families(self, usage: Usage) -> tuple[_Family, _Family]:
        """Input and output: its plain rate, how many tokens, and those of them that are priced apart."""
        given = _priced(
            ("cache write", usage.cache_write, self.cache_write),
            ("cache write 1h", usage.cache_write_1h, self.cache_write_1h),
            ("audio input", usage.audio_input, self.audio_input),
            ("image input", usage.image_input, self.image_input),
        )
        cached = usage.cached
        if cached and self.cached is not None:
            # A token that was cached and is audio stands in both counts: what does not fit counts as not cached.
            room = max(0, usage.input - sum([count for _, count, _ in given]))
            if cached > room and (usage.audio_input or usage.image_input):
                cached = max(room, cached - usage.audio_input - usage.image_input)
            given.append(("cached", cached, self.cached))
        made = _priced(
            ("reasoning", usage.reasoning, self.reasoning),
            ("audio output", usage.audio_output, self.audio_output),
            ("image output", usage.image_output, self.image_output),
        )
        return (self.input, usage.input, given), (self.output, usage.output, made)

    def dearest(self) -> tuple[int, int]:
        """Returns the dearest rate that an input token can cost, and an output token."""
        given = (self.cached, self.cache_write, self.cache_write_1h, self.audio_input, self.image_input)
        made = (self.reasoning, self.audio_output, self.image_output)
        return (
            max([self.input, *(rate for rate in given if rate is not None)]),
            max([self.output, *(rate for rate in made if rate is not None)]),
        )


_Part = tuple[str, int, int]
_Family = tuple[int, int, list[_Part]]


def _priced(*parts: tuple[str, int, int | None]) -> list[_Part]:
    return [(name, count, rate) for name, count, rate in parts if count and rate is not None]


class Price(msgspec.Struct, frozen=True):
    """A model's price at one moment: its rates, those of longer prompts, those of other service tiers.

    Attributes:
        rates: what holds unless something below does.
        steps: by length of the prompt: above so many input tokens all tokens of the call cost these rates. Ascending.
        tiers: by service tier (``priority``, ``flex``, ``batch``, ``fast``).
        source: where it is from, e.g. ``"configuration"`` or ``"genai-prices 0.2.3"``.
        ceilings: derived: for the base and each step, where it starts and its dearest input and output rate.
    """

    rates: Rates
    steps: tuple[tuple[int, Rates], ...] = ()
    tiers: dict[str, Price] = {}
    source: str = ""
    ceilings: tuple[tuple[int, int, int], ...] = ()

    def __post_init__(self) -> None:
        found = [(-1, *self.rates.dearest())]
        for start, rates in self.steps:
            given, made = rates.dearest()
            found.append((start, max(given, found[-1][1]), max(made, found[-1][2])))
        msgspec.structs.force_setattr(self, "ceilings", tuple(found))

    def at(self, usage: Usage) -> Rates:
        """Returns the rates that a call with this usage is charged at."""
        price = self
        if usage.tier and self.tiers:
            price = self.tiers.get(usage.tier, self)
        rates = price.rates
        if price.steps:
            for start, higher in price.steps:
                if usage.input > start:
                    rates = higher
        return rates

    def cost(self, usage: Usage) -> int:
        """Returns nano-dollars; see ``Rates.cost``.

        Example:
            >>> Price(Rates(3_000_000_000, 15_000_000_000)).cost(Usage(1000, 200))
            6000000
        """
        return self.at(usage).cost(usage)

    def bound(self, input_tokens: int, output_tokens: int, tier: str = "") -> int:
        """Returns nano-dollars that no call of this size exceeds, web searches excepted: every token at its dearest.

        Args:
            input_tokens: at most so many are read.
            output_tokens: at most so many are generated, over all choices.
            tier: the service tier that the caller asks for, "" for none.

        Example:
            >>> Price(Rates(3_000_000_000, 15_000_000_000, cache_write_1h=6_000_000_000)).bound(1000, 200)
            9000000
        """
        ceilings = self.ceilings
        _, given, made = ceilings[0]
        if len(ceilings) > 1:
            for start, higher, longer in ceilings:
                if input_tokens > start:
                    given, made = higher, longer
        total = input_tokens * given + output_tokens * made + self.rates.request * MILLION
        bound = (total + 999_999) // MILLION
        if tier and tier in self.tiers:
            return max(bound, self.tiers[tier].bound(input_tokens, output_tokens))
        return bound

    def show(self) -> str:
        """Returns the price for people: ``$0.15 input, $0.60 output, $0.075 cached per million tokens``."""
        rates = self.rates
        words = [f"{show_money(rates.input)} input", f"{show_money(rates.output)} output"]
        for name in ("cached", "cache_write", "cache_write_1h", "reasoning", "audio_input", "audio_output"):
            rate = getattr(rates, name)
            if rate is not None:
                words.append(f"{show_money(rate)} {name.replace('_', ' ')}")
        text = ", ".join(words) + " per million tokens"
        if rates.search:
            text += f", {show_money(rates.search)} per search"
        if rates.request:
            text += f", {show_money(rates.request)} per request"
        for start, higher in self.steps:
            text += f"; above {start:,} tokens {show_money(higher.input)} input, {show_money(higher.output)} output"
        return text


def how_to_price(deployment: str) -> str:
    """Returns what to write in the configuration so that a deployment has a price."""
    provider, _, model = deployment.partition("/")
    return f'write `providers.{provider}.prices: {{"{model}": {{input: …, output: …}}}}`, in dollars per million tokens'


def show_cost(nano: int | None, places: int = 9) -> str:
    """Returns ``show_money``, or ``unpriced`` for None."""
    return "unpriced" if nano is None else show_money(nano, places)


def show_dollars(nano: int) -> str:
    """Returns nano-dollars as a plain decimal of dollars, exact, for programs.

    Example:
        >>> show_dollars(527_500), show_dollars(-3_000_000_000)
        ('0.0005275', '-3')
    """
    whole, part = divmod(abs(nano), NANO)
    text = f"{whole}.{part:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if nano < 0 else text


def show_money(nano: int, places: int = 9) -> str:
    """Returns nano-dollars in dollars, at least two decimals, rounded half up to ``places``.

    Example:
        >>> show_money(150_000_000), show_money(1_234_567), show_money(-2_000_000_000), show_money(1_234_567, 4)
        ('$0.15', '$0.001234567', '-$2.00', '$0.0012')
    """
    unit = 10 ** (9 - places)
    size = (abs(nano) + unit // 2) // unit * unit
    whole, part = divmod(size, NANO)
    decimals = f"{part:09d}"[:places].rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 and size else ''}${whole:,}.{decimals}"
