"""Migrates the database whose URL is in the environment: how a small process has it done by another."""

from __future__ import annotations

import os
import sys

from headgate.core.errors import HeadgateError
from headgate.stores.database import URL_VARIABLE
from headgate.stores.migrations import migrate


def main() -> int:
    """Returns the exit code; an error goes to standard error, in one line."""
    url = os.environ.get(URL_VARIABLE, "")
    if not url:
        print(f"{URL_VARIABLE} is not set", file=sys.stderr)
        return 2
    try:
        migrate(url)
    except HeadgateError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
