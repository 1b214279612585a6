"""What is told while settings are resolved: each value's origin, each problem's line; and how values are inherited."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from headgate.config.nodes import Problem
from headgate.config.reader import Reader
from headgate.config.schema import DefaultsConfig, ModelConfig, ProviderConfig, RetryConfig
from headgate.config.settings import DefaultSettings, ProviderSettings, RetrySettings

POLICIES = ("timeouts", "retry", "breaker", "limit")
"""The sections that a model inherits from each provider of its route, and a provider from ``defaults``."""

_S = TypeVar("_S", bound=msgspec.Struct)


class Origin(msgspec.Struct, frozen=True):
    """Where a value came from: ``kind``, and which file and line, variable, option or row."""

    kind: Literal["file", "environment", "command line", "provider row", "defaults section"]
    name: str


class Ledger:
    """Knows the lines of what was written, notes origins by path, and takes problems."""

    def __init__(self, reader: Reader, source: str) -> None:
        """Args:
        reader: it has read the file.
        source: the file's name for people.
        """
        self.problems = reader.problems
        self.lines = reader.lines
        self.origins = {path: Origin("file", f"{source}:{line}") for path, line in reader.lines.items()}

    def tell(self, path: str, message: str) -> None:
        """Tells a problem, with the line of ``path`` or of what is nearest above it."""
        line = self.lines.get(path, 0)
        above = path
        while not line and ("." in above or "[" in above):
            above = above[: max(above.rfind("."), above.rfind("["))]
            line = self.lines.get(above, 0)
        self.problems.append(Problem(line, path, message))

    def known_bad(self, path: str) -> bool:
        """Whether a problem with this path, or below it, is told already."""
        below = (f"{path}.", f"{path}[")
        return any(problem.path == path or problem.path.startswith(below) for problem in self.problems)

    def tell_more(self, path: str, message: str) -> None:
        """Tells a problem unless one with this path, or below it, is told already."""
        if not self.known_bad(path):
            self.tell(path, message)

    def inherit(
        self,
        written: DefaultsConfig | ProviderConfig | ModelConfig,
        wider: DefaultSettings | ProviderSettings,
        path: str,
        above: str,
        own: str = "",
    ) -> dict[str, Any]:
        """Returns the four policies of ``path``: what was written at ``own`` (else there), the rest from ``above``."""
        laid = {
            name: self._lay(
                getattr(written, name),
                getattr(wider, name),
                f"{path}.{name}",
                f"{above}.{name}",
                f"{own or path}.{name}",
            )
            for name in POLICIES
        }
        self._check_waits(written.retry, laid["retry"], path, own or path)
        return laid

    def _check_waits(self, written: RetryConfig, laid: RetrySettings, path: str, own: str) -> None:
        """Tells a first wait above the longest one, where one of the two is written here and the first is meant."""
        here = next((name for name in ("base", "cap") if getattr(written, name) is not None), None)
        if here is not None and laid.base > laid.cap and f"{path}.retry.base" in self.origins:
            self.tell_more(
                f"{own}.retry.{here}",
                f"`base` ({laid.base:g}s) is above `cap` ({laid.cap:g}s): no wait would ever be so long; "
                "raise `cap` or lower `base`",
            )

    def _lay(self, written: msgspec.Struct, wider: _S, path: str, above: str, own: str) -> _S:
        values = {}
        for name, value in msgspec.structs.asdict(written).items():
            if value is not None:
                values[name] = value
            origin = self.origins.get(f"{above if value is None else own}.{name}")
            if origin is not None:
                self.origins[f"{path}.{name}"] = origin
        return msgspec.structs.replace(wider, **values)
