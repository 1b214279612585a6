"""``headgate.asgi:app``: the gateway for any ASGI server, or to be mounted into an existing application.

Settings come from ``$HEADGATE_CONFIG`` and ``$HEADGATE_DATA``; changes of the file apply while it runs. Keyless
mode is off here: which address a foreign server listens on is not ours to know. Make a key first (``headgate keys
create``).
"""

from __future__ import annotations

from headgate.compose import open_core
from headgate.config.changes import FIXED
from headgate.config.source import Source
from headgate.server.app import App
from headgate.server.guard import Limits
from headgate.server.reload import Reloader

_source = Source()
_settings = _source.load()

app = App(
    lambda: open_core(_settings, keyless=False),
    Limits.of(_settings.server),
    keyless=False,
)
app.version = _source.version
app.reloader = Reloader(_source, _settings, app.version, fixed=FIXED)
