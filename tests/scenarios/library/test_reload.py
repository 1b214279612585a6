"""A Gateway takes over its changed configuration when it is told to, and not before."""

from __future__ import annotations

import asyncio
import pathlib

import pytest
from tests.scenarios.conftest import CONFIG

from headgate import ConfigError, SyncGateway, UnknownModel
from headgate.config.load import load_settings

from .play import ASK, Make, Start, either, silent, until, until_closed

pytestmark = pytest.mark.usefixtures("no_recorder")


def extend(folder: pathlib.Path, text: str) -> None:
    """Writes behind what is in the gateway's configuration."""
    with (folder / "before-up.yaml").open("a") as file:
        file.write(text)


async def test_reload_applies_what_is_written(upstream: Start, make: Make, tmp_path: pathlib.Path) -> None:
    """It returns what is different; nothing has changed where nothing is."""
    async with make(upstream(either)) as gateway:
        assert (await gateway.complete("fast", ASK)).text == "Paris."
        assert await gateway.reload() == []
        extend(tmp_path, "  slow: {route: [up/m-2]}\n")
        with pytest.raises(UnknownModel):
            await gateway.complete("slow", ASK)
        assert await gateway.reload() == ["added models.slow"]
        assert gateway.models() == ["fast", "slow"]
        assert (await gateway.complete("slow", ASK)).text == "Paris."


async def test_a_wrong_configuration_is_raised(upstream: Start, make: Make, tmp_path: pathlib.Path) -> None:
    """With file and line; the gateway goes on as it was, and with the next right one."""
    async with make(upstream(either)) as gateway:
        extend(tmp_path, "  slow: {rout: [up/m-2]}\n")
        with pytest.raises(ConfigError, match=r"before-up\.yaml:6: models\.slow\.rout"):
            await gateway.reload()
        assert gateway.models() == ["fast"]
        assert (await gateway.complete("fast", ASK)).text == "Paris."


async def test_a_stream_outlives_two_reloads(upstream: Start, make: Make) -> None:
    """Connections that the second one gives up are closed when the stream that began before both has ended."""
    first, second = upstream(silent), upstream(either)
    gateway = make(first)
    async with gateway:
        async with gateway.stream("fast", ASK) as frames:
            await frames.__anext__()
            text = CONFIG.format(port=first.port) + "  more: {route: [up/m-2]}\n"
            for settings in (text, text.replace(str(first.port), str(second.port))):
                assert await gateway.reload(load_settings(text=settings, environ={"UP_KEY": "sk-1"}))
            assert (await gateway.complete("fast", ASK)).text == "Paris."
            await asyncio.sleep(0.6)
            assert await frames.__anext__()
            assert first.open == 1
        await until_closed(first)
        assert second.open == 1
    await until(lambda: second.open == 0)


async def test_closing_closes_what_was_given_up(upstream: Start, make: Make) -> None:
    """A gateway that ends does not wait for its last stream."""
    first = upstream(silent)
    gateway = make(first)
    stream = gateway.stream("fast", ASK)
    async with gateway:
        frames = await stream.__aenter__()
        await frames.__anext__()
        assert await gateway.reload(load_settings(environ={}))
    await until_closed(first)


async def test_ready_made_settings_need_new_ones(make: Make) -> None:
    """A gateway that has no file says so; new settings it takes."""
    one = load_settings(text="models: {one: {route: [sim/echo]}}", environ={})
    gateway = make(settings=one)
    with pytest.raises(ConfigError, match="ready-made"):
        await gateway.reload()
    two = load_settings(text="models: {two: {route: [sim/echo]}}", environ={})
    assert await gateway.reload(two) == ["removed models.one", "added models.two"]
    assert gateway.models() == ["two"]


def test_the_sync_face_reloads(upstream: Start, make: Make, tmp_path: pathlib.Path) -> None:
    """The same from any thread."""
    with make(upstream(either), kind=SyncGateway) as gateway:
        assert gateway.complete("fast", ASK).text == "Paris."
        extend(tmp_path, "  slow: {route: [up/m-2]}\n")
        assert gateway.reload() == ["added models.slow"]
        assert gateway.complete("slow", ASK).text == "Paris."
