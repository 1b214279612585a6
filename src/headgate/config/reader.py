"""Reads a tree of YAML nodes into the schema's structs, and tells everything that is wrong with it."""

from __future__ import annotations

import functools
import math
import types
import typing
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from headgate.config.alerts import AlertRuleConfig, ReceiverConfig, check_alert_name
from headgate.config.checks import check_model, check_name
from headgate.config.limits import LimitRuleConfig
from headgate.config.nodes import Node, Problem, join
from headgate.config.rule import Rule
from headgate.config.schema import GroupConfig, ModelConfig, ProviderConfig, StepConfig
from headgate.config.units import Amount, Rate, parse_bytes, parse_rate, parse_seconds, show_bytes, show_seconds
from headgate.providers.rows import DIALECTS, ROWS

_BAD: Any = object()
_NO_RULE = Rule("")
_NAME_CHECKS = {
    ProviderConfig: check_name,
    ModelConfig: check_model,
    AlertRuleConfig: check_alert_name,
    ReceiverConfig: check_alert_name,
}
_S = TypeVar("_S", bound=msgspec.Struct)


def nearest(name: str, known: typing.Iterable[str], noun: str) -> str:
    """Returns the end of a message about an unknown name: the nearest right one, or what there is."""
    import difflib

    names = sorted(known)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if match:
        return f'; did you mean "{match[0]}"?'
    shown = ", ".join(names[:16]) + (", …" if len(names) > 16 else "")
    return f"; {noun}: {shown}" if names else ""


@functools.cache
def fields(cls: type[msgspec.Struct]) -> dict[str, tuple[Any, Rule]]:
    """Returns each field's bare type (without None) and rule, by its name."""
    found = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        rule = _NO_RULE
        if typing.get_origin(hint) is Annotated:
            hint, rule = hint.__origin__, hint.__metadata__[0]
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
            (hint,) = [part for part in typing.get_args(hint) if part is not type(None)]
        found[name] = (hint, rule)
    return found


class Reader:
    """Reads one file. ``lines`` has the line of every path that the file holds, right or wrong."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.lines: dict[str, int] = {}

    def read(self, node: Node, cls: type[_S]) -> _S:
        """Returns the struct; what is wrong is left at its default and told in ``problems``."""
        value = self._struct(node, cls, "")
        return cls() if value is _BAD else typing.cast(_S, value)

    def fail(self, node: Node, path: str, message: str) -> Any:
        """Tells one problem."""
        self.problems.append(Problem(node.line, path, message))
        return _BAD

    def value(self, node: Node, hint: Any, rule: Rule, path: str) -> Any:
        """Returns the value that ``hint`` and ``rule`` ask for, or tells what is wrong."""
        self.lines.setdefault(path, node.line)
        origin = typing.get_origin(hint)
        if hint is Rate:
            return self._rate(node, rule, path)
        if hint is Amount:
            if isinstance(node.value, bool) or not isinstance(node.value, str | int | float):
                return self.fail(node, path, f"expected a number, found {_found(node)}")
            return Amount(node.value)
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self._struct(node, hint, path) if not rule.off else self._switch(node, hint, path)
        if origin is dict:
            return self._dict(node, typing.get_args(hint), rule, path)
        if origin is list:
            return self._list(node, typing.get_args(hint)[0], rule, path)
        if origin is Literal:
            return self._choice(node, typing.get_args(hint), path)
        if hint is bool:
            if isinstance(node.value, bool):
                return node.value
            return self.fail(node, path, f"expected true or false, found {_found(node)}")
        if hint in (int, float):
            return self._number(node, hint, rule, path)
        return self._text(node, rule, path)

    def _struct(self, node: Node, cls: type[msgspec.Struct], path: str) -> Any:
        if node.value is None:
            return cls()
        if not isinstance(node.value, dict):
            return self.fail(node, path, f"expected a mapping of settings, found {_found(node)}")
        known = fields(cls)
        values = {}
        for key, child in node.value.items():
            below = join(path, key)
            if key not in known:
                hint = nearest(key, known, "settings here")
                self.problems.append(Problem(node.keys[key], below, f'unknown setting "{key[:80]}"{hint}'))
                continue
            value = self.value(child, *known[key], below)
            if value is not _BAD:
                values[key] = value
        return cls(**values)

    def _switch(self, node: Node, cls: type[msgspec.Struct], path: str) -> Any:
        """Reads a mapping that ``false`` switches off, and that is off where it is not written."""
        if node.value is False:
            return None
        if node.value is None or node.value is True:
            found = f"found {node.kind}; {{}} takes the defaults"
            return self.fail(node, path, f"expected a mapping of settings or false, {found}")
        return self._struct(node, cls, path)

    def _dict(self, node: Node, kinds: tuple[Any, ...], rule: Rule, path: str) -> Any:
        keys, inner = kinds
        if node.value is None:
            return {}
        if not isinstance(node.value, dict):
            return self.fail(node, path, f"expected a mapping, found {_found(node, rule)}")
        check, inner_rule = _NAME_CHECKS.get(inner), Rule("", secret=rule.secret)
        if typing.get_origin(keys) is Literal:
            check = functools.partial(_check_kind, kinds=typing.get_args(keys))
        values = {}
        for key, child in node.value.items():
            below = join(path, key)
            wrong = check(key) if check is not None else ""
            if wrong:
                self.problems.append(Problem(node.keys[key], below, wrong))
                continue
            value = self.value(child, inner, inner_rule, below)
            if value is _BAD:
                value = inner() if inner is not str else _BAD
            elif rule.check is not None and inner is str:
                wrong = rule.check(f"{key}: {value}")
                value = self.fail(child, below, wrong) if wrong else value
            if value is not _BAD:
                values[key] = value
        return values

    def _list(self, node: Node, inner: Any, rule: Rule, path: str) -> Any:
        if not isinstance(node.value, list):
            return self.fail(node, path, f"expected a list, found {_found(node, rule)}")
        items: list[Any] = []
        inner_rule = Rule("", check=rule.check, secret=rule.secret)
        for index, child in enumerate(node.value):
            below = f"{path}[{index}]"
            if inner is str:
                item = self.value(child, str, inner_rule, below)
                items.append("" if item is _BAD else item)
            elif inner is LimitRuleConfig:
                item = self.value(child, inner, inner_rule, below)
                items.append(LimitRuleConfig() if item is _BAD else item)
            else:
                item = self._step(child, inner is not StepConfig, below)
                items.append(StepConfig() if item is _BAD else item)
        return items

    def _step(self, node: Node, groups: bool, path: str) -> Any:
        """Reads ``provider/model``, a mapping with ``use``, or (where ``groups`` may stand) one with ``of``."""
        self.lines.setdefault(path, node.line)
        if isinstance(node.value, str):
            return StepConfig(use=node.value)
        if not isinstance(node.value, dict):
            return self.fail(node, path, f"expected provider/model or a mapping, found {_found(node)}")
        if not groups and "of" in node.value:
            message = 'unknown setting "of"; a group holds deployments, no groups'
            self.problems.append(Problem(node.keys["of"], f"{path}.of", message))
            return _BAD
        is_group = "use" not in node.value and not node.value.keys().isdisjoint(fields(GroupConfig))
        return self._struct(node, GroupConfig if is_group else StepConfig, path)

    def _choice(self, node: Node, choices: tuple[str, ...], path: str) -> Any:
        text = "" if node.value is None else node.value
        if isinstance(text, str) and text in choices:
            return text
        words = " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)
        hint = nearest(text, choices, "") if isinstance(text, str) and text else ""
        hint = hint if "did you mean" in hint else ""
        return self.fail(node, path, f"expected {words}, found {_found(node)}{hint}")

    def _number(self, node: Node, kind: type, rule: Rule, path: str) -> Any:
        number = node.value
        if isinstance(number, str) and rule.unit:
            number = _amount(number, rule)
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            return self.fail(node, path, f"expected {_expected(kind, rule)}, found {_found(node)}")
        if kind is int and number != int(number):
            return self.fail(node, path, f"expected a whole number, found {_found(node)}")
        low, high = rule.low, rule.high
        if (low is not None and number < low) or (high is not None and number > high):
            allowed = f"{_show(low, rule)} to {_show(high, rule)}"
            return self.fail(node, path, f"{_show(number, rule)} is out of range; allowed: {allowed}")
        return kind(number)

    def _rate(self, node: Node, rule: Rule, path: str) -> Any:
        rate = None if isinstance(node.value, (dict, list)) else parse_rate(node.value)
        if rate is None or (rate.steps and rule.unit == "dollars"):
            form = "dollars (0.01)"
            if rule.unit != "dollars":
                form = 'dollars per million tokens (0.15, or "3, 6 above 200000")'
            return self.fail(node, path, f"expected {form}, at most 9 decimals, found {_found(node)}")
        return rate

    def _text(self, node: Node, rule: Rule, path: str) -> Any:
        text = node.value
        if not isinstance(text, str) and rule.secret:
            return self.fail(node, path, "expected a string; put it in quotes")
        if not isinstance(text, str):
            quotes = "; put it in quotes" if isinstance(text, (bool, int, float)) else ""
            return self.fail(node, path, f"expected a string, found {node.kind}{quotes}")
        if rule.choices:
            known = ROWS if rule.choices == "rows" else DIALECTS
            noun = "provider type" if rule.choices == "rows" else "dialect"
            if text not in known:
                return self.fail(node, path, f'unknown {noun} "{text[:80]}"{nearest(text, known, "known")}')
        wrong = rule.check(text) if rule.check is not None else ""
        return self.fail(node, path, wrong) if wrong else text


def _check_kind(name: str, kinds: tuple[str, ...]) -> str:
    return "" if name in kinds else f'unknown kind of failure "{name[:80]}"{nearest(name, kinds, "kinds")}'


def _amount(text: str, rule: Rule) -> float | None:
    if rule.unit == "bytes":
        return parse_bytes(text)
    seconds = parse_seconds(text)
    return seconds / 86400 if seconds is not None and rule.unit == "days" else seconds


def _expected(kind: type, rule: Rule) -> str:
    forms = {
        "seconds": "seconds (30, 30s, 500ms, 2m)",
        "bytes": "bytes (1048576, 1MiB, 10MB)",
        "days": "days (30, 30d, 12h)",
    }
    return forms.get(rule.unit, "a whole number" if kind is int else "a number")


def _show(number: float | None, rule: Rule) -> str:
    if number is None:
        return "any"
    if rule.unit == "bytes":
        return show_bytes(int(number))
    if rule.unit == "seconds":
        return show_seconds(number)
    if rule.unit == "days":
        return f"{number:g} days"
    return str(int(number) if number == int(number) else number)


def _found(node: Node, rule: Rule = _NO_RULE) -> str:
    return f"{node.value[:80]!r}" if isinstance(node.value, str) and not rule.secret else node.kind
