"""One upstream and one gateway process for all scenarios of the server that leave them as they were."""

from __future__ import annotations

import pathlib
import shutil
import signal
from collections.abc import Callable, Iterator

import pytest
from tests.scenarios.conftest import Gateway, Upstream

from headgate.stores.data import DataDir

from .stage import LIVELY, Stage


@pytest.fixture(scope="session")
def stage() -> Stage:
    return Stage()


@pytest.fixture(scope="session")
def up(stage: Stage) -> Iterator[Upstream]:
    """One upstream for them all."""
    one = Upstream(stage.play)
    yield one
    one.close()


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], pathlib.Path]:
    """Makes folders for gateways, their schema there already: making it anew takes longer than most tests here."""
    migrated = tmp_path_factory.mktemp("migrated")
    DataDir(migrated / "data").prepare()
    return lambda name: shutil.copytree(migrated, tmp_path_factory.mktemp(name), dirs_exist_ok=True)


@pytest.fixture(scope="session")
def gate(up: Upstream, fresh: Callable[[str], pathlib.Path]) -> Iterator[Gateway]:
    """One gateway for all tests that leave it as it was."""
    one = Gateway(fresh("gateway"), LIVELY.format(port=up.port))
    yield one
    one.stop(signal.SIGKILL)
