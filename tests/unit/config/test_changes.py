"""What differs between two Settings is named by path, without a value; what is fixed stays."""

from __future__ import annotations

import pytest

from headgate.config.changes import FIXED_SERVER, changes, hold, secrets, summary
from headgate.config.load import load_settings
from headgate.config.settings import Settings

BEFORE = """\
providers:
  up: {dialect: openai_chat, url: "http://127.0.0.1:9000/v1", key: "env:UP_KEY", headers: {x-team: "env:TEAM"}}
models:
  fast: {route: [up/m-1]}
  slow: {route: [up/m-2]}
"""


def read(text: str, **environ: str) -> Settings:
    """Settings of a text."""
    return load_settings(text=text, environ={"UP_KEY": "sk-one", "TEAM": "t-one", **environ})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BEFORE, []),
        (BEFORE + "# a comment\n", []),
        (BEFORE + "  new: {route: [up/m-3]}\n", ["added models.new"]),
        (BEFORE.replace("  slow: {route: [up/m-2]}\n", ""), ["removed models.slow"]),
        (BEFORE.replace("[up/m-2]", "[up/m-2, sim/echo]"), ["changed models.slow.route"]),
        (BEFORE.replace("9000", "9001"), ["changed providers.up.url"]),
        (BEFORE.replace("dialect: openai_chat", "type: vllm"), ["changed providers.up.type"]),
        (
            BEFORE.replace("  slow", "  other") + "server: {body_limit: 2MiB, strict_translation: true}\n",
            [
                "removed models.slow",
                "added models.other",
                "changed server.body_limit",
                "changed server.strict_translation",
            ],
        ),
        (
            BEFORE + "  odd.name: {route: [up/m-3]}\ndata: {journal: {fsync: never}}\n",
            ['added models["odd.name"]', "changed data.journal.fsync"],
        ),
    ],
)
def test_changes_are_named_by_path(text: str, expected: list[str]) -> None:
    """One entry per model or provider that came or went, and per setting that is another."""
    assert changes(read(BEFORE), read(text)) == expected


def test_a_changed_secret_is_a_change_and_stays_one() -> None:
    """Another value behind the same reference is told by its setting's name alone."""
    told = changes(read(BEFORE), read(BEFORE, UP_KEY="sk-two", TEAM="t-two"))
    assert len(told) == 2
    assert told[1] == "changed providers.up.headers"
    assert told[0].startswith("changed providers.up.key")
    assert "sk-" not in "".join(told)
    assert "t-two" not in "".join(told)


def test_a_summary_is_one_line() -> None:
    """By kind, long lists cut short; nothing is said in words."""
    assert summary([]) == "nothing changed"
    assert summary(["removed models.a", "added models.b", "removed models.c"]) == (
        "added models.b; removed models.a, models.c"
    )
    assert summary([f"added models.m{number}" for number in range(40)]).endswith(", models.m11 and 28 more")


def test_what_is_fixed_stays_and_is_named() -> None:
    """The rest of a section applies although one of its settings can not."""
    running = read(BEFORE)
    wanted = read(BEFORE + "server: {port: 9999, workers: 3, body_limit: 2MiB}\ndata: {dir: /elsewhere}\n")
    held, waiting = hold(wanted, running, FIXED_SERVER)
    assert waiting == ["server.port", "server.workers", "data.dir"]
    assert (held.server.port, held.server.workers) == (running.server.port, 1)
    assert held.server.body_limit == 2 * 1024 * 1024
    assert held.data.dir == running.data.dir
    assert changes(running, held) == ["changed server.body_limit"]
    assert hold(running, running, FIXED_SERVER) == (running, [])


def test_every_secret_is_found() -> None:
    """Keys, headers, the admin key: wherever one stands."""
    settings = read(BEFORE, HEADGATE_ADMIN_KEY="a" * 32)
    found = {secret.reference: path for path, secret in secrets(settings)}
    assert found.keys() == {"env:UP_KEY", "env:TEAM", "env:HEADGATE_ADMIN_KEY"}
    assert found["env:TEAM"] == "providers.up.headers.x-team"
