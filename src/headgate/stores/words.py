"""Checks what people write about keys, people and teams: names, addresses, models, tags, ends in time."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from headgate.core.errors import BadRequest
from headgate.core.terms import ROLES

NAME_LIMIT = 100
LABEL_LIMIT = 256
LIST_LIMIT = 256
PAIR_LIMIT = 32
VALUE_LIMIT = 500
PAYLOAD_POLICIES = ("", "none", "redacted", "full")

_SECRET = re.compile(r"hg-[A-Za-z0-9_-]{40}", re.ASCII)
_MODEL = re.compile(r"[!-~]{1,256}", re.ASCII)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,189}")
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s?(s|m|h|d|w)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST = 36_500 * 86_400


def wrong(message: str, param: str) -> BadRequest:
    """Returns the error for a value that makes no sense."""
    return BadRequest(message, code="invalid_value", param=param)


def is_secret(text: str) -> bool:
    """Says whether a text looks like a virtual key itself, which must stand nowhere."""
    return _SECRET.search(text) is not None


def check_word(text: str, param: str, *, limit: int = NAME_LIMIT, empty: bool = False) -> str:
    """Returns a name in its one spelling (NFC).

    Raises:
        BadRequest: it is empty (unless ``empty``), too long, has space at its ends or a sign that can not be seen, or
            looks like a key. The message never repeats it.
    """
    if empty and not text:
        return text
    if not text or len(text) > limit or not text.isprintable() or text != text.strip():
        raise wrong(f"{param} must be 1 to {limit} printable characters without space at its ends", param)
    if is_secret(text):
        raise wrong(f"{param} looks like a key itself; keys are secret and stand nowhere", param)
    return unicodedata.normalize("NFC", text)


def findable(text: str) -> str:
    """Returns a name that somebody looks for in its one spelling; "" for what can be nobody's and nothing's."""
    return unicodedata.normalize("NFC", text) if text.isprintable() and len(text) <= LABEL_LIMIT else ""


def shown(text: str) -> str:
    """Returns a name that was not found as a message may show it: never a key, never too long."""
    return "that" if is_secret(text) else ascii(text[:100]) if not text.isprintable() else repr(text[:100])


def check_choice(text: str, param: str, choices: Sequence[str]) -> str:
    """Returns the text if it is one of the choices. Raises BadRequest if not."""
    if text not in choices:
        known = ", ".join(choice for choice in choices if choice)
        raise wrong(f"unknown {param} {shown(text[:40])}: one of {known}", param)
    return text


def check_role(text: str) -> str:
    """Returns the role. Raises BadRequest for an unknown one."""
    return check_choice(text, "role", ROLES)


def check_email(text: str) -> str | None:
    """Returns an e-mail address in lower case, None for "". Raises BadRequest for what is none."""
    if not text:
        return None
    if not _EMAIL.fullmatch(text) or not text.isprintable():
        raise wrong("email must be an address like alice@example.com", "email")
    return unicodedata.normalize("NFC", text).lower()


def check_models(models: Sequence[str]) -> list[str]:
    """Returns model names and patterns, each once. Raises BadRequest for none at all, or one that can not be."""
    if not models:
        raise wrong("models must name at least one model; leave it out (null) for all", "models")
    for index, model in enumerate(_bounded(models, "models")):
        if not _MODEL.fullmatch(model):
            raise wrong("a model's name is 1 to 256 printable ASCII characters without spaces", f"models[{index}]")
    return list(dict.fromkeys(models))


def check_networks(networks: Sequence[str]) -> list[str]:
    """Returns addresses and networks in canonical form (``10.0.0.0/8``). Raises BadRequest for what is none."""
    if not networks:
        raise wrong("networks must name at least one address; leave it out (null) for all", "networks")
    found = []
    for index, network in enumerate(_bounded(networks, "networks")):
        try:
            found.append(str(ipaddress.ip_network(network.strip())))
        except ValueError as error:
            beyond = "has host bits set" in str(error)
            hint = (
                "its address has bits beyond the prefix" if beyond else "write 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7"
            )
            raise wrong(f"not a network: {hint}", f"networks[{index}]") from None
    return list(dict.fromkeys(found))


def check_tags(tags: Sequence[str]) -> list[str]:
    """Returns required tags, each ``name`` or ``name=value``. Raises BadRequest for one that no call could carry."""
    if len(tags) > PAIR_LIMIT:
        raise wrong(f"at most {PAIR_LIMIT} tags can be required", "required_tags")
    for index, tag in enumerate(tags):
        param = f"required_tags[{index}]"
        name, equals, value = check_word(tag, param, limit=LABEL_LIMIT).partition("=")
        if not name or name != name.strip() or "," in tag or (equals and not value.strip()) or value != value.strip():
            raise wrong("a required tag is NAME or NAME=VALUE, without a comma", param)
    return list(dict.fromkeys(tags))


def check_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Returns free words about a key. Raises BadRequest for too many, or one that is too long or not printable."""
    if len(metadata) > PAIR_LIMIT:
        raise wrong(f"metadata has at most {PAIR_LIMIT} entries", "metadata")
    return {
        check_word(name, "metadata"): check_word(value, "metadata", limit=VALUE_LIMIT, empty=True)
        for name, value in metadata.items()
    }


def parse_span(text: str, param: str) -> int:
    """Returns the ns that ``0s``, ``90m``, ``12h``, ``30d`` or ``2w`` stand for, at most 100 years.

    Raises:
        BadRequest: it is none of these.
    """
    match = _SPAN.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else -1.0
    if not 0 <= seconds <= _LONGEST:
        raise wrong(f"{param} must be a time like 90m, 12h or 30d", param)
    return int(seconds * 1e9)


def parse_end(text: str, now_ns: int, param: str = "expires") -> int:
    """Returns the moment, in ns since 1970, that lies so far ahead (``30d``) or is named (``2027-01-31``, else UTC).

    Raises:
        BadRequest: it is neither, or not in the next 100 years.
    """
    if _SPAN.fullmatch(text.strip()):
        end = now_ns + parse_span(text, param)
    else:
        try:
            moment = datetime.fromisoformat(text.strip())
            end = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e9)
        except (ValueError, OverflowError):
            raise wrong(f"{param} must be a time like 30d or 12h, or a date like 2027-01-31", param) from None
    if not now_ns < end <= now_ns + int(_LONGEST * 1e9):
        raise wrong(f"{param} must lie ahead, and within 100 years", param)
    return end


def _bounded(items: Sequence[str], param: str) -> Sequence[str]:
    if len(items) > LIST_LIMIT:
        raise wrong(f"{param} has at most {LIST_LIMIT} entries", param)
    return items
