"""The recorder's process, as it is started."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["headgate.stores.recorder_process", "headgate.stores.recorder"])
def test_both_names_start_the_recorder(module: str, tmp_path: pathlib.Path) -> None:
    """Workers that outlive an upgrade of the package know the older one; a wrong directory is said, not passed over."""
    command = [sys.executable, "-m", module, "--data", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "there is no data directory" in done.stderr
