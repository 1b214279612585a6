"""What receivers share: how a delivery fails, and secrets read where they live."""

from __future__ import annotations

import os
import pathlib

from headgate.core.errors import ConfigError
from headgate.providers.secret import Secret


class DeliveryError(Exception):
    """A receiver did not take a message. The words hold no secret."""


def find_secret(reference: str) -> str:
    """Returns what ``env:NAME`` or ``file:/path`` holds now.

    Raises:
        DeliveryError: it is not there.
    """
    try:
        return Secret.resolve(reference, os.environ, pathlib.Path("/")).reveal()
    except ConfigError as error:
        raise DeliveryError(error.message) from error
