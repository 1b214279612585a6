"""Plays the matrix once for all tests that look at it."""

from __future__ import annotations

import asyncio
import pathlib

import pytest
import uvloop

from .matrix import Matrix


def pytest_asyncio_loop_factories(config, item):
    """Every asynchronous test here runs on the event loop that the server runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """The matrix, played, on the event loop that the server runs on."""
    folder: pathlib.Path = tmp_path_factory.mktemp("matrix")
    played = Matrix(folder)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(played.play())
    return played
