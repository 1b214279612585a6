"""`headgate serve` checks what can be checked before it listens."""

from __future__ import annotations

import os
import resource

import pytest

from headgate.cli.main import main
from headgate.cli.serve import check_data, raise_file_limit
from headgate.config.checks import is_loopback
from headgate.config.load import load_settings
from headgate.core.errors import ConfigError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HEADGATE_CONFIG", "HEADGATE_DATA", "HEADGATE_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LocalHost"])
def test_loopback(host: str) -> None:
    """Addresses that only this machine reaches."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "127.evil.example", "localhost.evil.example", ""])
def test_not_loopback(host: str) -> None:
    """Everything else, names that look like it too."""
    assert not is_loopback(host)


def test_beyond_loopback_wants_a_key(tmp_path) -> None:
    """Without a key it is refused and told what to do; an admin key or a key in the store is enough."""
    wide = {"server.host": ("--host", "0.0.0.0"), "data.dir": ("--data", str(tmp_path / "d"))}
    with pytest.raises(ConfigError) as caught:
        check_data(load_settings(environ={}, overrides=wide))
    assert "headgate keys create --name NAME --data" in caught.value.message
    assert "HEADGATE_ADMIN_KEY" in caught.value.message
    check_data(load_settings(environ={"HEADGATE_ADMIN_KEY": "x" * 32}, overrides=wide))
    assert main(["keys", "create", "--name", "a", "--quiet", "--data", str(tmp_path / "d")]) == 0
    check_data(load_settings(environ={}, overrides=wide))


def test_unusable_data_directory(tmp_path, capsys) -> None:
    """A data directory that can not be made is a configuration error that names it."""
    (tmp_path / "file").write_text("")
    assert main(["serve", "--data", str(tmp_path / "file" / "d")]) == 2
    assert f"the data directory {tmp_path}/file/d can not be used" in capsys.readouterr().err


@pytest.mark.parametrize("argument", [("--port", "70000"), ("--workers", "0"), ("--host", "a b")])
def test_options_are_checked(argument: tuple[str, str], capsys) -> None:
    """An option out of range is told by its name."""
    assert main(["serve", *argument]) == 2
    assert argument[0] in capsys.readouterr().err


def test_file_limit_is_raised() -> None:
    """The soft limit of open files becomes the hard one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256 or before[1] <= 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_data_directory_is_private(tmp_path) -> None:
    """What is made is made for the owner alone."""
    check_data(load_settings(environ={}, overrides={"data.dir": ("--data", str(tmp_path / "d"))}))
    assert os.stat(tmp_path / "d").st_mode & 0o777 == 0o700
