"""Secret: a key that is named by where it lives (``env:NAME``, ``file:/path``) and never shows its value."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from headgate.core.errors import ConfigError

_FILE_LIMIT = 64 * 1024


class Secret:
    """A value from the environment or a mounted file. ``str`` and ``repr`` show only its reference.

    Attributes:
        reference: where it lives, e.g. ``"env:OPENAI_API_KEY"`` or ``"file:/run/secrets/openai"``.
        absent: it is not there; this stands in its place, for a look at the configuration elsewhere than where it runs.
    """

    __slots__ = ("_value", "absent", "reference")

    def __init__(self, reference: str, value: str, *, absent: bool = False) -> None:
        self.reference = reference
        self.absent = absent
        self._value = value

    @classmethod
    def resolve(cls, reference: str, environ: Mapping[str, str], base: pathlib.Path | None = None) -> Secret:
        """Reads what ``reference`` names; a relative file is looked for under ``base``.

        Raises:
            ConfigError: no such reference form, variable or file; or its content is empty or can not stand
                in a header. The message never holds the value.
        """
        scheme, _, name = reference.partition(":")
        if scheme == "env" and name:
            if name not in environ:
                raise ConfigError(f"environment variable {name} is not set", code="missing_secret")
            return cls(reference, _checked(environ[name].strip(), f"environment variable {name}"))
        if scheme == "file" and name:
            path = str((base or pathlib.Path()) / name)
            return cls(f"file:{path}", _read(path))
        raise ConfigError(
            "a secret is given by where it lives: env:NAME or file:/path, never by its value", code="bad_secret"
        )

    def reveal(self) -> str:
        """Returns the value, to be put on a wire and nowhere else.

        Raises:
            ConfigError: it is ``absent``.
        """
        if self.absent:
            raise ConfigError(f"the secret {self.reference} is not there", code="missing_secret")
        return self._value

    def refresh(self) -> bool:
        """Reads a mounted file again; returns whether the value changed. Does nothing for the environment.

        Raises:
            ConfigError: the file is gone or unreadable; the old value stays.
        """
        if not self.reference.startswith("file:"):
            return False
        value = _read(self.reference.removeprefix("file:"))
        changed = value != self._value
        self._value, self.absent = value, False
        return changed

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reference == self.reference and other._value == self._value

    def __hash__(self) -> int:
        return hash(self.reference)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"can not read file {path}: {error.strerror}", code="missing_secret") from error
    if len(data) > _FILE_LIMIT:
        raise ConfigError(f"file {path} is too large for a secret (over 64 KiB)", code="bad_secret")
    return _checked(data.decode("latin-1").strip(), f"file {path}")


def _checked(value: str, where: str) -> str:
    if not value:
        raise ConfigError(f"{where} is empty", code="missing_secret")
    if not value.isascii() or not value.isprintable():
        raise ConfigError(f"{where} holds characters that can not stand in a header", code="bad_secret")
    return value
