"""Keyhole: how a configuration looks at secrets: where they live, and what stands for one that is not there."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from headgate.core.errors import ConfigError
from headgate.providers.secret import Secret


class Keyhole:
    """Resolves references to secrets.

    Attributes:
        environ: the environment that ``env:`` means.
        base: the folder under which relative files are looked for.
        placeholders: whether something may stand for a secret that is missing.
        absent: the references for which something does, each once, as they came.
    """

    def __init__(self, environ: Mapping[str, str], base: pathlib.Path, *, placeholders: bool = False) -> None:
        self.environ = environ
        self.base = base
        self.placeholders = placeholders
        self.absent: dict[str, None] = {}

    def find(self, reference: str) -> Secret:
        """Returns the secret that lives there, or its placeholder.

        Raises:
            ConfigError: as ``Secret.resolve``; one that is missing only where placeholders are not allowed.
        """
        try:
            return Secret.resolve(reference, self.environ, self.base)
        except ConfigError as error:
            if error.code != "missing_secret" or not self.placeholders:
                raise
            return self.stand_in(reference)

    def stand_in(self, reference: str) -> Secret:
        """Returns what stands for a secret that is missing, and remembers it."""
        self.absent[reference] = None
        return Secret(reference, "", absent=True)
