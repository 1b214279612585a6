#!/usr/bin/env python3
"""Proof: a stranger's first minutes, on an empty folder: the commands, and how long each takes.

Clone, first streamed answer, a second provider as fallback, a budget, the console: each step is the command that a
person types (or the file that they write), run by a shell in a fresh clone with nothing of this checkout's environment.
The times are the machine's, set-up with its downloads included; reading and typing come on top. The provider that fails
is an address where nothing listens, so no key is needed.
"""

from __future__ import annotations

import argparse
import http.cookiejar
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import report
from harness.procs import ROOT, BenchError, free_port

TITLE = "A stranger's first minutes"
CONFIG = """\
providers:
  first: {dialect: openai_chat, url: "http://127.0.0.1:UPSTREAM/v1", key: none}
models:
  fast:
    route: [first/gpt, sim/echo]
    price: {input: 0.15, output: 0.6}
"""
ASK = '{"model": "MODEL", "stream": true, "messages": [{"role": "user", "content": "Hello, gate!"}], "max_tokens": 100}'


class Path:
    """The stranger's way: steps run in one folder, each timed."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.clone = folder / "headgate"
        self.port, self.upstream = free_port(), free_port()
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE") if name in os.environ}
        pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))}
        # Pip's own configuration of this machine is its way to a package index, and nothing of this project.
        self.env = kept | pip | {"HOME": str(folder), "NO_PROXY": "127.0.0.1"}
        self.rows: list[dict[str, Any]] = []
        self.running: list[subprocess.Popen[str]] = []
        self.began = time.monotonic()

    def step(self, name: str, command: str, wanted: str, *, inside: bool = True) -> str:
        """Runs a command to its end, and raises unless its output has ``wanted`` in it."""
        start = time.monotonic()
        where = self.clone if inside else self.folder
        done = subprocess.run(command, shell=True, cwd=where, env=self.env, capture_output=True, text=True, timeout=900)
        self._note(name, command, start, wanted in done.stdout + done.stderr, done.stdout[-800:] + done.stderr[-800:])
        return done.stdout

    def start(self, name: str, command: str, wanted: str) -> None:
        """Starts a command that stays, and waits for a line with ``wanted`` in it."""
        start = time.monotonic()
        proc = subprocess.Popen(
            command,
            shell=True,
            cwd=self.clone,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.running.append(proc)
        assert proc.stdout is not None
        seen = ""
        for line in proc.stdout:
            seen += line
            if wanted in line:
                break
        self._note(name, command, start, wanted in seen, seen[-800:])

    def _note(self, name: str, command: str, start: float, holds: bool, output: str) -> None:
        took = time.monotonic() - start
        shown = command.replace(str(ROOT), "<this repository>")
        self.rows.append({"step": name, "command": shown, "seconds": took, "minutes since the start": self.minutes})
        print(f"{self.minutes:5.2f} min  {took:7.2f} s  {name}: {shown}", flush=True)
        if not holds:
            raise BenchError(f"{name}: {shown}\n{output}")

    @property
    def minutes(self) -> float:
        """Minutes since it began."""
        return (time.monotonic() - self.began) / 60

    def close(self) -> None:
        """Ends what stays."""
        for proc in self.running:
            os.killpg(proc.pid, signal.SIGTERM)
            proc.wait(20)


def walk(way: Path, *, quick: bool) -> None:
    """Goes the whole way."""
    way.step("clone", f"git clone {ROOT} headgate && echo cloned", "cloned", inside=False)
    if quick:  # this checkout's packages instead of an installation
        (way.clone / ".venv").symlink_to(ROOT / ".venv")
        for mark in (".runtime-ready", ".dev-ready"):
            (way.clone / ".venv" / mark).touch()
        way.env["PYTHONPATH"] = str(way.clone / "src")
    way.start("serve", f"make serve PORT={way.port}", "ready")
    ask = f"curl -sN -i http://127.0.0.1:{way.port}/v1/chat/completions -H 'content-type: application/json'"
    way.step("first streamed answer", f"{ask} -d '{ASK.replace('MODEL', 'sim/echo')}'", "data: [DONE]")
    (way.clone / "headgate.yaml").write_text(CONFIG.replace("UPSTREAM", str(way.upstream)))
    way.step("a second provider", "cat headgate.yaml && .venv/bin/headgate config check", "ok: ")
    _until(lambda: "fast" in _get(way.port, "/v1/models"))
    fast = f"{ask} -d '{ASK.replace('MODEL', 'fast')}'"
    answer = way.step("the fallback answers", fast, "data: [DONE]")
    if not re.search(r"x-headgate-attempts: [2-9]", answer):
        raise BenchError(f"no fallback was needed: {answer[:500]}")
    make = "export KEY=$(.venv/bin/headgate keys create --name app --budget 0.0001 --per day --quiet); echo $KEY"
    way.env["KEY"] = way.step("a key with a budget", make, "hg-").strip()
    _until(lambda: "401" in _first_line(way, fast))
    mine = f"{ask} -H \"authorization: Bearer $KEY\" -d '{ASK.replace('MODEL', 'fast')}'"
    way.step("within the budget", mine, "data: [DONE]")
    for _ in range(40):
        if " 402 " in _first_line(way, mine):
            break
    way.step("beyond it", mine, "budget_exceeded")
    admin = way.step(
        "a key of your own", ".venv/bin/headgate keys create --name me --role admin --quiet", "hg-"
    ).strip()
    start = time.monotonic()
    page = _console(way.port, admin)
    way._note(
        "console", f"open http://127.0.0.1:{way.port}/console, log in with that key", start, "fast" in page, page[:600]
    )
    way.step("what happened", ".venv/bin/headgate spend --by model", "fast")


def _first_line(way: Path, command: str) -> str:
    done = subprocess.run(command, shell=True, env=way.env, capture_output=True, text=True)
    return done.stdout.partition("\n")[0]


def _console(port: int, key: str) -> str:
    """Logs in as a browser does, and returns the page of calls."""
    base = f"http://127.0.0.1:{port}"
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    browser.addheaders = [("origin", base), ("sec-fetch-site", "same-origin")]
    login = browser.open(f"{base}/console/login").read().decode()
    proof = re.search(r'name="proof" value="([^"]+)"', login)
    if proof is None:
        raise BenchError(f"no login: {login[:500]}")
    form = urllib.parse.urlencode({"proof": proof.group(1), "to": "", "key": key}).encode()
    browser.open(f"{base}/console/login", form).read()
    page: bytes = browser.open(f"{base}/console/calls").read()
    return page.decode()


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        found: bytes = answer.read()
    return found.decode()


def _until(holds: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise BenchError("a change was not applied in time")
        time.sleep(0.1)


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="with this checkout's packages, without installing any")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "first_minutes.json")
    args = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="headgate-stranger-"))
    way = Path(folder)
    try:
        walk(way, quick=args.quick)
    finally:
        way.close()
        shutil.rmtree(folder, ignore_errors=True)
    first = next(row for row in way.rows if row["step"] == "first streamed answer")["minutes since the start"]
    answer = sum(row["seconds"] for row in way.rows if row["step"] == "first streamed answer")
    bars = [
        report.bar("clone to first streamed answer", "≤ 2 min", f"{first:.2f} min", first <= 2),
        report.bar("the whole way", "≤ 5 min", f"{way.minutes:.2f} min", way.minutes <= 5),
        report.bar("commands", "≤ 12", str(len(way.rows)), len(way.rows) <= 12),
    ]
    print(report.bar_lines(bars))
    about = (__doc__ or "").split("\n\n")[1].strip()
    details = {"configuration": json.dumps(CONFIG), "first_answer_s": answer}
    report.save("first_minutes", TITLE, way.rows, bars, args.output, about=about, details=details)
    return int(not all(bar["holds"] for bar in bars))


if __name__ == "__main__":
    sys.exit(main())
