"""Keys and tokens of known vendors, one row each: a word that it holds, and its form around that word.

The word is looked for first, by the fastest search that there is; the form is tried only where it stands. Every
repetition is bounded, so that no text makes the search slow. Forms are the vendors' own, as their documentation or
their secret scanning partners publish them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from headgate.guards.finding import Finding, begins


class Token(NamedTuple):
    """One vendor's token. ``form`` begins so many signs (one of ``back``) before ``word``; its group is the secret."""

    kind: str
    word: str
    form: re.Pattern[str]
    back: tuple[int, ...] = (0,)


_W = "[A-Za-z0-9_-]"
_A = "[A-Za-z0-9]"
_END = r"(?![A-Za-z0-9])"


def _token(kind: str, word: str, rest: str, before: str = "", *back: int) -> Token:
    return Token(kind, word, re.compile(f"{before}{re.escape(word)}{rest}"), back or (0,))


TOKENS: tuple[Token, ...] = (
    _token("HEADGATE_KEY", "hg-", f"{_W}{{40}}(?!{_W})"),
    _token("ANTHROPIC_KEY", "sk-ant-", f"{_W}{{20,250}}"),
    _token("OPENROUTER_KEY", "sk-or-", f"{_W}{{20,120}}"),
    _token("LANGFUSE_KEY", "sk-lf-", f"{_W}{{20,60}}"),
    # `sk-` is OpenAI's, and many followed; a word of prose (`sk-…` in `risk-…`) has no digit.
    _token("OPENAI_KEY", "sk-", f"(?=[A-Za-z_-]{{0,60}}[0-9]){_W}{{20,250}}"),
    *(_token("AWS_KEY", word, "[A-Z2-7]{16}(?![A-Z0-9])") for word in ("AKIA", "ASIA", "ABIA", "ACCA")),
    _token("GOOGLE_KEY", "AIza", f"{_W}{{35}}(?!{_W})"),
    _token("GOOGLE_TOKEN", "ya29.", f"{_W}{{20,400}}"),
    _token("GOOGLE_SECRET", "GOCSPX-", f"{_W}{{24,40}}"),
    *(_token("GITHUB_TOKEN", f"gh{kind}_", f"{_A}{{36,255}}") for kind in "pousr"),
    _token("GITHUB_TOKEN", "github_pat_", "[A-Za-z0-9_]{22,255}"),
    *(
        _token("GITLAB_TOKEN", f"{word}-", f"{_W}{{20,300}}")
        for word in ("glpat", "gldt", "glrt", "glcbt", "glptt", "glsoat", "glagent", "gloas", "glft", "glimt")
    ),
    _token("SLACK_TOKEN", "xox", f"[abeoprs]-(?:[A-Za-z0-9.]-)?{_A}[A-Za-z0-9-]{{9,250}}"),
    _token("SLACK_TOKEN", "xapp-", f"[0-9]-{_A}[A-Za-z0-9-]{{10,250}}"),
    _token("SLACK_WEBHOOK", "hooks.slack.com/", r"(?:services|workflows|triggers)/([A-Za-z0-9/_-]{20,200})"),
    _token("DISCORD_WEBHOOK", "/api/webhooks/", f"([0-9]{{15,22}}/{_W}{{40,100}})"),
    *(
        _token("STRIPE_KEY", f"{kind}_{mode}_", f"{_A}{{16,250}}")
        for kind in ("sk", "rk")
        for mode in ("live", "test", "prod")
    ),
    _token("STRIPE_SECRET", "whsec_", "[A-Za-z0-9+/=]{24,100}"),
    _token("TWILIO_KEY", "SK", f"[0-9a-f]{{32}}{_END}"),
    _token("TWILIO_SID", "AC", f"[0-9a-f]{{32}}{_END}"),
    _token("SENDGRID_KEY", "SG.", rf"{_W}{{16,32}}\.{_W}{{16,64}}"),
    _token("MAILGUN_KEY", "key-", f"[0-9a-f]{{32}}{_END}"),
    _token("MAILCHIMP_KEY", "-us", f"[0-9]{{1,2}}{_END}", "[0-9a-f]{32}", 32),
    _token("HUGGINGFACE_TOKEN", "hf_", f"{_A}{{30,40}}{_END}"),
    _token("AZURE_KEY", "AccountKey=", "([A-Za-z0-9+/]{40,100}={0,2})"),
    _token("AZURE_KEY", "SharedAccessKey=", "([A-Za-z0-9+/]{40,100}={0,2})"),
    _token("AZURE_SIGNATURE", "sig=", "([A-Za-z0-9%+/_-]{40,120}={0,2})"),
    _token("AZURE_SECRET", "Q~", r"[A-Za-z0-9_~.-]{31,34}", "[A-Za-z0-9_~.-]{3}[0-9]", 4),
    _token("AZURE_KEY", "JQQJ99", f"{_A}{{20,40}}{_END}", f"{_A}{{52}}", 52),
    _token("NPM_TOKEN", "npm_", f"{_A}{{36}}{_END}"),
    _token("PYPI_TOKEN", "pypi-", f"{_W}{{50,250}}"),
    _token("RUBYGEMS_KEY", "rubygems_", "[0-9a-f]{48}"),
    _token("DOCKER_TOKEN", "dckr_", f"(?:pat|oat)_{_W}{{20,60}}"),
    *(_token("DIGITALOCEAN_TOKEN", f"do{kind}_v1_", "[0-9a-f]{64}") for kind in "opr"),
    _token("DATABRICKS_TOKEN", "dapi", f"[0-9a-f]{{32}}(?:-[0-9])?{_END}"),
    *(_token("SHOPIFY_TOKEN", f"shp{kind}_", "[0-9a-fA-F]{32}") for kind in ("at", "ca", "pa", "ss")),
    _token("SQUARE_TOKEN", "sq0", f"(?:atp|csp|idp)-{_W}{{22,60}}"),
    _token("TELEGRAM_TOKEN", ":AA", f"{_W}{{32,34}}(?!{_W})", "[0-9]{8,10}", 10, 9, 8),
    _token("NOTION_TOKEN", "ntn_", f"{_A}{{40,60}}"),
    _token("NOTION_TOKEN", "secret_", f"{_A}{{43}}{_END}"),
    _token("LINEAR_KEY", "lin_api_", f"{_A}{{32,60}}"),
    _token("POSTMAN_KEY", "PMAK-", "[0-9a-f]{24}-[0-9a-f]{34}"),
    _token("GRAFANA_TOKEN", "glsa_", "[A-Za-z0-9]{32}_[0-9a-f]{8}"),
    _token("GRAFANA_TOKEN", "glc_", "[A-Za-z0-9+/=]{32,400}"),
    _token("NEWRELIC_KEY", "NRAK-", "[A-Z0-9]{27}"),
    _token("SENTRY_TOKEN", "sntrys_", "[A-Za-z0-9+/=_-]{40,400}"),
    _token("VAULT_TOKEN", "hvs.", f"{_W}{{24,300}}"),
    _token("ATLASSIAN_TOKEN", "ATATT3", "[A-Za-z0-9_=-]{50,300}"),
    _token("REPLICATE_TOKEN", "r8_", f"{_A}{{37,40}}{_END}"),
    _token("GROQ_KEY", "gsk_", f"{_A}{{40,60}}"),
    _token("XAI_KEY", "xai-", f"{_W}{{40,100}}"),
    _token("PERPLEXITY_KEY", "pplx-", f"{_W}{{40,60}}"),
    _token("LANGSMITH_KEY", "lsv2_", "(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}"),
    _token("PINECONE_KEY", "pcsk_", "[A-Za-z0-9_]{40,100}"),
    _token("TAVILY_KEY", "tvly-", f"{_W}{{20,60}}"),
    _token("FIGMA_TOKEN", "figd_", f"{_W}{{36,60}}"),
    _token("SUPABASE_KEY", "sbp_", "[0-9a-f]{40}"),
    _token("DOPPLER_TOKEN", "dp.", rf"(?:pt|st|ct|sa|scim|audit)\.{_W}{{40,60}}"),
    _token("AGE_KEY", "AGE-SECRET-KEY-1", "[A-Z0-9]{58}"),
    _token("JWT", "eyJ", rf"{_W}{{8,2000}}\.eyJ{_W}{{8,8000}}\.{_W}{{10,2000}}"),
)
"""The rows, the more special before the more general."""

_SHORTEST = 15
"""No row's token is shorter, and none holds a space: most texts have no word that could be one."""

_PEM = "-----BEGIN "
_PEM_HEAD = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_MOST = 20_000

_BEARER = re.compile(r"(?:bearer|basic)[ :=]{1,3}([A-Za-z0-9._~+/=\-]{12,2000})", re.IGNORECASE)
_USERINFO = re.compile(r"://[^\s/:@\"'\\]{0,100}:([^\s/:@\"'\\]{3,200})@")
_NAMED = re.compile(
    r"(?:passw(?:or)?d|passphrase|pwd|secret(?:[_-]?(?:access[_-]?)?key)?|api[_-]?key|access[_-]?(?:key|token)|"
    r"auth[_-]?token|client[_-]?secret|private[_-]?key|credentials?)"
    r"[\"'\\]{0,3}[ ]?(?::|=|=>|:=|\bis\b)[ ]?[\"'\\]{0,3}([^\s\"'\\,;<>{}\[\]()]{8,200})",
    re.IGNORECASE,
)
_NAMED_WORDS = ("pass", "pwd", "secret", "api", "access", "auth", "private", "credential")
"""How what ``_NAMED`` looks for begins."""


def find_tokens(text: str) -> Iterator[Finding]:
    """Yields the keys and tokens in a text: those of known vendors, and what is called a secret beside it."""
    long = " ".join([word for word in text.split() if len(word) >= _SHORTEST])
    if long:
        for kind, word, form, back in TOKENS:
            if word in long:
                yield from _find_rows(text, kind, word, form, back)
    if _PEM in text:
        yield from _find_pem(text)
    lower = text.lower()
    if len(lower) != len(text):
        lower = text  # a sign that has no lower case of its own length; what is in capitals beside it is not found
    for word in ("bearer", "basic"):
        for match in _matches(_BEARER, text, lower, word):
            if _is_random(match[1], 12):
                yield Finding(match.start(1), match.end(1), "BEARER_TOKEN", match[1])
    if "://" in text and "@" in text:
        for match in _USERINFO.finditer(text):
            yield Finding(match.start(1), match.end(1), "PASSWORD", match[1])
    for word in _NAMED_WORDS:
        for match in _matches(_NAMED, text, lower, word):
            value = match[1].rstrip(".!?")
            # What stands before a bracket is a pseudonym of ours: `[SECRET:…]`.
            if _is_random(value, 8) and text[match.end(1) : match.end(1) + 1] != "]":
                yield Finding(match.start(1), match.start(1) + len(value), "SECRET", value)


def _matches(form: re.Pattern[str], text: str, lower: str, word: str) -> Iterator[re.Match[str]]:
    """Yields where the form fits, looked for by the word that it begins with."""
    at = lower.find(word)
    while at >= 0:
        match = form.match(text, at)
        if match is not None:
            yield match
        at = lower.find(word, match.end() if match is not None else at + len(word))


def _find_rows(text: str, kind: str, word: str, form: re.Pattern[str], back: tuple[int, ...]) -> Iterator[Finding]:
    at = text.find(word)
    while at >= 0:
        match = None
        for by in back:
            match = form.match(text, at - by) if at >= by and begins(text, at - by) else None
            if match is not None:
                break
        if match is None:
            at = text.find(word, at + len(word))
            continue
        group = 1 if form.groups else 0
        yield Finding(match.start(group), match.end(group), kind, match[group])
        at = text.find(word, max(match.end(), at + len(word)))


def _find_pem(text: str) -> Iterator[Finding]:
    """A key that has no end was cut off, and is one all the same."""
    at = 0
    while (match := _PEM_HEAD.search(text, at)) is not None:
        limit = min(len(text), match.end() + _PEM_MOST)
        end = _PEM_END.search(text, match.end(), limit)
        at = end.end() if end is not None else limit
        yield Finding(match.start(), at, "PRIVATE_KEY", text[match.start() : at])


def _is_random(text: str, least: int) -> bool:
    """Whether it looks made up by a machine or a careful person, not like a word of prose or a placeholder."""
    if len(text) < least or text[0] in "$%" or text.startswith(("[", "http", "env:", "file:")):
        return False
    digits = sum(sign.isdigit() for sign in text)
    letters = sum(sign.isalpha() for sign in text)
    return len(set(text)) >= 6 and digits >= 1 and letters >= 1 and not ("*" * 3 in text or "..." in text)
