"""`headgate budgets`, and limits as options of keys, users and teams."""

from __future__ import annotations

import json

from headgate.cli.main import main


def run(capsys, *args: str) -> tuple[int, str, str]:
    code = main([*args, "--data", "d"])
    out, err = capsys.readouterr()
    return code, out, err


def limits(capsys) -> list[tuple[str, str, str, str, str]]:
    code, out, _ = run(capsys, "budgets", "list", "--format", "jsonl")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    return [(row["scope"], row["value"], row["amount"], row["unit"], row["per"]) for row in rows]


def test_limits_are_set_listed_and_removed(tmp_path, capsys, monkeypatch) -> None:
    """By whom they are for; a new amount takes the place of the old one; the table is for people."""
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "budgets", "set", "user", "1", "--per", "day")[0] == 0
    assert run(capsys, "budgets", "set", "user:alice", "60", "--unit", "requests", "--per", "minute")[0] == 0
    code, out, _ = run(capsys, "budgets", "set", "user", "1.50", "--per", "day", "--name", "pocket money")
    assert (code, out.partition(": ")[2]) == (0, "pocket money: $1.50 per day\n")
    assert limits(capsys) == [("user", "alice", "60", "requests", "minute"), ("user", "", "1.5", "dollars", "day")]
    table = run(capsys, "budgets", "list")[1].splitlines()
    assert table[0].split() == ["ID", "LIMIT", "ALLOWS", "USED", "RESERVED", "LEFT", "ENDS"]
    assert "user alice, requests per minute" in table[1]
    assert table[1].split()[-4:] == ["0", "0", "60", "-"]
    assert table[2].startswith("limit_")
    assert run(capsys, "budgets", "workers")[1].split()[0] == "WORKER"
    code, _, err = run(capsys, "budgets", "write-off", "nobody")
    assert (code, "budgets workers" in err) == (1, True)
    assert run(capsys, "budgets", "remove", "pocket money")[0] == 0
    assert limits(capsys) == [("user", "alice", "60", "requests", "minute")]


def test_keys_users_and_teams_are_made_with_limits(tmp_path, capsys, monkeypatch) -> None:
    """`--budget` and `--limit`, when made and later; a key shows its own."""
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "keys", "create", "--name", "poor", "--budget", "0.01", "--per", "day", "--quiet")
    assert (code, out[:3], len(out.split()), err) == (0, "hg-", 1, "")
    assert run(capsys, "keys", "update", "poor", "--limit", "5 concurrency", "--limit", "9 requests/hour")[0] == 0
    assert run(capsys, "teams", "create", "red", "--budget", "100", "--per", "month")[0] == 0
    assert run(capsys, "users", "create", "Ann", "--team", "red", "--limit", "1_000 tokens per day")[0] == 0
    assert run(capsys, "users", "update", "Ann", "--budget", "2", "--per", "day")[0] == 0
    found = [(scope, amount, unit, per) for scope, _, amount, unit, per in limits(capsys)]
    assert sorted(found) == [
        ("key", "0.01", "dollars", "day"),
        ("key", "5", "concurrency", ""),
        ("key", "9", "requests", "hour"),
        ("team", "100", "dollars", "month"),
        ("user", "1000", "tokens", "day"),
        ("user", "2", "dollars", "day"),
    ]
    assert json.loads(run(capsys, "keys", "show", "poor", "--format", "json")[1])["limits"][0] == "$0.01 per day"


def test_two_limits_for_one_window_are_a_slip(tmp_path, capsys, monkeypatch) -> None:
    """The second would silently take the place of the first; no key is made, and none is changed."""
    monkeypatch.chdir(tmp_path)
    x = ("--name", "x")
    both = ("--budget", "1", "--per", "day", "--limit", "2 dollars/day")
    code, _, err = run(capsys, "keys", "create", *x, *both)
    assert (code, "two limits of dollars per day" in err) == (1, True)
    assert (
        run(capsys, "keys", "create", "--name", "x", "--limit", "1 requests/day", "--limit", "2 requests/hour")[0] == 0
    )
    code, _, err = run(
        capsys, "keys", "update", "x", "--name", "y", "--limit", "5 concurrency", "--limit", "6 concurrency"
    )
    assert (code, "two limits of concurrency" in err) == (1, True)
    assert run(capsys, "keys", "show", "x")[0] == 0
    assert sorted(row[2:] for row in limits(capsys)) == [("1", "requests", "day"), ("2", "requests", "hour")]


def test_slips_are_wrong_usage(tmp_path, capsys, monkeypatch) -> None:
    """Told before anything is opened or made."""
    monkeypatch.chdir(tmp_path)
    for wrong, said in (
        (("keys", "create", "--name", "x", "--budget", "-1", "--per", "day"), "--budget: amount must be dollars"),
        (("keys", "create", "--name", "x", "--budget", "1e99", "--per", "day"), "--budget: amount must be dollars"),
        (("keys", "create", "--name", "x", "--budget", "1"), "--per minute|hour|day|month"),
        (("keys", "create", "--name", "x", "--per", "day"), "--per is the window of a --budget"),
        (("keys", "create", "--name", "x", "--limit", "60"), "is no limit"),
        (("keys", "create", "--name", "x", "--limit", "6 request/minute"), "unknown unit 'request'"),
        (("budgets", "set", "usr", "1", "--per", "day"), "unknown scope"),
        (("budgets", "set", "user", "1.5", "--unit", "requests", "--per", "day"), "a whole number"),
        (("budgets", "set", "user", "-1", "--per", "day"), "AMOUNT: -1 is less than nothing"),
        (("budgets", "set", "user", "-.5", "--per", "day"), "AMOUNT: -.5 is less than nothing"),
        (("budgets", "set", "user", "1", "--prr", "day"), "No such option '--prr'"),
        (("budgets", "set", "user", "nan", "--per", "day"), "AMOUNT: amount must be dollars"),
        (("budgets", "set", "user", "1e30", "--per", "day"), "AMOUNT: amount must be dollars"),
        (("budgets", "set", "user", "1"), "--per: say in which window"),
        (
            ("budgets", "set", "user", "5", "--unit", "concurrency", "--per", "day"),
            "--per: calls at once have no window",
        ),
        (("budgets", "set", "user:", "1", "--per", "day"), "WHOM: nobody stands behind the colon"),
        (("budgets", "set", "everything:x", "1", "--per", "day"), "has no members"),
        (("budgets", "set", "user:a\u202eb", "1", "--per", "day"), "printable characters"),
    ):
        code, _, err = run(capsys, *wrong)
        assert code in (1, 2)
        assert said in err, err
    assert run(capsys, "budgets", "list")[0] == 2 or limits(capsys) == []
