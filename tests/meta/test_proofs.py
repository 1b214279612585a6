"""The proofs page: what the script makes of results, good, bad and missing."""

from __future__ import annotations

import importlib.util
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("proofs", ROOT / "scripts" / "proofs.py")
assert _spec is not None
assert _spec.loader is not None
proofs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(proofs)

RESULT = {
    "name": "speed",
    "title": "Speed",
    "measured_at": "2026-11-21",
    "machine": {"cpu": "some", "cores": 2},
    "rows": [{"gateway": "nginx", "µs": 13.123, "calls": 12345}, {"gateway": "a|b", "µs": None}],
    "bars": [
        {"what": "one", "bar": "≤ 1", "measured": "0.5", "holds": True},
        {"what": "two", "bar": "≤ 1", "measured": "2", "holds": False},
        {"what": "three", "bar": "≤ 1", "measured": None, "holds": None},
    ],
}


def test_a_result_becomes_its_tables(tmp_path: pathlib.Path) -> None:
    """Rows and bars become tables; a bar that falls short stands out, one that was not measured says so."""
    (tmp_path / "speed.json").write_text(json.dumps(RESULT))
    (tmp_path / "raw.json").write_text("[1, 2]")
    page = proofs.render(proofs.load(tmp_path))
    assert "## Speed" in page
    assert "measured 2026-11-21 on cpu: some, cores: 2" in page
    assert "| gateway | µs | calls |\n|---|---:|---:|\n| nginx | 13.1 | 12,345 |\n| a\\|b |  |  |" in page
    assert "| one | ≤ 1 | 0.5 | yes |" in page
    assert "| two | ≤ 1 | 2 | **no** |" in page
    assert "| three | ≤ 1 |  | not measured |" in page
    assert "Nothing has been measured" not in page


def test_without_results_the_page_says_so(tmp_path: pathlib.Path) -> None:
    """No figure is ever made up."""
    assert "Nothing has been measured" in proofs.render(proofs.load(tmp_path))
