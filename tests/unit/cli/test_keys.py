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
