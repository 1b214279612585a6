"""LiteLLM's proxy with its own budget in the place of this gateway: the same callers, simulator and meter.

Its database client needs an engine that it downloads from a host of its own, not from a package registry; so its budget
is kept where LiteLLM keeps it without a database, in the memory of its one worker.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import random
import secrets
import shutil
import subprocess
import sys
import time
from typing import Any

from harness.procs import BENCH, CACHE, GATE_CORE, BenchError, free_port, spawn, stop, wait_port
from harness.spending import REFUSED, Load, Sim

READY_SECONDS = 180.0
PATIENCE = 900.0
"""It answers some calls a second: a thousand at once wait for minutes."""
LITELLM = CACHE / "litellm"


def install() -> str:
    """Installs it into a throw-away environment; returns why it could not be."""
    script = BENCH / "peers" / "litellm.sh"
    env = {**os.environ, "BENCH_PYTHON": sys.executable}
    try:
        done = subprocess.run(
            ["sh", script, LITELLM], env=env, capture_output=True, text=True, timeout=900, check=False
        )
    except subprocess.TimeoutExpired:
        return "its installation did not end in 15 minutes"
    return "" if done.returncode == 0 else f"it can not be installed: {done.stderr.strip()[-300:]}"


def start(folder: pathlib.Path, sim: Sim) -> tuple[subprocess.Popen[bytes], int]:
    """Starts it as its production guide asks; returns it and its port."""
    port = free_port()
    config = (BENCH / "peers" / "litellm_budget.yaml").read_text().replace("9101", str(sim.port))
    (folder / "litellm.yaml").write_text(config)
    shutil.copy(BENCH / "peers" / "litellm_budget.py", folder)
    env = {
        "LITELLM_MASTER_KEY": "sk-" + secrets.token_hex(24),
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_DOCS": "True",
        "DISABLE_ADMIN_UI": "True",
    }
    cmd = [LITELLM / "bin" / "litellm", "--config", folder / "litellm.yaml", "--host", "127.0.0.1"]
    cmd += ["--port", port, "--num_workers", "1", "--telemetry", "False"]
    log = folder / "litellm.log"
    proc = spawn(cmd, core=GATE_CORE, log=log, env=env, cwd=folder)
    wait_port(port, proc, READY_SECONDS, log)
    return proc, port


def spend(folder: pathlib.Path, calls: int, seconds: float, seed: int) -> dict[str, Any]:
    """Runs the part ``never_over`` of bench/prove/spend.py against it; ``absent`` says why it could not be."""
    row: dict[str, Any] = {"part": "$1.00, LiteLLM's proxy, budget of a key in its memory", "calls at once": calls}
    if why := install():
        return row | {"absent": why}
    sim = Sim(folder, failing=True)
    proc = None
    try:
        proc, port = start(folder, sim)
        load = Load([port], "sk-" + secrets.token_hex(16), random.Random(seed), cancel=1 / 3)
        load.model, load.patience = "words-{}", PATIENCE
        asyncio.run(_use_up(load, sim, calls, seconds))
        billed = sim.billed()
        return row | {"ended": dict(load.ends), "billed $": billed / 1e9, "billed": billed}
    except BenchError as error:
        return row | {"absent": str(error)}
    finally:
        if proc is not None:
            stop(proc, 20)
        stop(sim.proc)


async def _use_up(load: Load, sim: Sim, calls: int, seconds: float) -> None:
    end = time.monotonic() + seconds

    def refused() -> int:
        return sum(load.ends[status] for status in REFUSED)

    await load.run(calls, lambda: time.monotonic() < end and refused() < calls)
    load.cancel = 0.0
    await asyncio.sleep(3.0)
    before = refused()
    for _ in range(400):
        await load.call()
        if refused() > before:
            break
