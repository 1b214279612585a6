"""The command line: verbs are found lazily, errors are one clear line, exit codes say what kind."""

from __future__ import annotations

import errno
import pathlib
import pickle
import subprocess
import sys

import click
import pytest

from headgate.cli import main as module
from headgate.cli.main import VERBS, headgate, main
from headgate.core.errors import BadRequest, ConfigError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HEADGATE_CONFIG", "HEADGATE_DATA", "HEADGATE_ADMIN_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def walk(command: click.Command, path: str):
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            assert found is not None
            yield from walk(found, f"{path} {name}")
    else:
        yield path, command


def test_every_verb_has_the_common_options() -> None:
    """--config and --data are on every verb that has either, and every verb says what it does."""
    for path, command in walk(headgate, "headgate"):
        if path == "headgate sim":  # stands alone: reads no configuration and keeps nothing
            continue
        options = {name for parameter in command.params for name in parameter.opts}
        assert {"--config", "--data"} <= options, path
        assert command.help, path


def test_help_imports_no_verb() -> None:
    """`headgate --help` names every verb and imports none of them, nor YAML, nor a database, nor a server."""
    program = (
        "import sys; from headgate.cli.main import main; main(['--help']);"
        "print(sorted(name for name in sys.modules"
        " if name.startswith(('headgate.', 'yaml', 'sqlalchemy', 'uvicorn', 'msgspec'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    for verb in VERBS:
        assert f"  {verb} " in done.stdout
    loaded = done.stdout.splitlines()[-1]
    ours = ["headgate.cli", "headgate.cli.main", "headgate.cli.options", "headgate.core", "headgate.core.errors"]
    assert loaded == str(ours)


def test_unknown_verb(capsys) -> None:
    """An unknown verb is answered with the nearest one, exit code 2."""
    assert main(["serv"]) == 2
    assert "No such command 'serv'; did you mean 'serve'?" in capsys.readouterr().err
    assert main(["zzz"]) == 2
    assert "there are: init, serve, sim" in capsys.readouterr().err


def test_usage_errors(capsys) -> None:
    """A wrong option is a usage error: exit code 2, no traceback."""
    assert main(["serve", "--prot", "1"]) == 2
    assert main(["keys", "create"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(ConfigError("no such thing"), 2), (BadRequest("no such thing"), 1)])
def test_our_errors_are_one_line(error, code, capsys, monkeypatch) -> None:
    """A HeadgateError is one line on stderr: 2 for the configuration, 1 for the rest."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(module.headgate, "main", fail)
    assert main([]) == code
    assert capsys.readouterr().err == "Error: no such thing\n"


def test_a_reader_that_leaves(tmp_path: pathlib.Path) -> None:
    """Output into a pipe that closes early ends quietly."""
    done = subprocess.run(
        f"{sys.executable} -c 'from headgate.cli.main import main; main()' config explain | true",
        shell=True,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""


def test_version(capsys, tmp_path) -> None:
    """`version` shows what runs and which files it would use."""
    (tmp_path / "headgate.yaml").write_text("data: {dir: d}")
    assert main(["version"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("headgate 0.")
    assert str(tmp_path / "headgate.yaml") in out
    assert str(tmp_path / "d") in out


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "/nowhere/calls.jsonl"),
            "/nowhere/calls.jsonl: No",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "can not go on: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", b"/root/x"), "/root/x: Permission denied"),
    ],
)
def test_a_disk_or_path_that_will_not_do(error: OSError, said: str) -> None:
    """One line says what is wrong with it, without a traceback, exit code 1; standard output is not touched again."""
    program = (
        "import sys; from headgate.cli import main as module; from pickle import loads\n"
        "def fail(**more): print('written'); raise loads(bytes.fromhex(sys.argv[1]))\n"
        "module.headgate.main = fail\n"
        "sys.exit(module.main(['records']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, pickle.dumps(error).hex()], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {said}")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_behind_standard_output() -> None:
    """What can not be written is one line, also where Python finds out at the very end."""
    program = "import sys; from headgate.cli.main import main; sys.exit(main(['--help']))"
    with pathlib.Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert (done.returncode, done.stderr) == (1, "Error: can not go on: No space left on device\n")


def test_words_that_are_no_text() -> None:
    """An argument that is not UTF-8 is named, where a database would refuse it with a traceback."""
    program = (
        "import sys; from headgate.cli import main as module\n"
        "def fail(**more): sys.argv[1].encode()\n"
        "module.headgate.main = fail\n"
        "sys.exit(module.main(['records']))"
    )
    done = subprocess.run([sys.executable, "-c", program, b"\xff\xfe"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (1, "Error: what was given is not UTF-8: '\\udcff\\udcfe'\n")


def test_an_unknown_subcommand_is_answered_with_the_nearest(capsys) -> None:
    """As an unknown verb is; where nothing is near, with all there are."""
    assert main(["keys", "lst"]) == 2
    assert "No such command 'lst'; did you mean 'list'?" in capsys.readouterr().err
    assert main(["teams", "zzzz"]) == 2
    assert "No such command 'zzzz'; there are: create, delete, list." in capsys.readouterr().err
