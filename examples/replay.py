"""Shows: judge an answer, send its call to another model and compare; then play a failure without its upstream."""

import pathlib
import subprocess
import sys
import tempfile

from headgate import HeadgateError, SyncGateway

CONFIG = """
models:
  fast: {route: [sim/words-20]}
  bad: {route: [sim/fail-500]}
data: {payloads: full}
"""

with tempfile.TemporaryDirectory() as folder:
    config = pathlib.Path(folder, "headgate.yaml")
    config.write_text(CONFIG)
    data = str(pathlib.Path(folder, "data"))
    with SyncGateway(config, data=data) as gateway:
        answer = gateway.complete("fast", "Tell me about headgates.")
        gateway.feedback(answer.id, score=0, label="nonsense")
        try:
            gateway.complete("bad", "Tell me more.")
        except HeadgateError as error:
            failed = error.call_id

    def headgate(*arguments: str) -> None:
        """Runs the command line on the same data."""
        print(f"$ headgate {' '.join(arguments)}", flush=True)
        subprocess.run(
            [pathlib.Path(sys.executable).with_name("headgate"), *arguments, "--config", str(config), "--data", data],
            check=True,
        )

    headgate("replay", answer.id, "--model", "sim/echo")
    headgate("replay", failed, "--offline")
    headgate("feedback", "list")
