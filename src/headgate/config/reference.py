"""The reference of all settings as Markdown, made from the schema: ``python -m headgate.config.reference FILE``."""

from __future__ import annotations

import pathlib
import sys
import typing
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from headgate.config.limits import LimitRuleConfig
from headgate.config.reader import fields
from headgate.config.rule import Rule
from headgate.config.schema import Config
from headgate.config.settings import DefaultSettings
from headgate.config.units import Amount, Rate, show_bytes, show_seconds
from headgate.providers.rows import DIALECTS, ROWS

BEGIN = "<!-- settings: made by `python -m headgate.config.reference docs/configuration.md` -->"
END = "<!-- end of settings -->"

_BUILT_IN = DefaultSettings()


class Setting(msgspec.Struct, frozen=True):
    """One setting for people: its path (``NAME`` for names), what it holds, its default, what it is for."""

    path: str
    holds: str
    default: str
    doc: str


def settings() -> list[Setting]:
    """Returns every setting that exists, in the order of the schema."""
    return list(_walk(Config, ""))


def render() -> str:
    """Returns the tables of settings and of provider types, between the two markers."""
    lines = [BEGIN, "", "### Settings", "", "| setting | holds | default | what for |", "|---|---|---|---|"]
    lines += [f"| `{one.path}` | {one.holds} | {one.default} | {one.doc} |" for one in settings()]
    lines += ["", "### Provider types", "", "| type | what | dialects | URL | key from |", "|---|---|---|---|---|"]
    for row in ROWS.values():
        keys = ", ".join(f"`{name}`, `{name}_FILE`" for name in row.key_env) or "`key`, if it wants one"
        dialects = ", ".join(f"`{dialect}`" for dialect in row.dialects)
        url = f"`{row.url}`" if row.url else "inside" if row.embedded else "yours: `url`"
        lines.append(f"| `{row.name}` | {row.title} | {dialects} | {url} | {'none' if row.embedded else keys} |")
    return "\n".join([*lines, "", END])


def update(text: str) -> str:
    """Returns the page with its generated part made anew; a page without markers is returned as it is."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    return head + render() + tail if begin and end else text


def _walk(cls: type[msgspec.Struct], prefix: str, defaults: msgspec.Struct | None = None) -> Iterator[Setting]:
    defaults = defaults or cls()
    for name, (hint, rule) in fields(cls).items():
        path = f"{prefix}{name}"
        default = getattr(defaults, name)
        arguments = typing.get_args(hint)
        inner = arguments[-1] if typing.get_origin(hint) is dict else None
        if rule.off:
            yield Setting(path, "mapping, or `false`", "`false`", rule.doc)
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from _walk(hint, f"{path}.", getattr(_BUILT_IN, name) if prefix == "defaults." else None)
        elif isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield from _walk(inner, f"{path}.NAME.")
        else:
            yield Setting(path, _holds(hint, rule), _default(default, rule), rule.doc)
        if typing.get_origin(hint) is list:
            for struct in typing.get_args(arguments[0]) or arguments:
                if issubclass(struct, msgspec.Struct):
                    yield from _walk(struct, f"{path}[N].")


def _holds(hint: Any, rule: Rule) -> str:
    if rule.choices:
        return "a type, see below" if rule.choices == "rows" else _either(DIALECTS)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return _either(arguments)
    if hint is Rate:
        return "dollars" if rule.unit == "dollars" else "dollars per million tokens"
    if hint is Amount:
        return "number"
    if origin is dict and typing.get_origin(arguments[0]) is Literal:
        return f"mapping of lists, by {_either(typing.get_args(arguments[0]))}"
    if hint is bool:
        return "`true` or `false`"
    if hint in (int, float):
        unit = {"seconds": "time", "bytes": "size", "days": "time (plain: days)"}.get(rule.unit, "number")
        return f"{unit}, {_amount(rule.low, rule)} to {_amount(rule.high, rule)}"
    if origin is list:
        return (
            "list of texts"
            if arguments[0] is str
            else "list of limits"
            if arguments[0] is LimitRuleConfig
            else "list of deployments"
        )
    return "mapping" if hint is not str else "text"


def _default(value: Any, rule: Rule) -> str:
    if value is None or value == "" or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return f"`{_amount(value, rule) if isinstance(value, (int, float)) else value}`"


def _amount(value: float | None, rule: Rule) -> str:
    if value is None:
        return "any"
    if rule.unit == "bytes":
        return show_bytes(int(value))
    if rule.unit == "seconds":
        return show_seconds(value)
    return f"{value:g}d" if rule.unit == "days" else f"{value:g}" if isinstance(value, float) else f"{value}"


def _either(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def main(arguments: list[str]) -> int:
    """Rewrites the generated part of the page named by the first argument."""
    page = pathlib.Path(arguments[0])
    page.write_text(update(page.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
