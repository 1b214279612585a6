"""A Source reads the same file again, and tells an emptied or vanished one from one that means nothing."""

from __future__ import annotations

import hashlib
import os
import pathlib

import pytest

from headgate.config.load import load_settings
from headgate.config.source import Source, is_blank, look_at
from headgate.core.errors import ConfigError

ONE = "models: {one: {route: [sim/echo]}}\n"
TWO = "models: {two: {route: [sim/echo]}}\n"


@pytest.fixture
def file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A configuration in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "headgate.yaml"
    path.write_text(ONE)
    return path


def test_what_is_written_is_read_again(file: pathlib.Path) -> None:
    """With the options of the command line, and a version that names the text."""
    source = Source("headgate.yaml", overrides={"server.port": ("--port", 9000)}, environ={})
    first = source.load()
    assert source.version == hashlib.sha256(ONE.encode()).hexdigest()[:12]
    assert source.load() == first
    file.write_text(TWO)
    assert list(source.load().models) == ["two"]
    assert source.load().server.port == 9000
    assert source.version == hashlib.sha256(TWO.encode()).hexdigest()[:12]


def test_the_first_reading_tells_errors_as_ever(file: pathlib.Path) -> None:
    """A file is called as the caller has called it; a variable that named it is told."""
    file.write_text("models: {one: {rout: []}}")
    with pytest.raises(ConfigError) as caught:
        Source("headgate.yaml", environ={}).load()
    assert caught.value.message.startswith("headgate.yaml:1: ")
    with pytest.raises(ConfigError, match=r"nowhere\.yaml \(named by HEADGATE_CONFIG\)"):
        Source(environ={"HEADGATE_CONFIG": "nowhere.yaml"}).load()


@pytest.mark.parametrize("text", ["", "\n", "# all\n  # gone\n", "---\n", "\ufeff# mark\n"])
def test_an_emptied_file_is_refused(file: pathlib.Path, text: str) -> None:
    """It reads as an error that says how to mean it; the version stays that of what was read well."""
    source = Source("headgate.yaml", environ={})
    source.load()
    version = source.version
    file.write_text(text)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"headgate\.yaml: holds no settings any more; write \{\}"):
            source.load()
    assert source.version == version
    file.write_text("{}\n")
    assert list(source.load().models) == ["sim/echo"]


def test_a_file_that_was_empty_may_stay_so(file: pathlib.Path) -> None:
    """Comments in a file without settings may change."""
    file.write_text("# nothing yet\n")
    source = Source("headgate.yaml", environ={})
    source.load()
    file.write_text("# still nothing\n")
    assert source.load() == load_settings("headgate.yaml", environ={})


@pytest.mark.parametrize("name", [None, "headgate.yaml"])
def test_a_vanished_file_is_refused(file: pathlib.Path, name: str | None) -> None:
    """Even where a process would start without one: it is not what it has started with."""
    source = Source(name, environ={})
    source.load()
    file.unlink()
    with pytest.raises(ConfigError, match="can not read the configuration"):
        source.load()


def test_a_file_may_come_later(file: pathlib.Path) -> None:
    """Started without a file, the one in the working directory is read once it is there, and missed once it is not."""
    file.unlink()
    source = Source(environ={})
    settings = source.load()
    assert (list(settings.models), source.version) == (["sim/echo"], "")
    assert source.watched(settings) == [str(file)]
    assert source.load() == settings
    file.write_text(TWO)
    assert list(source.load().models) == ["two"]
    file.unlink()
    with pytest.raises(ConfigError, match="can not read"):
        source.load()


def test_a_pipe_is_read_once(file: pathlib.Path) -> None:
    """``--config <(...)`` works, is not looked at again, and says so when asked to."""
    read, write = os.pipe()
    os.write(write, TWO.encode())
    os.close(write)
    try:
        source = Source(f"/dev/fd/{read}", environ={})
        settings = source.load()
        assert list(settings.models) == ["two"]
        assert source.watched(settings) == []
        with pytest.raises(ConfigError, match="no regular file"):
            source.load()
    finally:
        os.close(read)


def test_mounted_secrets_are_watched(file: pathlib.Path) -> None:
    """The file, and each ``file:`` secret; variables can not change."""
    (file.parent / "key").write_text("sk-one")
    file.write_text("providers: {up: {dialect: openai_chat, url: 'http://h/v1', key: 'file:key'}}\n")
    source = Source(environ={"OPENAI_API_KEY": "sk-env"})
    settings = source.load()
    assert source.watched(settings) == [str(file), str(file.parent / "key")]


def test_a_look_sees_every_kind_of_change(file: pathlib.Path) -> None:
    """Written in place with the same size and the old time, replaced by another, gone, back again."""
    path = str(file)
    seen = [look_at([path])]
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)

    def differs() -> None:
        stamps = look_at([path])
        assert stamps not in seen
        seen.append(stamps)

    while look_at([path]) == seen[0]:  # the clock of the file system is coarse
        file.write_text(TWO)
        os.utime(file, ns=times)
    differs()
    (file.parent / "new").write_text(ONE)
    os.replace(file.parent / "new", file)
    differs()
    file.unlink()
    assert look_at([path]) == {path: None}


def test_blank_is_told_from_empty_on_purpose() -> None:
    """``{}`` is not blank."""
    assert is_blank(b"\n #\xff\n---\n")
    assert not is_blank(b"{}")
    assert not is_blank(b"models:\n")
