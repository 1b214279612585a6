"""``headgate check``: each item's verdict follows from configuration and records, with evidence and mend."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from headgate.cli.check import check
from headgate.core.clock import Ids
from headgate.core.record import LOAD_TAG, AttemptRecord, Record
from headgate.core.usage import Usage
from headgate.load.kept import FOLDER, LoadMark, keep_mark, read_marks
from headgate.stores.allowance import LimitSpec
from headgate.stores.checkup import read_calls, read_keys, read_sample
from headgate.stores.data import DataDir
from headgate.stores.keys import KeySpec
from headgate.stores.registry import Registry

READY = """
providers:
  one: {type: openai, url: "http://127.0.0.1:9/v1", key: none, prices: {"*": {input: 1, output: 2}}}
  two: {type: anthropic, url: "https://two.example.com/v1", key: none, prices: {"*": {input: 1, output: 2}}}
models:
  fast: {route: [one/m, two/m]}
"""
LIMITS = "limits: [{scope: user, unit: requests, per: minute, amount: 60}, {amount: 9, unit: dollars, per: day}]\n"
ALERTS = """
alerts:
  receivers: {ops: {type: webhook, url: "https://hooks.example.com/x"}}
  rules: {money: {kind: budget, amount: 100, per: month}}
"""
DAY_NS = 86_400_000_000_000
Check = Callable[..., Result]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's environment counts."""
    for name in ("HEADGATE_ADMIN_KEY", "HEADGATE_ADMIN_KEY_FILE", "HEADGATE_CONFIG", "HEADGATE_DATA", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def call(**fields: Any) -> Record:
    """A conversation that was streamed and completed at the first try; keywords change it."""
    usage = Usage(12, 34)
    won = AttemptRecord(
        "one/m", "one", "m", 100, 900, 9000, "completed", 200, finish="stop", usage=usage, max_tokens=50, cost=80
    )
    base: dict[str, Any] = {
        "time_ns": time.time_ns(),
        "key_id": "key_1",
        "dialect": "openai_chat",
        "model": "fast",
        "stream": True,
        "outcome": "completed",
        "finish": "stop",
        "usage": usage,
        "attempts": [won],
        "winner": 0,
        "first_content_us": 1000,
        "duration_us": 9500,
        "cost": 80,
    }
    return Record(Ids().new(), **{**base, **fields})


def saved() -> Record:
    """A call that the second provider answered when the first one was overloaded."""
    first = AttemptRecord("one/m", "one", "m", 0, ended_us=90, outcome="failed", status=503, max_tokens=50, cost=0)
    second = AttemptRecord(
        "two/m", "two", "m", 100, 900, 9000, "completed", 200, usage=Usage(1, 1), max_tokens=50, cost=3
    )
    return call(attempts=[first, second], winner=1)


def fill(path: Path, *records: Record) -> DataDir:
    """Makes a data directory with these calls."""
    data = DataDir(path)
    journal = data.open_journal()
    for record in records:
        journal.append(record)
    journal.close()
    return data


def run(tmp_path: Path, *arguments: str, config: str = READY) -> tuple[int, dict[str, dict[str, Any]]]:
    """Runs the check on ``tmp_path``; returns its exit code and its items by id."""
    (tmp_path / "headgate.yaml").write_text(config)
    options = ["--config", str(tmp_path / "headgate.yaml"), "--format", "json"]
    if (tmp_path / "data").exists():
        options += ["--data", str(tmp_path / "data")]
    with contextlib.chdir(tmp_path):  # where the tests run there may be a data directory of somebody's
        result = CliRunner().invoke(check, [*options, *arguments], catch_exceptions=False, standalone_mode=False)
    return result.return_value, {item["id"]: item for item in json.loads(result.stdout)["items"]}


def test_a_deployment_that_has_everything_passes(tmp_path: Path) -> None:
    """Keys, a fallback that has worked, streamed answers and a load test make the exit code 0, strict too."""
    data = fill(tmp_path / "data", *(call(user="ann") for _ in range(30)), saved())
    engine = data.open_engine()
    registry = Registry(engine, "test")
    registry.create_key(KeySpec(name="root", role="admin"))
    engine.dispose()
    keep_mark(
        data.path,
        LoadMark(
            time_ns=time.time_ns(),
            target="http://x",
            source="t",
            speed=3,
            calls=900,
            errors=1,
            seconds=60,
            per_minute=900,
        ),
    )
    code, items = run(tmp_path, "--strict", config=READY + LIMITS + ALERTS)
    assert [item for item in items.values() if item["verdict"] == "fail" or item["unproven"]] == []
    assert code == 0
    assert items["fallback"]["verdict"] == "pass"
    assert items["fallback"]["figures"] == {"exercised": 1}
    assert items["load-tested"]["figures"]["per_minute"] == 900
    assert items["upstream-tls"]["evidence"].startswith("two,")
    assert all(item["evidence"] for item in items.values())


def test_calls_of_the_command_line_need_no_key(tmp_path: Path) -> None:
    """Only what came over HTTP came without a key that it should have had; the library's calls have status 0."""
    fill(tmp_path / "data", call(key_id="", status=0), call(key_id="", status=0), call(key_id="", status=200))
    assert "; 1 call came without one" in run(tmp_path)[1]["keys"]["evidence"]


@pytest.mark.parametrize(("payloads", "calls", "days"), [(7, 90, "7 days"), (60, 30, "30 days")])
def test_how_long_payloads_are_kept(tmp_path: Path, payloads: int, calls: int, days: str) -> None:
    """Payloads go with their call, or before it."""
    config = f"{READY}\ndata: {{payloads: full, payload_days: {payloads}, retention_days: {calls}}}\n"
    assert f"kept for {days} as it came" in run(tmp_path, config=config)[1]["payloads"]["evidence"]


def test_limits_in_the_store_count(tmp_path: Path) -> None:
    """What an admin has set holds as what the file says; a limit on one member alone bounds nothing."""
    data = fill(tmp_path / "data", call(outcome="refused", error="rate_limit_exceeded", attempts=[], winner=-1))
    engine = data.open_engine()
    Registry(engine, "test").set_limit(LimitSpec(scope="user", value="ann", amount="1", unit="dollars", per="day"))
    assert {id: run(tmp_path)[1][id]["verdict"] for id in ("user-rates", "budget")} == dict.fromkeys(
        ("user-rates", "budget"), "fail"
    )
    Registry(engine, "test").set_limit(LimitSpec(scope="user", amount="1", unit="dollars", per="day"))
    engine.dispose()
    _, items = run(tmp_path)
    assert {id: items[id]["verdict"] for id in ("user-rates", "budget")} == dict.fromkeys(
        ("user-rates", "budget"), "pass"
    )
    assert items["user-rates"]["figures"]["refused"] == 1


def test_a_secret_of_the_gateways_own_environment_is_not_needed(tmp_path: Path) -> None:
    """A provider's key may be in the gateway's environment alone. Other faults still end the check."""
    _, items = run(tmp_path, config=READY.replace("key: none", "key: env:NOWHERE_SET_KEY", 1))
    assert "keys" in items
    told = CliRunner().invoke(check, ["--config", str(tmp_path / "headgate.yaml")], standalone_mode=False)
    assert "note: env:NOWHERE_SET_KEY is not here" in told.stderr
    (tmp_path / "headgate.yaml").write_text("providers: {one: {type: nothing}}\n")
    options = ["--config", str(tmp_path / "headgate.yaml")]
    assert CliRunner().invoke(check, options, standalone_mode=False).return_value == 2


def test_a_fresh_gateway_is_told_what_to_mend(tmp_path: Path) -> None:
    """Without records an item is n/a, never a pass; what fails has a mend; ``--strict`` fails the unproven."""
    code, items = run(tmp_path)
    assert code == 1
    assert {id for id, item in items.items() if item["verdict"] == "fail"} >= {"keys", "admin-key", "load-tested"}
    assert all(item["mend"] for item in items.values() if item["verdict"] == "fail")
    unproven = {id for id, item in items.items() if item["unproven"]}
    assert {"logged", "fallback", "streaming", "max-tokens", "recorder"} <= unproven
    assert not (tmp_path / "data").exists()
    result = CliRunner().invoke(
        check, ["--config", str(tmp_path / "headgate.yaml"), "--strict"], catch_exceptions=False, standalone_mode=False
    )
    assert result.return_value == 1
    assert len(result.stdout.splitlines()) >= 20
    assert "logged" in result.stdout.splitlines()[-1]


LONG = {"stream": False, "duration_us": 5_000_000, "feature": "chat"}
BAD_RECORDS = {
    "fallback": [call() for _ in range(5)],
    "streaming": [call(**LONG) for _ in range(5)],
    "logged": [call(usage=None, attempts=[], winner=-1, finish="")],
    "max-tokens": [call(attempts=[AttemptRecord("one/m", "one", "m", 0, usage=Usage(1, 1))])],
    "prices": [call(cost=None, attempts=[AttemptRecord("one/m", "one", "m", 0, usage=Usage(1, 1))])],
    "retention": [call(time_ns=time.time_ns() - 100 * DAY_NS)],
}


@pytest.mark.parametrize("id", BAD_RECORDS)
def test_what_the_records_show_counts(tmp_path: Path, id: str) -> None:
    """A right configuration does not help where the calls show otherwise."""
    fill(tmp_path / "data", *BAD_RECORDS[id])
    code, items = run(tmp_path)
    assert code == 1
    assert items[id]["verdict"] == "fail", items[id]
    assert items[id]["mend"]


BAD_CONFIGS = {
    "fallback": "models: {fast: {route: [sim/echo]}}",
    "retries": "models: {fast: {route: [sim/echo]}}\ndefaults: {retry: {attempts: 0}}",
    "breaker": "models: {fast: {route: [sim/echo], breaker: {enabled: false}}}",
    "timeouts": "models: {fast: {route: [sim/echo], timeouts: {first_content: 1h}}}",
    "network": "server: {host: 0.0.0.0}",
    "upstream-tls": 'providers: {far: {type: vllm, url: "http://far.example.com/v1"}}',
    "prices": 'providers: {far: {type: vllm, url: "https://far.example.com/v1"}}\nmodels: {m: {route: [far/m]}}',
    "payloads": "data: {payloads: full}",
}


@pytest.mark.parametrize("id", BAD_CONFIGS)
def test_what_the_configuration_says_counts(tmp_path: Path, id: str) -> None:
    """Each unsafe setting is found, and named with its mend."""
    _, items = run(tmp_path, config=BAD_CONFIGS[id])
    assert items[id]["verdict"] == "fail", items[id]
    assert items[id]["mend"]


@pytest.mark.parametrize(
    ("config", "evidence"),
    [
        ("", "no rule watches what calls cost"),
        ("alerts: {rules: {e: {kind: error_rate}}}", "1 rule on other things"),
        ("alerts: {rules: {c: {kind: cost_spike}}}", "c only write to the log"),
    ],
)
def test_an_alert_that_nobody_hears_is_none(tmp_path: Path, config: str, evidence: str) -> None:
    """A rule on something else, or one whose messages only reach the log, does not count."""
    _, items = run(tmp_path, config=config or "{}")
    assert items["cost-alerts"]["verdict"] == "fail"
    assert evidence in items["cost-alerts"]["evidence"]


def test_an_open_data_directory_is_found(tmp_path: Path) -> None:
    """The permissions that count are those from before this program mends them."""
    data = fill(tmp_path / "data")
    data.path.chmod(0o755)
    _, items = run(tmp_path)
    assert items["data-private"]["verdict"] == "fail"
    assert "0755" in items["data-private"]["evidence"]


def test_refused_records_are_found(tmp_path: Path) -> None:
    """Records that the database would not hold make the recorder's item fail."""
    data = fill(tmp_path / "data")
    (data.journal_path / "refused.corrupt").write_text("{}\n{}\n")
    _, items = run(tmp_path)
    assert items["recorder"]["verdict"] == "fail"
    assert items["recorder"]["figures"]["refused"] == 2


@pytest.mark.parametrize(
    ("errors", "days_ago", "per_minute", "verdict"),
    [(0, 1, 20, "pass"), (0, 1, 15, "fail"), (50, 1, 20, "fail"), (0, 200, 20, "fail")],
    ids=["borne", "too little", "too many errors", "too old"],
)
def test_a_load_test_is_compared_with_the_peak(
    tmp_path: Path, errors: int, days_ago: int, per_minute: int, verdict: str
) -> None:
    """Twice the busiest minute, at most one error in a hundred, at most 90 days ago."""
    minute = time.time_ns() // 60_000_000_000 * 60_000_000_000 - 3_600_000_000_000
    data = fill(tmp_path / "data", *(call(time_ns=minute + n) for n in range(10)))
    fill(tmp_path / "data", *(call(time_ns=minute + n, tags={LOAD_TAG: "x"}) for n in range(100)))
    keep_mark(
        data.path,
        LoadMark(
            time_ns=time.time_ns() - days_ago * DAY_NS,
            target="http://x",
            source="t",
            speed=3,
            calls=1000,
            errors=errors,
            seconds=60,
            per_minute=per_minute,
        ),
    )
    _, items = run(tmp_path)
    assert items["load-tested"]["verdict"] == verdict, items["load-tested"]
    assert items["load-tested"]["figures"]["peak_per_minute"] == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "absent.yaml"], "can not read the configuration"),
        (["--data", "absent"], "no data directory"),
        (["--config", "wrong.yaml"], "unknown setting"),
    ],
)
def test_what_can_not_be_checked_is_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    """No configuration, no data directory or a wrong setting is neither a pass nor a failure."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.yaml").write_text("modles: {}\n")
    result = CliRunner().invoke(check, arguments, catch_exceptions=False, standalone_mode=False)
    assert result.return_value == 2
    assert message in result.stderr


def test_figures_are_the_same_on_every_store(data: DataDir) -> None:
    """SQLite and Postgres count alike; what a load test made is left out."""
    minute = time.time_ns() // 60_000_000_000 * 60_000_000_000 - 3_600_000_000_000
    keyless: dict[str, Any] = {"key_id": "", "status": 502}
    records = [
        call(time_ns=minute, user="ann", prompt="p"),
        call(time_ns=minute + 1, user="ann", tags={"app": "x"}),
        call(time_ns=minute + 2, tags={LOAD_TAG: "1"}),
        call(time_ns=minute - 60_000_000_000, user="bob", outcome="failed", attempts=[], winner=-1, **keyless),
        call(time_ns=minute - 2 * 60_000_000_000, outcome="refused", attempts=[], winner=-1, usage=None, cost=0),
        saved(),
    ]
    from headgate.stores.ingest import Ingest

    engine = data.open_engine()
    try:
        Ingest(engine, data.owner).store(records, [], {}, lambda refused: pytest.fail(str(refused)))
        found = read_calls(engine, minute - DAY_NS)
        assert (found.total, found.completed, found.failed, found.refused) == (5, 3, 1, 1)
        assert (found.answers, found.with_usage, found.with_times, found.with_finish) == (3, 3, 3, 3)
        assert (found.fallbacks, found.users, found.keyless, found.prompts, found.stored) == (1, 2, 1, 1, 6)
        assert (found.peak, found.peak_ns) == (2, minute)
        assert len(read_sample(engine, minute - DAY_NS)) == 5
        Registry(engine, "test").create_key(KeySpec(name="root", role="admin", payloads="full"))
        Registry(engine, "test").revoke_key(Registry(engine, "test").create_key(KeySpec(name="gone")).info.id)
        keys = read_keys(engine, time.time_ns())
        assert (keys.valid, keys.admins, keys.full_payloads) == (1, 1, 1)
    finally:
        engine.dispose()


def test_a_file_that_is_no_load_test_proves_nothing(tmp_path: Path) -> None:
    """Half a file, or somebody else's, is left out."""
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "1.json").write_text('{"time_ns": ')
    assert read_marks(tmp_path) == []
