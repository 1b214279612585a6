"""`headgate erase`: asks, erases, tells; for people and programs."""

from __future__ import annotations

import json
import time

import pytest

from headgate.cli.main import main
from headgate.core.clock import Ids
from headgate.core.record import Record
from headgate.stores.data import DataDir
from headgate.stores.query import CallStore, Filters


@pytest.fixture
def data(tmp_path, monkeypatch) -> DataDir:
    """A data directory in whose journal three calls lie, two of them ann's; no recorder has seen them."""
    monkeypatch.chdir(tmp_path)
    directory = DataDir("d")
    journal = directory.open_journal()
    ids = Ids()
    for user in ("ann", "bob", "ann"):
        one = Record(ids.new(), time.time_ns(), user=user, model="m", outcome="completed", status=200, payloads="full")
        journal.append_payload(one.id, b"q", b"a", "full")
        journal.append(one)
    journal.close()
    return directory


def run(capsys, *args: str) -> tuple[int, str, str]:
    code = main(["erase", *args, "--data", "d"])
    out, err = capsys.readouterr()
    return code, out, err


def calls_of(data: DataDir, user: str) -> int:
    engine = data.open_engine()
    try:
        return len(CallStore(engine).page(Filters(user=user), 10)[0])
    finally:
        engine.dispose()


def test_it_tells_asks_and_erases(data, capsys, monkeypatch) -> None:
    """A dry run changes nothing, nor does a no; a yes erases, and what is in the journal too."""
    code, out, _ = run(capsys, "--user", "ann", "--dry-run")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["KIND", "COUNT"],
        ["calls", "2"],
        ["payloads", "2"],
        ["rollups", "1"],
    ]
    for answer, code in (("n", 1), ("y", 0)):
        assert calls_of(data, "ann") == 2
        monkeypatch.setattr("click.termui.visible_prompt_func", lambda *_, answer=answer: answer)
        assert run(capsys, "--user", "ann")[0] == code
    assert (calls_of(data, "ann"), calls_of(data, "bob")) == (0, 1)


def test_nobody_is_there_to_be_asked(data, capsys, monkeypatch) -> None:
    """A script has to say --yes; it is told so, and nothing is erased."""

    def ends(*_: object) -> str:
        raise EOFError

    monkeypatch.setattr("click.termui.visible_prompt_func", ends)
    code, _, err = run(capsys, "--user", "ann")
    assert (code, "--yes" in err, calls_of(data, "ann")) == (2, True, 2)


def test_for_programs(data, capsys) -> None:
    """JSON on stdout; a second run finds nothing and is no failure; what an admin set up is counted and stays."""
    assert main(["budgets", "set", "user:ann", "5", "--per", "day", "--data", "d"]) == 0
    assert main(["users", "create", "ann", "--data", "d"]) == 0
    capsys.readouterr()
    code, out, _ = run(capsys, "--user", "ann", "--yes", "--format", "json")
    told = json.loads(out)
    assert (code, told["done"], told["overwritten"], told["dry_run"]) == (0, True, True, False)
    assert told["erasure"].startswith("erasure_")
    assert (told["found"]["calls"], told["found"]["payloads"]) == (2, 2)
    assert told["kept"] == {"keys": 0, "limits": 1, "people": 1, "unreadable": 0}
    code, out, err = run(capsys, "--user", "ann")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "nothing of this user was found"
    assert "left as it is: 1 limits of this user: see `headgate budgets list`" in out


@pytest.mark.parametrize("user", ["nobody", "%", "名前", "an_"])
def test_an_unknown_user(data, capsys, user) -> None:
    """Nothing is found, and nothing is wrong."""
    assert run(capsys, "--user", user)[:2] == (0, "nothing of this user was found\n")
    assert calls_of(data, "ann") == 2


def test_an_empty_user(data, capsys) -> None:
    """Is nobody: refused by name."""
    code, out, err = run(capsys, "--user", "", "--yes")
    assert (code, out) == (1, "")
    assert "user must be the id" in err
