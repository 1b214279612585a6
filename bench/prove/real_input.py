#!/usr/bin/env python3
"""Proof: every MT-bench and Arena-hard question comes through the official SDKs whole, and is recorded right.

The openai and anthropic packages of Python and the openai package of npm, unary and streamed, against the embedded
simulator, which repeats the question. Saves ``bench/results/real_input.json``.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from harness import report
from tests.scenarios import questions
from tests.scenarios.recorded import find_data

TITLE = "Real questions through the official SDKs"


def main() -> int:
    """Runs the proof and returns the exit status."""
    kinds = list(questions.PYTHON)
    package, absent = None, ""
    try:
        package = questions.install_npm()
        kinds += questions.NPM
    except (FileNotFoundError, subprocess.SubprocessError) as error:
        absent = str(error)
    with tempfile.TemporaryDirectory(prefix="headgate-questions-") as folder:
        tallies = questions.run(find_data(), pathlib.Path(folder), kinds, package)
    rows: list[dict[str, Any]] = [
        {"sdk": tally.kind, "questions": tally.asked, "whole_and_recorded": tally.asked - len(tally.problems)}
        for tally in tallies
    ]
    rows += [{"sdk": kind, "absent": absent} for kind in questions.NPM if absent]
    failed, asked = sum(len(tally.problems) for tally in tallies), sum(tally.asked for tally in tallies)
    bars = [
        report.bar("questions not answered whole, or not recorded right", "0", f"{failed} of {asked:,}", failed == 0),
        report.bar("SDKs that could be tried", "6", str(len(kinds)), len(kinds) == 6),
    ]
    for tally in tallies:
        print(f"{tally.kind:30} {tally.asked - len(tally.problems)} of {tally.asked}")
        print("".join(f"    {problem}\n" for problem in tally.problems), end="")
    print(report.bar_lines(bars))
    report.save("real_input", TITLE, rows, bars, report.RESULTS / "real_input.json")
    return int(not all(bar["holds"] for bar in bars))


if __name__ == "__main__":
    sys.exit(main())
