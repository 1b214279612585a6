"""``headgate stats``: how calls went, for people and programs."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headgate.cli.stats import stats
from headgate.core.clock import Ids
from headgate.core.errors import BadRequest
from headgate.core.record import AttemptRecord, Record, sum_costs
from headgate.core.usage import Usage
from headgate.observe.summary import parse_step
from headgate.stores.data import DataDir

MINUTE = 60 * 10**9


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A data directory with calls of two users, still in the journal."""
    journal, ids = DataDir(tmp_path / "data").open_journal(), Ids()
    for number in range(20):
        usage = Usage(100, 50)
        attempt = AttemptRecord("up/gpt", "up", "gpt", 0, outcome="completed", usage=usage, cost=1_000_000)
        journal.append(
            Record(
                ids.new(),
                time.time_ns() - number * MINUTE,
                model="fast",
                user="ann" if number % 4 else "bob",
                dialect="openai_chat",
                stream=True,
                outcome="failed" if number == 4 else "completed",
                error="timeout" if number == 4 else "",
                finish="stop",
                status=504 if number == 4 else 200,
                usage=usage,
                attempts=[attempt],
                winner=-1 if number == 4 else 0,
                cost=sum_costs([attempt]),
                first_content_us=200_000,
                duration_us=1_200_000,
            )
        )
    journal.close()
    return tmp_path / "data"


def run(place: Path, *arguments: str) -> Result:
    return CliRunner().invoke(stats, [*arguments, "--data", str(place)], catch_exceptions=False, standalone_mode=False)


def test_the_table(place: Path) -> None:
    """A row for each group, the total, errors by type, finish reasons."""
    lines = run(place, "--by", "user").output.splitlines()
    ann = next(line for line in lines if line.startswith("ann")).split()
    assert ann[:3] == ["ann", "15", "0.00%"]
    assert next(line for line in lines if line.startswith("TOTAL")).split()[1:3] == ["20", "5.00%"]
    assert ["timeout", "1", "5.00%"] in [line.split() for line in lines]
    assert ["stop", "20", "100.00%"] in [line.split() for line in lines]


def test_for_programs(place: Path) -> None:
    """JSON has every figure, money exact; CSV the ones with fixed columns; filters and order hold."""
    told = json.loads(run(place, "--by", "user", "--order", "failed", "--format", "json").stdout)
    assert [(row["value"], row["calls"], row["failed"]) for row in told["rows"]] == [("bob", 5, 1), ("ann", 15, 0)]
    total = told["total"]
    assert (total["cost_usd"], total["lost_cost_usd"]) == ("0.02", "0.001")
    assert total["latency_ms"]["p95"] == pytest.approx(1200, rel=0.01)
    assert total["first_content_ms"]["p50"] == pytest.approx(200, rel=0.01)
    assert total["tokens_per_second"]["p99"] == pytest.approx(50, rel=0.01)
    assert total["statuses"] == {"200": 19, "504": 1}
    told = json.loads(run(place, "--since", "5m", "--user", "bob", "--format", "json").stdout)
    assert told["total"]["calls"] == 2
    (row,) = csv.DictReader(io.StringIO(run(place, "--format", "csv").stdout))
    assert (row["model"], row["calls"], row["cost_usd"]) == ("fast", "20", "0.02")


def test_nothing_at_all(tmp_path: Path) -> None:
    """Without calls there is a total of nothing."""
    DataDir(tmp_path / "data")
    assert run(tmp_path / "data").output.splitlines()[-1].split()[:2] == ["TOTAL", "0"]
    assert run(tmp_path / "data", "--format", "csv").stdout == "model\n"


def test_steps() -> None:
    """A step is named, or fits the length so that a chart has about a hundred points."""
    assert parse_step("5m", 1) == 5 * MINUTE
    assert parse_step("", 60 * MINUTE) == MINUTE
    assert parse_step("", 90 * 1440 * MINUTE) == 1440 * MINUTE
    for wrong in ("0m", "5", "1w", "x"):
        with pytest.raises(BadRequest, match="step"):
            parse_step(wrong, 1)
