"""What all scenarios of the console share: a gateway with keys and calls, one that is empty, and a browser."""

from __future__ import annotations

import pathlib
import shutil
import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Error, sync_playwright
from tests.conftest import pass_over
from tests.scenarios.conftest import Gateway, Upstream

from headgate.stores.data import DataDir

from .house import CONFIG, EMPTY, House, furnish, upstream_script
from .looker import Looker

_PLACES = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], pathlib.Path]:
    """Makes folders for gateways, their schema there already."""
    migrated = tmp_path_factory.mktemp("console-migrated")
    DataDir(migrated / "data").prepare()
    return lambda name: shutil.copytree(migrated, tmp_path_factory.mktemp(name), dirs_exist_ok=True)


@pytest.fixture(scope="session")
def house(fresh: Callable[[str], pathlib.Path]) -> Iterator[House]:
    """A gateway with a key of each role, and calls of every outcome, hostile ones among them."""
    upstream = Upstream(upstream_script)
    gate = Gateway(fresh("house"), CONFIG.format(port=upstream.port))
    yield furnish(gate)
    gate.stop(signal.SIGKILL)
    upstream.close()


@pytest.fixture(scope="session")
def bare(fresh: Callable[[str], pathlib.Path]) -> Iterator[Gateway]:
    """A gateway without a key and without a call; leave it so."""
    gate = Gateway(fresh("bare"), EMPTY, key=False)
    yield gate
    gate.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all; skips where there is none, fails in CI."""
    place = next((path for path in _PLACES if pathlib.Path(path).exists()), None)
    if place is None:
        pass_over(f"no Chromium at {', '.join(_PLACES)}: apt-get install chromium")
    with sync_playwright() as driver:
        try:
            chromium = driver.chromium.launch(executable_path=place, args=["--no-sandbox", "--disable-dev-shm-usage"])
        except Error as error:
            pass_over(f"Chromium does not start: {error.message.splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def boss(browser: Browser, house: House) -> Iterator[Looker]:
    """An admin who is logged in."""
    looker = Looker(browser, house.gate.url)
    looker.log_in(house.keys["admin"])
    yield looker
    looker.close()


@pytest.fixture(scope="session")
def nobody(browser: Browser, bare: Gateway) -> Iterator[Looker]:
    """The user of the machine of the empty gateway, who needs no key."""
    looker = Looker(browser, bare.url)
    yield looker
    looker.close()
