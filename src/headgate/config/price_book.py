"""PriceBook: what each deployment costs: as configured, else as the public table says, at this moment."""

from __future__ import annotations

import ipaddress
import logging
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from headgate.config.checks import is_loopback
from headgate.config.prices import ANY_MODEL
from headgate.config.reader import nearest
from headgate.config.settings import ProviderSettings
from headgate.core.errors import ConfigError
from headgate.core.price import Price
from headgate.providers.pricelist import PriceList, Schedule
from headgate.providers.rows import GENERIC
from headgate.stores.database import locked

_log = logging.getLogger("headgate.prices")

PACKAGE = "genai-prices"
NO_TABLE = "none"
HOUSES = ("openai", "anthropic", "google")
"""Providers in the table whose models nobody else can host."""
_EXTRACT_SECONDS = 60


class PriceBook:
    """Prices by provider and model. The table is read when the first provider needs it, and only what providers use is
    kept; a gateway of simulated and local models never reads it.
    """

    def __init__(self, folder: Path | None) -> None:
        """Args:
        folder: where the extracted table is kept, a data directory; None to do without the table.
        """
        self._folder = folder
        self._list: PriceList | None = None
        self._ids: dict[str, str | None] = {}

    def find(self, provider: ProviderSettings, model: str, own: Price | None = None) -> Price | Schedule | None:
        """Returns what a model costs: a fixed price, or one that changes with time; None where nobody knows.

        Args:
            provider: where it is.
            model: its name there.
            own: the price that the configured model has of its own.

        Raises:
            ConfigError: the provider's ``price_table`` is no provider of the table.
        """
        fixed = own or provider.prices.get(model) or provider.prices.get(ANY_MODEL)
        if fixed is not None:
            return fixed
        if provider.name not in self._ids:
            self._ids[provider.name] = self._identify(provider)
        found = self._ids[provider.name]
        return None if found is None or self._list is None else self._list.find(found, model)

    def assume(self, provider: ProviderSettings, model: str) -> Schedule | None:
        """Returns what a model costs at the house that alone serves models of this name, for a budget to go by.

        Only at a provider that is configured by ``dialect`` and ``url``: what stands at a private address and answers
        as ``gpt-4o-mini`` passes calls on to OpenAI. What people host themselves has other names.
        """
        if provider.price_table == NO_TABLE or provider.row not in GENERIC.values():
            return None
        table = self._load()
        if table is None:
            return None
        return next((found for house in HOUSES if (found := table.find(house, model)) is not None), None)

    def _identify(self, provider: ProviderSettings) -> str | None:
        """Returns the provider's id in the table."""
        written = provider.price_table
        if written == NO_TABLE or provider.row.embedded or (written is None and _is_private(provider.url)):
            return None
        table = self._load()
        if table is None:
            return None
        if written is None:
            return table.provider_at(provider.url)
        if not table.has(written):
            hint = nearest(written, table.providers(), "it has")
            raise ConfigError(f'providers.{provider.name}.price_table: the price table has no "{written}"{hint}')
        return written

    def _load(self) -> PriceList | None:
        if self._list is None and self._folder is not None:
            self._list = load_table(self._folder)
            self._folder = None
        return self._list


def load_table(folder: Path) -> PriceList | None:
    """Returns the whole table; extracts it into ``folder`` where its version is not there yet (0.2 s).

    None, and a warning in the log, where ``genai-prices`` is missing or can not be read: models are unpriced then.
    """
    import importlib.metadata  # 20 ms and 2 MB, for those alone who need the table

    try:
        version = importlib.metadata.version(PACKAGE)
        path = folder / f"prices-{version}.json"
        if not path.exists():
            with locked(folder / "prices.lock"):
                if not path.exists():
                    _extract(path)
        return PriceList.read(path.read_bytes())
    except importlib.metadata.PackageNotFoundError:
        _log.warning("%s is not installed: only models with a configured price have one", PACKAGE)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as error:
        detail = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
        _log.warning("the price table can not be read, so models without a configured price have none: %s", detail)
    return None


def _extract(path: Path) -> None:
    command = [sys.executable, "-m", "headgate.providers.price_extract", str(path)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_EXTRACT_SECONDS)
    for older in path.parent.glob("prices-*.json"):
        if older != path:
            older.unlink(missing_ok=True)


def _is_private(url: str) -> bool:
    """Whether a URL leads to this machine or network, where no public price holds."""
    host = urlsplit(url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return is_loopback(host) or "." not in host
