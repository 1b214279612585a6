"""``headgate.asgi:app``: the gateway for any ASGI server, or to be mounted into an existing application.

Settings come from ``$HEADGATE_CONFIG`` and ``$HEADGATE_DATA``. Keyless mode is off here: which address a
foreign server listens on is not ours to know. Make a key first (``headgate keys create``).
"""

from __future__ import annotations

from headgate.compose import open_core
from headgate.config.load import load_settings
from headgate.server.app import App
from headgate.server.guard import Limits

_settings = load_settings(None)

app = App(
    lambda: open_core(_settings, keyless=False),
    Limits.of(_settings.server),
    keyless=False,
)
