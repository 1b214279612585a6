"""The verbs of money: spend, prices, estimate, reconcile."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from headgate.cli.estimate import estimate
from headgate.cli.prices import prices
from headgate.cli.reconcile import reconcile
from headgate.cli.records import record, records
from headgate.cli.spend import month_start, spend
from headgate.cli.tables import print_csv, print_table
from headgate.core.clock import Ids
from headgate.core.errors import BadRequest, UnknownModel
from headgate.core.price import Rates
from headgate.core.record import AttemptRecord, Record, sum_costs
from headgate.core.usage import Usage
from headgate.stores.data import DataDir

VERBS = {
    "spend": spend,
    "prices": prices,
    "estimate": estimate,
    "reconcile": reconcile,
    "record": record,
    "records": records,
}
CONFIG = """
providers:
  openai: {key: none, prices: {gpt-4o: {input: 2.5, output: 10, cached: 1.25}}}
models:
  fast: {route: [openai/gpt-4o, sim/echo], max_tokens: 1000}
  sure: {route: [openai/gpt-4o]}
  vectors: {route: [sim/echo], price: {input: 0.02, output: 0}}
estimate: {warn_tokens: 20, warn_dollars: 0.5}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a configuration, and some calls in its data directory."""
    (tmp_path / "headgate.yaml").write_text(CONFIG)
    journal = DataDir(tmp_path / "data").open_journal()
    rates = Rates(2_500_000_000, 10_000_000_000, cached=1_250_000_000)
    usage = Usage(1000, 100, cached=400)
    answer = AttemptRecord("openai/gpt-4o", "openai", "gpt-4o", 0, usage=usage, cost=rates.cost(usage), rates=rates)
    plain = AttemptRecord("sim/echo", "sim", "echo", 0, usage=Usage(5, 5))
    for attempt, outcome in ((answer, "completed"), (answer, "failed"), (plain, "completed")):
        journal.append(
            Record(
                Ids().new(),
                time.time_ns(),
                model="fast",
                user="ann",
                dialect="openai_chat",
                outcome=outcome,
                usage=attempt.usage,
                attempts=[attempt],
                winner=0,
                cost=sum_costs([attempt]),
            )
        )
    journal.close()
    return tmp_path


def invoke(place: Path, verb: str, *arguments: str, given: str | None = None) -> Result:
    config = ["--config", str(place / "headgate.yaml"), "--data", str(place / "data")]
    return CliRunner().invoke(VERBS[verb], [*arguments, *config], input=given, standalone_mode=False)


def run(place: Path, verb: str, *arguments: str, given: str | None = None) -> Result:
    result = invoke(place, verb, *arguments, given=given)
    assert result.exception is None, result.exception
    return result


def test_spend_in_every_form(place: Path) -> None:
    """The table sums up, names what has no price, and charges failures to answers; JSON and CSV are exact."""
    shown = run(place, "spend")
    assert "$0.006  $0.003" in shown.stdout
    assert "TOTAL" in shown.stdout
    assert "for want of a price: sim/echo (1)" in shown.stderr
    found = json.loads(run(place, "spend", "--by", "user,deployment", "--format", "json").stdout)
    assert found["by"] == ["user", "deployment"]
    assert found["rows"][0] == {
        "user": "ann",
        "deployment": "openai/gpt-4o",
        "calls": 2,
        "completed": 1,
        "input_tokens": 2000,
        "output_tokens": 200,
        "cached_tokens": 800,
        "cost_usd": "0.006",
        "cost_per_success_usd": "0.006",
        "unpriced_calls": 0,
    }
    assert found["rows"][1]["cost_usd"] is None
    assert found["total"]["cost_usd"] == "0.006"
    assert found["unpriced"] == [{"deployment": "sim/echo", "calls": 1}]
    rows = list(csv.DictReader(io.StringIO(run(place, "spend", "--by", "day", "--format", "csv").stdout)))
    assert [(row["calls"], row["cost_usd"]) for row in rows] == [("3", "0.006")]
    assert json.loads(run(place, "spend", "--user", "nobody", "--format", "json").stdout)["rows"] == []
    assert run(place, "spend", "--since", "1h", "--until", "2030-01-01").exit_code == 0


def test_wrong_groups_are_told(place: Path) -> None:
    """An unknown group and none at all are errors that say what there is."""
    wrong = invoke(place, "spend", "--by", "colour").exception
    assert isinstance(wrong, BadRequest)
    assert "deployment, provider, day" in wrong.message
    assert "name at least one group" in str(invoke(place, "spend", "--by", ",").exception)


def test_a_month_begins_in_utc() -> None:
    """The default period is the calendar month of now."""
    assert month_start(1_772_500_000 * 10**9) == 1_772_323_200 * 10**9


def test_csv_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """A user's name that a spreadsheet would run as a formula is made a text."""
    print_csv(("user", "cost"), [('=cmd("x")', "-3"), ("+1", 5), ("ann", None)])
    assert capsys.readouterr().out.splitlines() == ["user,cost", '"\'=cmd(""x"")",-3', "'+1,5", "ann,"]
    print_csv(("user", "cost"), [("-1+cmd|' /C calc'!A0", "-0.25"), ("-2-3", -4)])
    assert capsys.readouterr().out.splitlines() == ["user,cost", "'-1+cmd|' /C calc'!A0,-0.25", "'-2-3,-4"]


def test_a_table_without_rows_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Where people look, not in what programs read."""
    print_table(("ID", "NAME"), [])
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("ID  NAME\n", "(none)\n")


def test_a_record_shows_its_arithmetic(place: Path) -> None:
    """The story has the cost and what it is the sum of; the list has it too."""
    lines = [json.loads(line) for line in run(place, "records", "--format", "jsonl").stdout.splitlines()]
    priced = next(line for line in lines if line["cost"])
    story = run(place, "record", priced["id"]).stdout
    assert "cost      $0.003\n" in story
    assert "600 input x $2.50/M + 400 cached x $1.25/M + 100 output x $10.00/M = $0.003" in story
    unpriced = next(line for line in lines if line["cost"] is None)
    assert "unknown: the deployment had no price" in run(place, "record", unpriced["id"]).stdout
    assert "unpriced" in run(place, "records").stdout


def test_prices_are_listed(place: Path) -> None:
    """Each deployment's price and its source; how to give one to what has none; the exit code says if all have."""
    shown = run(place, "prices")
    assert shown.return_value == 1
    assert "$2.50 input, $10.00 output, $1.25 cached per million tokens" in shown.stdout
    assert "configuration" in shown.stdout
    assert 'write `providers.sim.prices: {"echo": {input: …, output: …}}`' in shown.stdout
    sure = run(place, "prices", "sure", "--format", "json")
    assert sure.return_value == 0
    assert json.loads(sure.stdout)["prices"][0]["nano_dollars_per_million"]["input"] == 2_500_000_000
    assert isinstance(invoke(place, "prices", "nope").exception, UnknownModel)


def test_prices_leave_no_data_directory_behind(tmp_path: Path) -> None:
    """Prices of the table are told before anything is served, and looking makes nothing."""
    (tmp_path / "headgate.yaml").write_text(
        CONFIG.replace(", prices: {gpt-4o: {input: 2.5, output: 10, cached: 1.25}}", "")
    )
    assert json.loads(run(tmp_path, "prices", "sure", "--format", "json").stdout)["prices"][0]["source"] != ""
    assert [one.name for one in tmp_path.iterdir()] == ["headgate.yaml"]


def test_an_estimate_from_text_file_and_input(place: Path) -> None:
    """Tokens and the range of costs at each deployment; large ones warn; a file, standard input or a text."""
    ask: dict[str, Any] = {
        "model": "sure",
        "messages": [{"role": "user", "content": "Hello, gate!"}],
        "max_tokens": 100,
    }
    (place / "ask.json").write_text(json.dumps(ask))
    for result in (
        run(place, "estimate", str(place / "ask.json"), "--format", "json"),
        run(place, "estimate", "--format", "json", given=json.dumps(ask)),
        run(place, "estimate", "--text", "Hello, gate!", "--model", "sure", "--max-tokens", "100", "--format", "json"),
    ):
        found = json.loads(result.stdout)
        assert found["input_tokens"] == {"min": 11, "max": 11}
        assert found["cost_usd"] == {"min": "0.0000275", "max": "0.0010275"}
        assert found["warnings"] == []
    (one,) = found["deployments"]
    assert one["method"] == "tokenizer"
    assert float(one["reserved_usd"]) > 0.0010275
    shown = run(place, "estimate", "--text", "word " * 50, "--model", "fast", "--max-tokens", "90000")
    assert "sim/echo" in shown.stdout
    assert "unpriced" in shown.stdout
    assert "counted by characters" in shown.stdout
    assert "input tokens are over the 20 to warn above" in shown.stderr
    assert "is over the $0.50 to warn above" in shown.stderr
    assert "sim/echo has no price; write" in shown.stderr


def test_an_estimate_of_other_dialects(place: Path) -> None:
    """Anthropic's requests and embeddings are recognised by their fields, or named."""
    talk = {"model": "sure", "max_tokens": 10, "system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}]}
    found = json.loads(run(place, "estimate", "--format", "json", given=json.dumps(talk)).stdout)
    assert found["dialect"] == "anthropic"
    assert found["max_output_tokens"] == 10
    found = json.loads(run(place, "estimate", "--format", "json", given='{"model":"vectors","input":"one two"}').stdout)
    assert (found["dialect"], found["max_output_tokens"]) == ("embeddings", 0)
    named = run(place, "estimate", "--dialect", "anthropic", "--text", "Hi", "--model", "sure", "--format", "json")
    assert json.loads(named.stdout)["dialect"] == "anthropic"


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (["--text", "hi"], None, "model"),
        (["--text", "hi", "--model", "nope"], None, "is not configured"),
        (["--text", "hi", "file.json"], None, "not both"),
        (["no-such-file.json"], None, "can not read"),
        ([], "[1]", "not a JSON object"),
        (["--dialect", "latin", "--text", "hi", "--model", "sure"], None, "no dialect 'latin'"),
    ],
)
def test_a_wrong_estimate_is_told(place: Path, arguments: list[str], given: str | None, said: str) -> None:
    """What is missing or wrong is named."""
    error = invoke(place, "estimate", *arguments, given=given).exception
    assert isinstance(error, BadRequest | UnknownModel)
    assert said in error.message


def test_an_invoice_that_agrees_and_one_that_does_not(place: Path) -> None:
    """Exit code 0 and no rows, or 1 and the difference by name, in every form."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    invoice = place / "invoice.csv"
    header = "start_time_iso,model,num_model_requests,input_tokens,output_tokens,input_cached_tokens\n"
    invoice.write_text(f"{header}{today}T00:00:00+00:00,gpt-4o-2024-08-06,2,2000,200,800\n")
    same = run(place, "reconcile", str(invoice))
    assert same.return_value == 0
    assert same.stdout == f"openai, {today}: 1 days and models, 0 differ\n"
    assert "agrees" in run(place, "reconcile", str(invoice), "--all").stdout
    invoice.write_text(f"{header}{today}T00:00:00+00:00,gpt-4o-2024-08-06,3,3000,200,800\n{today},gpt-4.1,1,5,5,0\n")
    other = run(place, "reconcile", str(invoice))
    assert other.return_value == 1
    assert "requests invoice 3, ledger 2, +1" in other.stdout
    assert "only on the invoice" in other.stdout
    rows = json.loads(run(place, "reconcile", str(invoice), "--format", "json").stdout)["rows"]
    assert [row["state"] for row in rows] == ["only on the invoice", "differs"]
    assert rows[1]["ledger"]["cost_usd"] == "0.006"
    lines = list(csv.DictReader(io.StringIO(run(place, "reconcile", str(invoice), "--format", "csv").stdout)))
    assert (lines[1]["invoice_input_tokens"], lines[1]["ledger_input_tokens"]) == ("3000", "2000")
    assert run(place, "reconcile", str(invoice), "--provider", "sim").return_value == 1


def test_a_wrong_reconciliation_is_told(place: Path) -> None:
    """No provider, no lines in the period, and wrong options are errors."""
    invoice = place / "invoice.csv"
    invoice.write_text("date,cost\n2026-03-01,1\n")
    for arguments, said in (
        ([], "--provider NAME"),
        (["--provider", "openai", "--since", "2027-01-01"], "no line in this period"),
        (["--column", "price=x"], "write FIELD=NAME"),
        (["--alias", "x"], "write NAME=VALUE"),
    ):
        error = invoke(place, "reconcile", str(invoice), *arguments).exception
        assert error is not None
        assert said in str(getattr(error, "message", error)), arguments
    invoice.write_bytes(b"date,cost\n\xff\xfe,1\n")
    assert "UTF-8" in invoke(place, "reconcile", str(invoice)).exception.message  # type: ignore[union-attr]
