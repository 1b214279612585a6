"""`headgate users`, `headgate teams` and `headgate audit`: people come and go, and the log tells of it."""

from __future__ import annotations

import getpass
import json
import sqlite3

from headgate.cli.main import main


def run(capsys, *args: str) -> tuple[int, str, str]:
    code = main([*args, "--data", "d"])
    out, err = capsys.readouterr()
    return code, out, err


def test_people_and_teams_come_and_go(tmp_path, capsys, monkeypatch) -> None:
    """A team, a person in it, a key of theirs; the person's end is the key's, and only then may the team end."""
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "teams", "create", "red", "--description", "The red ones") == (0, "created the team red\n", "")
    assert run(capsys, "users", "create", "Ann", "--email", "ann@x.org", "--team", "red")[0] == 0
    assert run(capsys, "keys", "create", "--name", "app", "--owner", "ann@x.org", "--quiet")[0] == 0
    assert run(capsys, "users", "update", "Ann", "--role", "admin")[0] == 0
    (user,) = map(json.loads, run(capsys, "users", "list", "--format", "jsonl")[1].splitlines())
    assert (user["name"], user["email"], user["team"], user["role"]) == ("Ann", "ann@x.org", "red", "admin")
    assert run(capsys, "users", "list")[1].splitlines()[1].split()[1:5] == ["Ann", "ann@x.org", "red", "admin"]
    assert run(capsys, "teams", "list")[1].splitlines()[1].startswith("red   ")
    code, _, err = run(capsys, "teams", "delete", "red")
    assert (code, err) == (1, "Error: the team still has 1 person and 0 keys; move or end them first\n")
    assert run(capsys, "users", "delete", "Ann")[1] == f"deleted {user['id']} (Ann) and revoked their keys\n"
    (key,) = map(json.loads, run(capsys, "keys", "list", "--format", "jsonl")[1].splitlines())
    assert (key["state"], key["owner"]) == ("revoked", user["id"])
    assert run(capsys, "teams", "delete", "red")[0] == 0
    assert run(capsys, "teams", "list", "--format", "jsonl") == (0, "", "")


def test_mistakes_are_named(tmp_path, capsys, monkeypatch) -> None:
    """Twins, unknown people and teams, and nothing to change are errors; nothing is made by looking."""
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "users", "list")[0] == 2
    assert not (tmp_path / "d").exists()
    assert run(capsys, "teams", "create", "red")[0] == 0
    for wrong in (
        ("teams", "create", "Red"),
        ("teams", "create", "a/b"),
        ("teams", "delete", "blue"),
        ("users", "create", "Ann", "--team", "blue"),
        ("users", "create", "Ann", "--email", "ann"),
        ("users", "update", "Ann", "--role", "admin"),
        ("users", "delete", "Ann"),
    ):
        code, _, err = run(capsys, *wrong)
        assert code == 1, wrong
        assert err.startswith("Error: ")
    assert run(capsys, "users", "update", "Ann")[0] == 2


def test_the_log_tells_who_did_what_and_proves_itself(tmp_path, capsys, monkeypatch) -> None:
    """list shows the system's user, head is for noting, verify says whole or broken and exits accordingly."""
    monkeypatch.chdir(tmp_path)
    for team in ("one", "two", "three"):
        run(capsys, "teams", "create", team)
    head = run(capsys, "audit", "head")[1].strip()
    run(capsys, "teams", "delete", "two")
    lines = run(capsys, "audit", "list")[1].splitlines()
    assert [line.split()[4:] for line in lines[1:3]] == [["team.delete", "two"], ["team.create", "three"]]
    assert f"cli:{getpass.getuser()}" in lines[1]
    assert len(run(capsys, "audit", "list", "--limit", "2", "--before", "4")[1].splitlines()) == 3
    newest = json.loads(run(capsys, "audit", "list", "--format", "jsonl")[1].splitlines()[0])
    assert json.loads(newest["before"])["name"] == "two"
    assert newest["after"] is None
    assert run(capsys, "audit", "verify") == (0, f"whole: 4 entries, head {newest['hash']}\n", "")
    assert run(capsys, "audit", "verify", "--head", head)[0] == 0
    assert run(capsys, "audit", "verify", "--head", "nonsense")[0] == 1
    with sqlite3.connect("d/headgate.db") as connection:
        connection.execute("UPDATE audit_log SET actor = 'cli:nobody' WHERE seq = 2")
    connection.close()
    assert run(capsys, "audit", "verify") == (1, "broken: entry 2 was edited (entries before it: 1)\n", "")
