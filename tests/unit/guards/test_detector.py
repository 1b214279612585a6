"""The detector: what is private is found, wherever it stands; what only looks like it is not."""

from __future__ import annotations

import json

import pytest

from headgate.guards.detector import find_all, find_secrets

TAIL = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0"

PRIVATE = [
    ("card 4111 1111 1111 1111, thanks", "CARD", "4111111111111111"),
    ("378282246310005", "CARD", "378282246310005"),
    ("pay with 5555-5555-5555-4444", "CARD", "5555555555554444"),
    ("IBAN DE89 3704 0044 0532 0130 00 AND more", "IBAN", "DE89370400440532013000"),
    ("to GB82WEST12345698765432.", "IBAN", "GB82WEST12345698765432"),
    ("SSN 078-05-1120", "SSN", "078051120"),
    ("my ssn is 078051120", "SSN", "078051120"),
    ("NI number AB 12 34 56 C", "NINO", "AB123456C"),
    ("Steuer-ID 86095742719", "STEUER_ID", "86095742719"),
    ("1 85 05 78 006 084 91", "NIR", "185057800608491"),
    ("DNI 12345678Z", "DNI", "12345678Z"),
    ("NIE X1234567L", "NIE", "X1234567L"),
    ("CF RSSMRA85T10A562S", "CODICE_FISCALE", "RSSMRA85T10A562S"),
    ("BSN: 111222333", "BSN", "111222333"),
    ("HETU 131052-308T", "HETU", "131052-308T"),
    ("AHV 756.9217.0769.85", "AHV", "7569217076985"),
    ("CPF 529.982.247-25", "CPF", "52998224725"),
    ("PESEL 44051401359", "PESEL", "44051401359"),
    ("811218-9876", "PERSONNUMMER", "8112189876"),
    ("write to Alice.Smith+x@Example.co.uk!", "EMAIL", "alice.smith+x@example.co.uk"),
    ("?to=bob%40example.org&x=1", "EMAIL", "bob@example.org"),
    (r"{\"to\":\"bob\u0040example.org\"}", "EMAIL", "bob@example.org"),
    ("call +49 (0)30 1234567 now", "PHONE", "490301234567"),
    ("+1-212-555-0123", "PHONE", "12125550123"),
    ("(212) 555-0123", "PHONE", "2125550123"),
    ("212.555.0123", "PHONE", "2125550123"),
    ("tel 07700 900123", "PHONE", "07700900123"),
    ("06 12 34 56 78", "PHONE", "0612345678"),
    ("my phone: 5550123456", "PHONE", "5550123456"),
    ("from 203.0.113.7:443", "IP", "203.0.113.7"),
    ("2001:db8::8a2e:370:7334", "IP", "2001:db8::8a2e:370:7334"),
    ("Authorization: Bearer abcDEF123456789012", "BEARER_TOKEN", "abcDEF123456789012"),
    ("postgres://me:hunter2pw@db/x", "PASSWORD", "hunter2pw"),
    ("password: hunter2xyz.", "SECRET", "hunter2xyz"),
    ('{"api_key": "0a1b2c3d4e5f"}', "SECRET", "0a1b2c3d4e5f"),
]

TOKENS = {
    "OPENAI_KEY": [f"sk-proj-{TAIL}", f"sk-{TAIL}"],
    "ANTHROPIC_KEY": [f"sk-ant-api03-{TAIL}-AA"],
    "AWS_KEY": ["AKIAIOSFODNN7EXAMPLE"],
    "GOOGLE_KEY": [f"AIza{TAIL[:35]}"],
    "GITHUB_TOKEN": [f"ghp_{TAIL[:36]}", f"github_pat_{TAIL}"],
    "GITLAB_TOKEN": [f"glpat-{TAIL[:20]}"],
    "SLACK_TOKEN": ["xoxb-123456789012-abcdefABCDEF"],
    "STRIPE_KEY": [f"sk_live_{TAIL[:24]}"],
    "TWILIO_KEY": ["SK" + "0a1b2c3d" * 4],
    "SENDGRID_KEY": [f"SG.{TAIL[:22]}.{TAIL[:43]}abc"],
    "HUGGINGFACE_TOKEN": [f"hf_{TAIL[:34]}"],
    "AZURE_KEY": [f"{TAIL}{TAIL[:12]}JQQJ99{TAIL[:26]}"],
    "NPM_TOKEN": [f"npm_{TAIL[:36]}"],
    "PYPI_TOKEN": [f"pypi-AgEIcHlwaS5vcmc{TAIL}"],
    "HEADGATE_KEY": [f"hg-{TAIL}"],
    "TELEGRAM_TOKEN": [f"123456789:AA{TAIL[:33]}"],
    "JWT": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"],
}

PUBLIC = [
    "1700000000000000000 ns, 1700000000000 ms, 1700000000 s",
    "order 4111111111111112 of 2024-05-11 14:30:05.123",
    "550e8400-e29b-41d4-a716-446655440000",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "version 10.2.3.4, v1.2.3.4, 127.0.0.1, 0.0.0.0",
    "icon@2x.png, git@github.com:org/repo, x = w@y.shape",
    "std::vector<int>::iterator a::b",
    "05-11-2024 14:30 to 06-11-2024 15:30",
    "ISBN 978-3-16-148410-0, 0-306-40615-2",
    "task-force-of-the-very-long-name, risk-management-and-controlling",
    "password: please choose one; the secret is patience; token: $TOKEN",
    "1,234,567.89 and 12 345 678 and 0.0123456789",
    "00:1A:2B:3C:4D:5E at 12:34:56",
    "52.5200066, 13.4049540",
    "Bearer of good news, basic income",
    "https://example.com/a/b?c=1#d",
]


@pytest.mark.parametrize(("text", "kind", "value"), PRIVATE)
def test_what_is_private_is_found(text: str, kind: str, value: str) -> None:
    """It is found once, as what it is, in its one spelling; and so inside JSON, whatever its escapes."""
    assert [(one.kind, one.value) for one in find_all(text)] == [(kind, value)]
    escaped = json.dumps({"a": f"line\n{text}\tend"})[1:-1]
    assert (kind, value) in [(one.kind, one.value) for one in find_all(escaped)]


@pytest.mark.parametrize(("kind", "token"), [(kind, token) for kind, every in TOKENS.items() for token in every])
def test_tokens_of_vendors_are_found(kind: str, token: str) -> None:
    """In prose, in code, in a URL, behind an escape; whole, and as secrets that no name may hold either."""
    for text in (token, f"use {token}, please", f'KEY="{token}"', f"?k={token}&a=1", f"a\\n{token}\\n", f"%20{token}"):
        (one,) = find_all(text)
        assert text[one.start : one.end] == token, text
        assert find_secrets(text) == [one]
    assert find_all(token)[0].kind == kind


@pytest.mark.parametrize("text", PUBLIC)
def test_what_only_looks_private_stays(text: str) -> None:
    """Times, versions, dates, ids, prose: nothing is found in them."""
    assert find_all(text) == []


def test_a_private_key_is_found_whole_and_cut_off() -> None:
    """From its first line to its last; to the end where it has none."""
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----"
    for text, rest in ((f"a {key} b", " b"), (f"a {key[:50]}", "")):
        (one,) = find_all(text)
        assert one.kind == "PRIVATE_KEY"
        assert (text[: one.start], text[one.end :]) == ("a ", rest)


@pytest.mark.parametrize(
    "piece",
    [
        "sk-",
        "eyJ",
        "eyJaaaaaaaaa.",
        "1~",
        "1",
        "a@",
        "@",
        "+1",
        "(12)",
        "-----BEGIN~PRIVATE~KEY-----",
        "://a:",
        "DE12",
        "password=",
        "a::",
        "1.",
        "-us",
        "1:AA",
        "JQQJ99",
    ],
)
def test_no_text_makes_it_slow(piece: str) -> None:
    """The work for a text of one piece over and over grows as the text does, counted in steps, not in time."""
    import sys

    piece = piece.replace("~", " ")

    def steps(text: str) -> int:
        count = 0

        def trace(*_: object) -> object:
            nonlocal count
            count += 1
            return trace

        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            find_all(text)
        finally:
            sys.settrace(None)
        return count

    small, large = steps(piece * 300), steps(piece * 1200)
    assert large <= 5 * small + 200
