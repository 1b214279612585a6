"""`headgate keys`: made once shown, listed without secrets, revoked by id or name."""

from __future__ import annotations

import json

from headgate.cli.main import main


def run(capsys, *args: str) -> tuple[int, str, str]:
    code = main(["keys", *args])
    out, err = capsys.readouterr()
    return code, out, err


def test_life_of_a_key(tmp_path, capsys, monkeypatch) -> None:
    """create prints the key alone with --quiet; list shows everything but it; revoke ends it."""
    monkeypatch.chdir(tmp_path)
    data = ("--data", str(tmp_path / "d"))
    code, out, err = run(capsys, "create", *data, "--name", "ci", "--quiet")
    assert (code, err) == (0, "")
    assert out.startswith("hg-")
    assert len(out.split()) == 1
    secret = out.strip()
    flags = ("--expires", "30d", "--models", "a,b", "--direct", "--role", "admin", "--team", "t")
    code, out, err = run(capsys, "create", *data, "--name", "app", *flags)
    assert code == 0
    assert "can not be shown again" in err
    code, out, _ = run(capsys, "list", *data)
    assert secret not in out
    assert [line.split()[1:4] for line in out.splitlines()[1:]] == [
        ["ci", "developer", "active"],
        ["app", "admin", "active"],
    ]
    assert "a,b +direct" in out
    code, out, _ = run(capsys, "revoke", *data, "ci")
    assert code == 0
    code, out, _ = run(capsys, "list", *data, "--format", "jsonl")
    states = {one["name"]: one for one in map(json.loads, out.splitlines())}
    assert states["ci"]["state"] == "revoked"
    assert states["app"]["models"] == ["a", "b"]
    assert states["app"]["team"] == "t"
    assert states["app"]["expires_ns"] - states["app"]["created_ns"] == 30 * 86400 * 10**9


def test_a_team_that_is_not_there_is_told(tmp_path, capsys, monkeypatch) -> None:
    """The key is made, but a slip in its team's name, which no budget would hold, does not go by unseen."""
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "create", "--data", "d", "--name", "x", "--team", "grwth", "--quiet")
    assert (code, err) == (0, "note: there is no team 'grwth'; headgate teams create makes one\n")
    assert out.startswith("hg-")
    code, _, err = run(capsys, "update", "x", "--data", "d", "--feature", "mail")
    assert (code, err) == (0, "")


def test_mistakes(tmp_path, capsys, monkeypatch) -> None:
    """Wrong values are usage errors; a missing directory is not made by list; an unknown key is a failure."""
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "create", "--name", "x", "--expires", "soon")[0] == 2
    assert run(capsys, "create", "--name", "x", "--models", " , ")[0] == 2
    assert run(capsys, "create", "--name", "x", "--payloads", "some")[0] == 2
    code, _, err = run(capsys, "list", "--data", str(tmp_path / "none"))
    assert code == 2
    assert err == f"Error: there is no data directory at {tmp_path}/none; name the gateway's own with --data\n"
    assert not (tmp_path / "none").exists()
    assert run(capsys, "create", "--name", "x", "--data", "d", "--role", "king")[0] == 1
    code, _, err = run(capsys, "revoke", "nobody", "--data", "d")
    assert code == 1
    assert err.startswith("Error: no key has the id or name 'nobody'")


def test_a_key_is_changed_and_shown(tmp_path, capsys, monkeypatch) -> None:
    """update changes what is named and nothing else, show tells all but the secret, rotate prints the new key."""
    monkeypatch.chdir(tmp_path)
    data = ("--data", "d")
    limits = ("--networks", "10.0.0.0/8,192.0.2.7", "--require-tag", "app", "--metadata", "ticket=OPS-1")
    secret = run(capsys, "create", *data, "--name", "app", *limits, "--quiet")[1].strip()
    code, out, _ = run(capsys, "update", *data, "app", "--expires", "30d", "--models", "gpt-*", "--direct")
    shown = _show(capsys, data)
    assert (code, out) == (0, f"updated {shown['id']} (app)\n")
    assert (shown["models"], shown["direct"], shown["networks"]) == (["gpt-*"], True, ["10.0.0.0/8", "192.0.2.7/32"])
    assert (shown["required_tags"], shown["metadata"]) == (["app"], {"ticket": "OPS-1"})
    assert shown["expires_ns"] > shown["created_ns"]
    gone = (
        "--expires",
        "never",
        "--models",
        "all",
        "--no-direct",
        "--networks",
        "",
        "--require-tag",
        "",
        "--metadata",
        "",
    )
    assert run(capsys, "update", *data, "app", *gone)[0] == 0
    shown = _show(capsys, data)
    assert [shown[name] for name in ("expires_ns", "models", "direct", "networks", "required_tags", "metadata")] == [
        *(None, None, False, None, [], {}),
    ]
    code, out, err = run(capsys, "rotate", *data, "app")
    assert code == 0
    assert out.strip() != secret
    assert "the old key is valid until" in err
    code, out, err = run(capsys, "rotate", *data, "app", "--overlap", "0s", "--quiet")
    assert (code, err, len(out.strip())) == (0, "", 46)
    text = run(capsys, "show", *data, "app")[1]
    assert "networks       all" in text
    assert secret not in text
    assert out.strip() not in text


def _show(capsys, data) -> dict[str, object]:
    return json.loads(run(capsys, "show", *data, "app", "--format", "json")[1])


def test_changes_that_make_no_sense(tmp_path, capsys, monkeypatch) -> None:
    """Wrong usage is 2, a refused change 1; the message never repeats a key that was given for an id."""
    monkeypatch.chdir(tmp_path)
    data = ("--data", "d")
    secret = run(capsys, "create", *data, "--name", "app", "--quiet")[1].strip()
    assert run(capsys, "update", *data, "app")[0] == 2
    assert run(capsys, "update", *data, "app", "--metadata", "x")[0] == 2
    assert run(capsys, "update", *data, "app", "--expires", "2001-01-01")[0] == 2
    assert run(capsys, "rotate", *data, "app", "--overlap", "soon")[0] == 2
    for wrong in (("--networks", "here"), ("--owner", "nobody"), ("--name", ""), ("--require-tag", "a,b")):
        assert run(capsys, "update", *data, "app", *wrong)[0] == 1
    for verb in ("revoke", "show", "rotate"):
        code, _, err = run(capsys, verb, *data, secret)
        assert code == 1
        assert secret not in err
    assert run(capsys, "revoke", *data, "app")[0] == 0
    assert run(capsys, "rotate", *data, "app")[0] == 1
