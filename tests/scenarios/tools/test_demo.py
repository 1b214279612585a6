"""``make demo``: the data it makes is what the product itself reads, and the same at every start."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_the_demo_makes_weeks_of_calls_that_the_verbs_read(tmp_path: pathlib.Path) -> None:
    """A demo has calls of every kind: costs, failures with a fallback, refusals, sessions, payloads; made only once."""
    command = [sys.executable, ROOT / "scripts" / "demo", "--dir", tmp_path, "--calls", "1500", "--no-serve"]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "calls of 28 days" in first.stdout
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "has its data" in again.stdout
    calls = [json.loads(line) for line in _verb(tmp_path, "records", "--format", "jsonl").splitlines()]
    assert len(calls) > 1000
    assert {call["outcome"] for call in calls} == {"completed", "cancelled", "failed", "refused"}
    assert len({call["time"][:10] for call in calls}) >= 28
    assert all(call["cost"] is not None for call in calls)
    assert any(
        len({attempt["deployment"] for attempt in call["attempts"]}) > 1 and call["outcome"] == "completed"
        for call in calls
    )
    assert any(call["session"] for call in calls)
    assert any(call["payloads"] == "full" for call in calls)
    judged = [
        json.loads(line)
        for line in _verb(tmp_path, "feedback", "list", "--since", "28d", "--format", "jsonl").splitlines()
    ]
    assert {one["score"] for one in judged} == {0.0, 1.0}
    assert {one["call_id"] for one in judged} <= {call["id"] for call in calls if call["outcome"] == "completed"}
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0


def _verb(folder: pathlib.Path, *arguments: str) -> str:
    """What a verb of the command line prints about the demo's data."""
    return subprocess.run(
        [pathlib.Path(sys.executable).with_name("headgate"), *arguments],
        env={
            "HEADGATE_CONFIG": str(folder / "headgate.yaml"),
            "PYTHONPATH": str(ROOT / "src"),
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout
