"""When a Follower reads, what it applies, what it refuses, and what it says: with a clock of the test's own."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Callable

import pytest

from headgate.config.changes import FIXED_SERVER
from headgate.config.follow import PERIOD, RETRY, SETTLE, Follower
from headgate.config.settings import Settings
from headgate.config.source import Source
from headgate.core.errors import ConfigError

ONE = "models: {one: {route: [sim/echo]}}\n"
TWO = "models: {two: {route: [sim/echo]}}\n"
KEYED = "providers: {up: {dialect: openai_chat, url: 'http://h/v1', key: 'file:key'}}\nmodels: {one: {route: [up/m]}}\n"


class Rig:
    """A follower, its file, its clock, and all that it has applied."""

    def __init__(self, folder: pathlib.Path, text: str, **settings: object) -> None:
        self.file = folder / "headgate.yaml"
        self.file.write_text(text)
        self.now = 100.0
        self.applied: list[tuple[Settings, str]] = []
        self.refusal: Exception | None = None
        source = Source(self.file, environ={})
        self.follower = Follower(source, source.load(), self._apply, clock=lambda: self.now, **settings)  # type: ignore[arg-type]
        self.follower.version = source.version

    def _apply(self, settings: Settings, version: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.applied.append((settings, version))

    def pass_(self, seconds: float, *, asked: bool = False) -> None:
        """Lets time pass, and the follower look whenever it wants to."""
        end = self.now + seconds
        pause = self.follower.look(asked=asked)
        while self.now + pause <= end:
            self.now += pause
            pause = self.follower.look()
        self.now = end

    @property
    def models(self) -> list[list[str]]:
        """The models of each application."""
        return [list(settings.models) for settings, _ in self.applied]


@pytest.fixture
def rig(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> Callable[..., Rig]:
    """Makes a rig that has looked at its file for a while."""
    caplog.set_level(logging.INFO, "headgate.config")

    def make(text: str = ONE, **settings: object) -> Rig:
        one = Rig(tmp_path, text, **settings)
        one.pass_(5)
        assert one.applied == []
        return one

    return make


def test_a_change_is_applied_once_and_told(rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture) -> None:
    """Within a period and a moment, with what is different and the version; then it is quiet again."""
    one = rig()
    assert caplog.messages == []
    one.file.write_text(TWO)
    one.pass_(PERIOD + SETTLE)
    assert one.models == [["two"]]
    one.pass_(10 * PERIOD)
    assert one.models == [["two"]]
    version = one.applied[0][1]
    assert (one.follower.settings, one.follower.version) == one.applied[0]
    assert caplog.messages == [f"configuration applied (version {version}): added models.two; removed models.one"]


def test_what_changed_before_the_first_look_is_not_missed(tmp_path: pathlib.Path) -> None:
    """Between reading at the start and the first look there is a gap that a change may fall into."""
    one = Rig(tmp_path, ONE)
    one.file.write_text(TWO)
    one.pass_(PERIOD)
    assert one.models == [["two"]]


def test_a_file_that_is_being_written_is_left_alone(rig: Callable[..., Rig]) -> None:
    """Only what has been left alone for a moment is read; each piece of it would be valid here."""
    one = rig()
    text = "models:\n"
    for number in range(8):
        text += f"  m{number}: {{route: [sim/echo]}}\n"
        one.file.write_text(text)
        one.pass_(SETTLE * 0.9)
    assert one.applied == []
    one.pass_(SETTLE)
    assert one.models == [[f"m{number}" for number in range(8)]]


def test_a_file_written_while_it_is_read_is_read_again(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read of it counts for nothing, be it right or wrong."""
    one = rig()
    load, reads = Source.load, []

    def meddled(self: Source) -> Settings:
        reads.append(1)
        settings = load(self)
        if len(reads) == 1:
            one.file.write_text(TWO + "# whole\n")
        return settings

    monkeypatch.setattr(Source, "load", meddled)
    one.file.write_text("models: {half: {route: [sim/echo]}}\n")
    one.pass_(3 * PERIOD)
    assert one.models == [["two"]]
    assert len(reads) == 2


def test_a_wrong_file_is_refused_once(rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture) -> None:
    """File, line and what is wrong, once; nothing is applied, nothing repeated, until it is right again."""
    one = rig()
    one.file.write_text("models:\n  one: {route: [sim/ecko]}\n")
    one.pass_(4 * RETRY)
    assert one.applied == []
    (said,) = caplog.messages
    assert said.startswith(f"configuration refused, the one before holds: {one.file}:2: models.one.route[0]: unknown")
    one.file.write_text(ONE)
    one.pass_(2 * PERIOD)
    assert one.applied == []
    assert caplog.messages[1:] == ["configuration read again: nothing changed"]


@pytest.mark.parametrize("text", ["", None], ids=["emptied", "gone"])
def test_an_emptied_or_vanished_file_is_refused(rig: Callable[..., Rig], text: str | None) -> None:
    """However long it stays so."""
    one = rig()
    one.file.unlink() if text is None else one.file.write_text(text)
    one.pass_(60)
    assert one.applied == []
    one.file.write_text(TWO)
    one.pass_(2 * PERIOD)
    assert one.models == [["two"]]


def test_asking_reads_at_once_and_says_what_came_of_it(
    rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    """SIGHUP is answered in any case, a refusal too although it was told before."""
    one = rig()
    one.pass_(0, asked=True)
    assert caplog.messages == ["configuration read again: nothing changed"]
    one.file.write_text("nonsense: 1\n")
    one.pass_(2 * PERIOD)
    one.pass_(0, asked=True)
    assert [message.startswith("configuration refused") for message in caplog.messages] == [False, True, True]
    assert one.applied == []


def test_what_was_missing_is_looked_for_again(rig: Callable[..., Rig], tmp_path: pathlib.Path) -> None:
    """A configuration that came before its mounted secret applies once that is there, though the file rests."""
    one = rig()
    one.file.write_text(KEYED)
    one.pass_(RETRY)
    assert one.applied == []
    (tmp_path / "key").write_text("sk-1")
    one.pass_(RETRY + PERIOD)
    assert one.models == [["one"]]


def test_a_changed_key_file_is_applied(
    rig: Callable[..., Rig], tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Replaced as mounts are; its value is not told."""
    (tmp_path / "key").write_text("sk-first")
    one = rig(KEYED)
    (tmp_path / "new").write_text("sk-second")
    (tmp_path / "new").replace(tmp_path / "key")
    one.pass_(2 * PERIOD)
    (applied,) = one.applied
    assert "sk-second" in [secret.reveal() for _, secret in found(applied[0])]
    (said,) = caplog.messages
    assert "changed providers.up.key" in said
    assert "sk-" not in said


def test_a_key_changes_though_the_file_is_wrong(
    rig: Callable[..., Rig], tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was mistyped yesterday does not keep today's key out."""
    (tmp_path / "key").write_text("sk-first")
    one = rig(KEYED)
    one.file.write_text("nonsense: 1\n")
    one.pass_(2 * PERIOD)
    assert one.applied == []
    (tmp_path / "key").write_text("sk-second")
    one.pass_(2 * PERIOD)
    assert [[secret.reveal() for _, secret in found(settings)] for settings, _ in one.applied] == [["sk-second"]]
    one.file.write_text(KEYED)
    one.pass_(2 * PERIOD)
    assert len(one.applied) == 1
    refused, applied, again = caplog.messages
    assert refused.startswith("configuration refused")
    assert "changed providers.up.key" in applied
    assert again == "configuration read again: nothing changed"


def test_a_key_file_that_is_emptied_keeps_the_old_key(
    rig: Callable[..., Rig], tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused like any other mistake, with the file that is to blame."""
    (tmp_path / "key").write_text("sk-first")
    one = rig(KEYED)
    (tmp_path / "key").write_text("")
    one.pass_(2 * PERIOD)
    assert one.applied == []
    (said,) = caplog.messages
    assert f"file {tmp_path}/key is empty" in said


def test_what_needs_a_restart_is_named_once(rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture) -> None:
    """The rest applies. Said again only when it is something else."""
    one = rig(fixed=FIXED_SERVER)
    one.file.write_text(TWO + "server: {port: 9999, body_limit: 2MiB}\n")
    one.pass_(2 * PERIOD)
    one.file.write_text(TWO + "server: {port: 9999, body_limit: 3MiB}\n")
    one.pass_(2 * PERIOD)
    assert [settings.server.body_limit >> 20 for settings, _ in one.applied] == [2, 3]
    assert [settings.server.port for settings, _ in one.applied] == [8484, 8484]
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.getMessage() for record in warned] == ["changed, but not before a restart: server.port"]


def test_what_can_not_be_applied_is_refused(rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture) -> None:
    """An error of composing counts as one of reading; an unexpected one is logged and ends nothing."""
    one = rig(speaks=False)
    one.refusal = ConfigError("The CA file 'x' can not be used")
    one.file.write_text(TWO)
    one.pass_(3 * RETRY)
    assert caplog.messages == ["configuration refused, the one before holds: The CA file 'x' can not be used"]
    assert list(one.follower.settings.models) == ["one"]
    one.refusal = ZeroDivisionError("a bug")
    one.file.write_text(TWO + "# again\n")
    one.pass_(2 * PERIOD)
    assert caplog.messages[1:] == ["the configuration could not be applied; the one before holds"]
    one.refusal = None
    one.file.write_text(TWO + "# and again\n")
    one.pass_(2 * PERIOD)
    assert one.models == [["two"]]


def test_one_of_many_processes_speaks(rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture) -> None:
    """The others apply and refuse in silence."""
    one = rig(speaks=False)
    one.file.write_text(TWO)
    one.pass_(2 * PERIOD)
    one.file.write_text("nonsense: 1\n")
    one.pass_(2 * PERIOD, asked=True)
    assert one.models == [["two"]]
    assert caplog.messages == []


def found(settings: Settings) -> list[tuple[str, object]]:
    """The secrets of settings."""
    from headgate.config.changes import secrets

    return list(secrets(settings))
