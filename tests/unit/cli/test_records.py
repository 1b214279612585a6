"""The records verbs: filters are checked, tables are safe to show, stories are told in order."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from headgate.cli.records import record, records
from headgate.cli.story import clean, span, tell
from headgate.core.clock import Ids
from headgate.core.errors import BadRequest, ConfigError
from headgate.core.record import AttemptRecord, Record
from headgate.core.usage import Usage
from headgate.stores.data import DataDir
from headgate.stores.rows import COLUMNS, to_row, to_story


def make(**fields: object) -> Record:
    """Makes a Record of a call that fell back once."""
    lost = AttemptRecord(
        "a/m", "a", "m", 100, ended_us=900, outcome="failed", status=503, error="overloaded", sent=True
    )
    won = AttemptRecord("b/m", "b", "m", 1000, 2500, 9000, "completed", 200, finish="stop", usage=Usage(3, 4, cached=1))
    base: dict[str, object] = {
        "time_ns": time.time_ns(),
        "model": "fast",
        "outcome": "completed",
        "status": 200,
        "finish": "stop",
        "attempts": [lost, won],
        "winner": 1,
        "usage": Usage(3, 4, cached=1),
        "duration_us": 9100,
    }
    return Record(Ids().new(), **{**base, **fields})  # type: ignore[arg-type]


def test_records_and_record(tmp_path: Path) -> None:
    """Table, lines and story show the call; the limit counts; a filter that nothing meets gives an empty list."""
    data = DataDir(tmp_path / "data")
    journal = data.open_journal()
    made = [make(), make(model="other")]
    for one in made:
        journal.append(one)
    journal.close()
    runner = CliRunner()

    def run(*arguments: str) -> str:
        command = record if arguments[0] == "record" else records
        result = runner.invoke(command, [*arguments[1:], "--data", str(data.path)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert run("records").count("hg_") == 2
    assert run("records", "--model", "nobody").endswith("(none)\n")
    failed = runner.invoke(records, ["--data", str(data.path), "--text", '"'])
    assert isinstance(failed.exception, BadRequest)
    assert failed.stdout == "", "no header of a table that there is not"
    assert run("records", "--limit", "1").count("hg_") == 1
    lines = run("records", "--format", "jsonl", "--model", "other", "--since", "1h").splitlines()
    story = msgspec.json.decode(lines[0])
    assert len(lines) == 1
    assert (story["id"], story["input_tokens"], story["output_tokens"]) == (made[1].id, 3, 4)
    assert run("records", "--format", "jsonl", "--tag", "a=b") == ""
    assert "attempt 2 at b/m" in run("record", made[0].id)
    assert msgspec.json.decode(run("record", made[0].id, "--format", "json"))["id"] == made[0].id


def test_output_that_is_not_utf_8(tmp_path: Path) -> None:
    """A name that the terminal has no signs for is written with escapes, which JSON reads back; never a traceback."""
    data, name = DataDir(tmp_path / "data"), "café-€-\U0001f600"
    journal = data.open_journal()
    journal.append(make(model=name))
    journal.close()
    command = [sys.executable, "-c", "import sys; from headgate.cli.main import main; sys.exit(main())", "records"]
    for form in ("table", "jsonl"):
        done = subprocess.run(
            [*command, "--data", str(data.path), "--format", form],
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        shown = done.stdout.decode("ascii")
        assert "caf\\u00e9" in shown
    assert msgspec.json.decode(shown)["model"] == name


def test_wrong_filters_are_told(tmp_path: Path) -> None:
    """A bad time, tag or outcome, an unknown id and a missing directory are errors that name what is wrong."""
    DataDir(tmp_path / "data")
    runner, place = CliRunner(), ["--data", str(tmp_path / "data")]
    for arguments, error in ((["--since", "soon"], BadRequest), (["--data", str(tmp_path / "none")], ConfigError)):
        result = runner.invoke(records, [*place, *arguments])
        assert isinstance(result.exception, error)
    assert "NAME=VALUE" in runner.invoke(records, [*place, "--tag", "x"]).output
    assert "refused" in runner.invoke(records, [*place, "--outcome", "x"]).output
    missing = runner.invoke(record, ["hg_x", *place])
    assert isinstance(missing.exception, BadRequest)
    assert "hg_x" in missing.exception.message


def test_a_story_is_told_in_the_order_of_time() -> None:
    """Attempts, first content and ends stand in one time line; what the call lost and noted is named."""
    one = make(lost=["seed"], notes={"why": "x"}, tags={"env": "prod"}, error="e", error_message="m", fault="caller")
    lines = list(tell(to_story(dict(zip(COLUMNS, to_row(one), strict=True)))))
    text = "\n".join(lines)
    moments = [line.split()[0] for line in lines if line.startswith("  ") and "attempt" in line]
    assert moments == ["100", "900", "1.0", "2.5", "9.0"]
    for part in ("overloaded", "by b/m", "3 in, 4 out (cached 1)", "seed", "why", "env = prod", "caller's fault"):
        assert part in text


@pytest.mark.parametrize(
    ("us", "text"), [(-1, "-"), (0, "0 µs"), (999, "999 µs"), (1500, "1.5 ms"), (2_500_000, "2.50 s")]
)
def test_spans_are_readable(us: int, text: str) -> None:
    """A span has the unit a person would use."""
    assert span(us) == text


def test_control_characters_do_not_reach_the_terminal() -> None:
    """What came from outside can not steer a terminal, nor run over its line."""
    assert clean("a\x1b[31mb\n") == "a?[31mb?"
    assert clean("x" * 50, 10) == "x" * 9 + "…"


def test_export_writes_whole_stories(sqlite_data: DataDir, tmp_path: Path) -> None:
    """A line of JSON for each call, newest first, with payloads if asked for; a file is its owner's alone."""
    journal = sqlite_data.open_journal()
    made = [make(user=f"u{n}", payloads="full") for n in range(3)]
    for one in made:
        journal.append_payload(one.id, b'{"q": "walrus %s"}' % one.user.encode(), b"answer")
        journal.append(one)
    journal.close()
    place = ["--data", str(sqlite_data.path)]
    run = CliRunner().invoke
    done = run(records, ["export", *place])
    assert done.exit_code == 0, done.output
    stories = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    assert [story["user"] for story in stories] == ["u2", "u1", "u0"]
    assert "request_body" not in stories[0]
    file = tmp_path / "calls.jsonl"
    done = run(records, ["export", *place, "--payloads", "--user", "u1", "--output", str(file)])
    assert done.exit_code == 0, done.output
    (story,) = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    assert (story["request_body"], story["response_body"]) == ('{"q": "walrus u1"}', "answer")
    assert file.stat().st_mode & 0o777 == 0o600
    for command in (["--format", "jsonl", "--text", "walrus u0"], ["export", "--text", "walrus u0"]):
        done = run(records, [*command, *place])
        assert [msgspec.json.decode(line)["user"] for line in done.stdout.splitlines()] == ["u0"], done.output


@pytest.mark.parametrize("status", ["-5", "600", "99999999999999999999"])
def test_a_status_is_one(tmp_path: Path, status: str) -> None:
    """What no HTTP status can be is an error, not a traceback or an empty list."""
    result = CliRunner().invoke(records, ["--status", status, "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert "is not in the range" in result.output
