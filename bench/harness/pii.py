"""A corpus of private values in sentences, made from a seed: each value with check digits of its own, and its place.

Nothing here is taken from ``headgate.guards``: the check digits are computed by rules written down a second time.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from typing import NamedTuple

FIRST = [
    "alice",
    "bob",
    "chen",
    "dmitri",
    "elena",
    "fatima",
    "george",
    "hana",
    "ivan",
    "jane",
    "kofi",
    "lena",
    "marta",
    "nils",
    "olga",
    "pedro",
    "quinn",
    "rosa",
    "sven",
    "tara",
]
LAST = [
    "smith",
    "garcia",
    "muller",
    "rossi",
    "dubois",
    "jansen",
    "kowalski",
    "silva",
    "tanaka",
    "okafor",
    "singh",
    "larsen",
    "novak",
    "haddad",
    "cohen",
]
HOSTS = [
    "example.com",
    "mail.example.org",
    "corp-it.example.net",
    "gmail.com",
    "uni-bonn.de",
    "service.gov.uk",
    "xn--bcher-kva.ch",
    "acme.io",
]
ALNUM = string.ascii_letters + string.digits


class Planted(NamedTuple):
    """A text and what is private in it: (start, end, kind)."""

    text: str
    values: list[tuple[int, int, str]]


def luhn_digit(body: str) -> str:
    """The digit that makes the sum of doubled digits a multiple of ten."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        number = int(digit) * 2 if place % 2 == 0 else int(digit)
        total += sum(map(int, str(number)))
    return str(-total % 10)


def digits(r: random.Random, count: int) -> str:
    """So many digits."""
    return "".join(r.choice(string.digits) for _ in range(count))


def grouped(r: random.Random, text: str, sizes: tuple[int, ...], separators: str = " -") -> str:
    """Cut into groups, with one separator."""
    separator, parts, at = r.choice(separators), [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size
    return separator.join(parts)


def card(r: random.Random) -> str:
    """Visa, Mastercard or American Express."""
    kind = r.randrange(3)
    if kind == 2:
        body = r.choice(("34", "37")) + digits(r, 12)
        number = body + luhn_digit(body)
        return r.choice((number, grouped(r, number, (4, 6, 5))))
    body = ("4" if kind == 0 else str(r.randint(51, 55))) + digits(r, 14 if kind == 0 else 13)
    number = body + luhn_digit(body)
    return r.choice((number, grouped(r, number, (4, 4, 4, 4))))


def iban(r: random.Random) -> str:
    """German, British, French or Dutch."""
    country, body = r.choice(
        (
            ("DE", digits(r, 18)),
            ("GB", "".join(r.choice(string.ascii_uppercase) for _ in range(4)) + digits(r, 14)),
            ("FR", digits(r, 23)),
            ("NL", "".join(r.choice(string.ascii_uppercase) for _ in range(4)) + digits(r, 10)),
        )
    )
    number = int(
        "".join(str(string.digits.find(c)) if c in string.digits else str(ord(c) - 55) for c in body + country + "00")
    )
    text = f"{country}{98 - number % 97:02}{body}"
    return text if r.random() < 0.5 else " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def ssn(r: random.Random) -> str:
    """With hyphens."""
    area = r.choice([n for n in range(1, 900) if n != 666])
    return f"{area:03}-{r.randint(1, 99):02}-{r.randint(1, 9999):04}"


def nino(r: random.Random) -> str:
    """British."""
    first, second = r.choice("ABCEGHJKLMNOPRSTWXYZ"), r.choice("ABCEGHJKLMNPRSTWXYZ")
    while first + second in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ"):
        second = r.choice("ABCEGHJKLMNPRSTWXYZ")
    body = digits(r, 6)
    spaced = f"{first}{second} {body[:2]} {body[2:4]} {body[4:]} {r.choice('ABCD')}"
    return r.choice((spaced, spaced.replace(" ", "")))


def steuer(r: random.Random) -> str:
    """One digit twice among the first ten."""
    order = r.sample(string.digits, 9)
    order.append(r.choice(order))
    r.shuffle(order)
    if order[0] == "0":
        other = next(n for n, digit in enumerate(order) if digit != "0")
        order[0], order[other] = order[other], order[0]
    rest = 10
    for digit in order:
        rest = ((int(digit) + rest) % 10 or 10) * 2 % 11
    return "".join(order) + str((11 - rest) % 10)


def nir(r: random.Random) -> str:
    """French."""
    born = f"{digits(r, 2)}{r.randint(1, 12):02}"
    body = f"{r.choice('12')}{born}{r.randint(1, 95):02}{r.randint(1, 990):03}{r.randint(1, 999):03}"
    text = f"{body}{97 - int(body) % 97:02}"
    return r.choice((text, f"{text[0]} {text[1:3]} {text[3:5]} {text[5:7]} {text[7:10]} {text[10:13]} {text[13:]}"))


def dni(r: random.Random) -> str:
    """Spanish, of a citizen or of a foreigner."""
    letters = "TRWAGMYFPDXBNJZSQVHLCKE"
    if r.random() < 0.5:
        body = digits(r, 8)
        return body + letters[int(body) % 23]
    first, body = r.randrange(3), digits(r, 7)
    return f"{'XYZ'[first]}{body}{letters[int(f'{first}{body}') % 23]}"


def bsn(r: random.Random) -> str:
    """Dutch."""
    while True:
        body = digits(r, 8)
        last = sum(int(digit) * (9 - place) for place, digit in enumerate(body)) % 11
        if last < 10:
            return body + str(last)


def mail(r: random.Random) -> str:
    """An address."""
    tail = r.choice(("", "", str(r.randint(1, 99)), "+news"))
    name = f"{r.choice(FIRST)}{r.choice(('.', '_', '-', ''))}{r.choice(LAST)}{tail}"
    return f"{name}@{r.choice(HOSTS)}"


def phone(r: random.Random) -> str:
    """International, American, British, German or French."""
    kind = r.randrange(6)
    if kind == 0:
        return f"+49 {r.choice(('30', '171', '89'))} {r.randint(1000000, 9999999)}"
    if kind == 1:
        return f"+44 (0)20 {r.randint(1000, 9999)} {r.randint(1000, 9999)}"
    if kind == 2:
        area = f"{r.randint(2, 9)}{r.choice('023456789')}{r.choice('023456789')}"
        return r.choice(("({}) {}-{}", "{}-{}-{}", "{}.{}.{}", "+1 {} {} {}")).format(
            area, r.randint(200, 999), digits(r, 4)
        )
    if kind == 3:
        return f"07{r.randint(100, 999)} {r.randint(100000, 999999)}"
    if kind == 4:
        return f"0{r.choice('123456789')} " + " ".join(digits(r, 2) for _ in range(4))
    return f"0{r.randint(151, 179)} {r.randint(1000000, 9999999)}"


def ip(r: random.Random) -> str:
    """Version 4 or 6."""
    if r.random() < 0.7:
        return f"{r.choice((10, 83, 172, 192, 203))}.{r.randint(0, 255)}.{r.randint(0, 255)}.{r.randint(1, 254)}"
    return "2001:db8:" + ":".join(f"{r.randrange(1, 65536):x}" for _ in range(6))


def token(r: random.Random) -> str:
    """A key of one of the vendors."""

    def some(count: int, signs: str = ALNUM) -> str:
        return "".join(r.choice(signs) for _ in range(count - 1)) + r.choice([c for c in signs if c.isdigit()] or signs)

    return r.choice(
        (
            lambda: f"sk-proj-{some(48)}",
            lambda: f"sk-ant-api03-{some(90)}",
            lambda: f"AKIA{some(16, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567')}",
            lambda: f"AIza{some(35)}",
            lambda: f"ghp_{some(36)}",
            lambda: f"glpat-{some(20)}",
            lambda: f"xoxb-{digits(r, 12)}-{some(24)}",
            lambda: f"sk_live_{some(24)}",
            lambda: f"SG.{some(22)}.{some(43)}",
            lambda: f"hf_{some(34)}",
            lambda: f"npm_{some(36)}",
            lambda: f"hg-{some(40)}",
        )
    )()


KINDS: dict[str, Callable[[random.Random], str]] = {
    "CARD": card,
    "IBAN": iban,
    "SSN": ssn,
    "NINO": nino,
    "STEUER_ID": steuer,
    "NIR": nir,
    "DNI/NIE": dni,
    "BSN": bsn,
    "EMAIL": mail,
    "PHONE": phone,
    "IP": ip,
    "TOKEN": token,
}
LEADS = {
    "BSN": ("my BSN is {}", "burgerservicenummer: {}", "BSN {}"),
    "*": ("it is {}", "use {} please", "{}", "I have {} here", "see: {}.", "({})", "was it {}?", '"{}"', "value={}"),
}


def _clock(r: random.Random) -> str:
    return f"{r.randint(0, 23):02}:{r.randint(0, 59):02}"


def _uuid(r: random.Random) -> str:
    text = "".join(r.choice("0123456789abcdef") for _ in range(32))
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


HARMLESS: tuple[Callable[[random.Random], str], ...] = (
    lambda r: f"order {r.randint(10**7, 10**9)} was shipped",
    lambda r: f"at {r.randint(2019, 2026)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}T{_clock(r)}:07.{digits(r, 3)}Z",
    lambda r: f"ts {r.randint(16 * 10**8, 18 * 10**8)}{digits(r, r.choice((0, 3, 6, 9)))}",
    _uuid,
    lambda r: f"commit {''.join(r.choice('0123456789abcdef') for _ in range(40))}",
    lambda r: f"version {r.randint(1, 20)}.{r.randint(0, 20)}.{r.randint(0, 300)}",
    lambda r: f"it costs {r.randint(1, 999)},{digits(r, 3)}.{digits(r, 2)} euros",
    lambda r: f"coordinates {r.uniform(-90, 90):.7f}, {r.uniform(-180, 180):.7f}",
    lambda r: f"ISBN 978-{r.randint(0, 9)}-{digits(r, 2)}-{digits(r, 6)}-{r.randint(0, 9)}",
    lambda r: f"the ratio is {r.random():.12f}",
    lambda r: f"tensor of {r.randint(1, 4096)} x {r.randint(1, 4096)} x {r.randint(1, 64)}",
    lambda r: f"icon@{r.randint(2, 3)}x.png and npm install thing@{r.randint(1, 9)}.{r.randint(0, 9)}.0",
    lambda r: f"card number 4{digits(r, 3)} ends the range {r.randint(10**15, 4 * 10**15 - 1)}",
    lambda r: f"std::{r.choice(FIRST)}::{r.choice(LAST)}(a::b)",
    lambda r: f"{r.randint(1, 31):02}.{r.randint(1, 12):02}.{r.randint(1990, 2026)} and {r.randint(1, 12)}/28/2024",
    lambda r: f"task-force {r.choice(LAST)} reports risk-management-and-controlling-for-everybody",
    lambda r: f"tracking 1Z{''.join(r.choice(string.ascii_uppercase + string.digits) for _ in range(16))}",
    lambda r: f"serial {''.join(r.choice(string.ascii_uppercase) for _ in range(2))}-{digits(r, 4)}-{digits(r, 3)}",
    lambda r: "The password must be long; never tell your secret to anybody, basic rules.",
    lambda r: f"population {r.randint(1, 999)} {digits(r, 3)} {digits(r, 3)}",
)
WORDS = [
    "the",
    "model",
    "should",
    "answer",
    "this",
    "question",
    "about",
    "our",
    "customer",
    "and",
    "then",
    "send",
    "a",
    "short",
    "note",
    "to",
    "the",
    "team",
    "today",
]


def plant(r: random.Random, values: int, harmless: int) -> Planted:
    """Returns a text with so many private values and so many harmless ones, in any order, between words of prose."""
    jobs = [r.choice(list(KINDS)) for _ in range(values)] + [""] * harmless
    r.shuffle(jobs)
    text, places = "", []
    for kind in jobs:
        text += " ".join(r.choice(WORDS) for _ in range(r.randint(2, 7))) + r.choice((" ", "\n", ", "))
        if not kind:
            text += r.choice(HARMLESS)(r)
        else:
            lead = r.choice(LEADS.get(kind, LEADS["*"]))
            value = KINDS[kind](r)
            start = len(text) + lead.index("{}")
            text += lead.format(value)
            places.append((start, start + len(value), kind))
        text += r.choice((". ", "; ", "\n"))
    return Planted(text, places)


def as_body(r: random.Random, planted: Planted) -> bytes:
    """The text as a chat request, its signs escaped as some clients do."""
    body = {"model": "m", "messages": [{"role": "user", "content": planted.text}]}
    return json.dumps(body, ensure_ascii=r.random() < 0.5).encode()
