"""What all scenarios of the console share: a gateway with keys and calls, one that is empty, and a browser."""

from __future__ import annotations

import pathlib
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Browser, Error, expect, sync_playwright
from tests.conftest import pass_over
from tests.scenarios.conftest import Gateway, Upstream

from headgate.stores.data import DataDir

from .house import CONFIG, EMPTY, House, furnish, make_keys, upstream_script
from .looker import Looker

expect.set_options(timeout=30_000)  # a busy machine is slow, not wrong
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
    home = fresh("house")
    keys = make_keys(home / "data")
    gate = Gateway(home, CONFIG.format(port=upstream.port))
    yield furnish(gate, keys)
    gate.stop(signal.SIGKILL)
    upstream.close()


@pytest.fixture(scope="session")
def bare(fresh: Callable[[str], pathlib.Path]) -> Iterator[Gateway]:
    """A gateway without a key and without a call; leave it so."""
    gate = Gateway(fresh("bare"), EMPTY, key=False)
    yield gate
    gate.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def stage() -> Iterator[ThreadPoolExecutor]:
    """The one thread that every use of the browser is on: Playwright keeps its event loop running there, and tests of
    our own loops must not find it on theirs."""
    with ThreadPoolExecutor(1, "browser") as thread:
        yield thread


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs tests that look through a browser on its thread."""
    thread = pyfuncitem.funcargs.get("stage")
    if not isinstance(thread, ThreadPoolExecutor):
        return None
    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    thread.submit(pyfuncitem.obj, **wanted).result()
    return True


@pytest.fixture(scope="session")
def browser(stage: ThreadPoolExecutor) -> Iterator[Browser]:
    """One Chromium for all; skips where there is none, fails in CI."""
    place = next((path for path in _PLACES if pathlib.Path(path).exists()), None)
    if place is None:
        pass_over(f"no Chromium at {', '.join(_PLACES)}: apt-get install chromium")
    driver = stage.submit(sync_playwright().start).result()
    flags = ["--no-sandbox", "--disable-dev-shm-usage"]
    try:
        chromium = stage.submit(driver.chromium.launch, executable_path=place, args=flags).result()
    except Error as error:
        stage.submit(driver.stop).result()
        pass_over(f"Chromium does not start: {error.message.splitlines()[0]}")
    yield chromium
    stage.submit(chromium.close).result()
    stage.submit(driver.stop).result()


@pytest.fixture(scope="session")
def boss(stage: ThreadPoolExecutor, browser: Browser, house: House) -> Iterator[Looker]:
    """An admin who is logged in."""
    looker = stage.submit(Looker, browser, house.gate.url).result()
    stage.submit(looker.log_in, house.keys["boss"]).result()
    yield looker
    stage.submit(looker.close).result()


@pytest.fixture(scope="session")
def nobody(stage: ThreadPoolExecutor, browser: Browser, bare: Gateway) -> Iterator[Looker]:
    """The user of the machine of the empty gateway, who needs no key."""
    looker = stage.submit(Looker, browser, bare.url).result()
    yield looker
    stage.submit(looker.close).result()
