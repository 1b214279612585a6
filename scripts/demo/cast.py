"""Who and what the demo is about: a company's people, its features, what they ask and what is answered."""

from __future__ import annotations

import dataclasses
from typing import Literal

TEAMS = {
    "support": "Answers customers",
    "growth": "Sales and marketing",
    "platform": "Builds the product",
    "research": "Agents and evaluations",
}

PEOPLE = [
    ("Ada Okafor", "support", "developer"),
    ("Bram de Wit", "support", "viewer"),
    ("Chiara Russo", "growth", "developer"),
    ("Deniz Kaya", "growth", "viewer"),
    ("Emil Novak", "platform", "admin"),
    ("Farah Haddad", "platform", "developer"),
    ("Goro Tanaka", "research", "developer"),
    ("Hanna Lind", "research", "developer"),
]

CUSTOMERS = [
    *("ilse", "jamal", "kofi", "lucia", "marek", "noor", "otto", "priya", "quinn", "rosa", "sven", "tariq"),
    *("uma", "viktor", "wanda", "ximena", "yusuf", "zoe", "anders", "bela", "carmen", "dmitri", "elif", "femi"),
]


@dataclasses.dataclass(frozen=True)
class Feature:
    """One feature of the company's product, and what its calls are like.

    Attributes:
        name, team: whose it is.
        key: the virtual key that it calls with.
        model: what it asks for.
        prompt: the prompt that it names, "" for none.
        share: of all calls.
        input, output: median tokens.
        stream: whether it streams.
        dialect: its SDK's.
        priority: interactive or batch.
        people: whose calls they are: of customers, of the team's people, or of nobody.
        run: calls of one session; 1: there are no sessions.
        questions: what is asked, with what is answered.
        max_tokens: that it asks for; 0: it names none.
        night: whether it runs at night, too.
    """

    name: str
    team: str
    key: str
    model: str
    share: float
    input: int
    output: int
    questions: tuple[tuple[str, str], ...]
    prompt: str = ""
    stream: bool = True
    dialect: Literal["openai_chat", "anthropic", "embeddings"] = "openai_chat"
    priority: Literal["interactive", "batch"] = "interactive"
    people: Literal["customers", "team", "nobody"] = "customers"
    run: int = 1
    max_tokens: int = 0
    night: bool = False


FEATURES = (
    Feature(
        "support-chat",
        "support",
        "support-chat",
        "assistant",
        0.34,
        1400,
        210,
        (
            (
                "My parcel was due on Tuesday and the tracking page has not moved since. What now?",
                "I am sorry about the wait. A parcel that has not moved for **48 hours** counts as delayed:\n\n"
                "1. I have opened a search with the carrier.\n2. You hear from us within one working day.\n"
                "3. If it is lost, we send a new one at no cost.",
            ),
            (
                "Can I change the delivery address after I have paid?",
                "Yes, until the parcel leaves our warehouse: open **Orders**, choose the order, then *Change address*.",
            ),
            (
                "The app says that my card was declined, but my bank says it was not.",
                "That is usually the bank's second confirmation that timed out. Please try once more and keep your "
                "banking app open; nothing has been charged so far.",
            ),
        ),
        prompt="support-answer",
        max_tokens=600,
    ),
    Feature(
        "ticket-summary",
        "support",
        "ticket-summary",
        "fast",
        0.2,
        2600,
        120,
        (
            (
                "Summarise this ticket in three sentences for the next colleague: …",
                "The customer was charged twice for one order. Finance has confirmed the second charge and begun its "
                "refund. Left to do: tell the customer the date, and close.",
            ),
        ),
        prompt="ticket-summary",
        stream=False,
        priority="batch",
        people="nobody",
        max_tokens=250,
        night=True,
    ),
    Feature(
        "search-embed",
        "growth",
        "search",
        "embed",
        0.22,
        320,
        0,
        (("waterproof jacket for cycling, reflective", ""), ("gift for a ten year old who likes space", "")),
        stream=False,
        dialect="embeddings",
        people="customers",
        night=True,
    ),
    Feature(
        "sales-mail",
        "growth",
        "sales-mail",
        "fast",
        0.09,
        700,
        320,
        (
            (
                "Write a short mail to a shop owner who stopped ordering in spring.",
                "Subject: Something new for your shelves\n\nDear Ms Weber,\n\nspring was busy, and we have missed your "
                "orders since. Three things are new that would suit your shop…",
            ),
        ),
        prompt="win-back",
        people="team",
    ),
    Feature(
        "code-review",
        "platform",
        "code-review",
        "assistant",
        0.09,
        7800,
        640,
        (
            (
                "Review this change:\n\n```python\ndef total(items):\n    return sum(i.price for i in items)\n```",
                "Two remarks:\n\n- `price` may be `None` for a free item; `sum` then fails.\n"
                "- Name the currency in the function's name or type.\n\n```python\n"
                "def total(items: list[Item]) -> Cents:\n    return sum(item.price or 0 for item in items)\n```",
            ),
        ),
        prompt="code-review",
        people="team",
        max_tokens=2000,
    ),
    Feature(
        "agent-research",
        "research",
        "agents",
        "claude",
        0.06,
        5200,
        430,
        (
            (
                "Which of our suppliers publish their emissions? Look them up, and make a table.",
                "| supplier | publishes | since |\n|---|---|---|\n| Norden | yes | 2021 |\n| Casco | partly | 2023 |\n"
                "| Breeze | no | |\n\nCasco's figures leave transport out.",
            ),
        ),
        dialect="anthropic",
        people="team",
        run=7,
        max_tokens=4096,
    ),
)


@dataclasses.dataclass(frozen=True)
class Episode:
    """Something that went wrong for a while.

    Attributes:
        provider: where.
        ago_h, length_h: when it began, hours before now, and how long it was.
        share: of the calls there that it hit.
        status, error, message: what such a call was answered.
    """

    provider: str
    ago_h: float
    length_h: float
    share: float
    status: int
    error: str
    message: str


EPISODES = (
    Episode("openai", 9 * 24 + 4, 0.9, 0.97, 503, "overloaded", "The server is overloaded or not ready yet."),
    Episode("openai", 50, 0.6, 0.45, 429, "rate_limited", "Rate limit reached for requests per minute."),
    Episode("anthropic", 5, 0.5, 0.7, 529, "overloaded", "Overloaded"),
)
