#!/usr/bin/env python3
"""Looks at every page of the console over the demo's million calls: how soon it can be used, and whether it has faults.

``make demo``'s data is made where ``--demo`` names no folder that has it, and served by one worker; an admin is logged
in by Chromium. ``interactive`` is from the navigation's start until the page's scripts have run, charts drawn; a fault
is an error or warning in the browser's console, or what axe calls serious or critical.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "src"))

from harness import report
from harness.procs import GATE_CORE, ROOT, free_port, spawn, stop, wait_port

from headgate.console.table import PAGES

TITLE = "Every page of the console over a million calls"
OVERVIEW_BAR = 1.0
FORMS = (
    "/?range=1h",
    "/?range=7d",
    "/?range=30d",
    "/calls?feature=support-chat&since=7d",
    "/calls?outcome=failed&user=kofi",
    "/traces?kind=session",
    "/spend?by=user&range=90d",
    "/audit?verify=1",
)
"""Pages in another form, beside each page of the menu."""


def paths(page: Any, root: str) -> dict[str, str]:
    """Returns what is looked at: a name, and its address below the console."""
    found = {one.path: one.path for one in PAGES if one.group}
    found |= {form: form for form in FORMS}
    for name, path, link in (
        ("/calls/{id}", "/calls?outcome=completed", "#calls tbody a"),
        ("/calls/{id}, failed", "/calls?outcome=failed", "#calls tbody a"),
        ("/traces?trace={id}", "/traces", "table.list tbody a"),
        ("/keys/{id}", "/keys", "table.list tbody a"),
    ):
        page.goto(f"{root}{path}")
        found[name] = page.locator(link).first.get_attribute("href").removeprefix("/console")
    return found


def look(page: Any, url: str) -> float:
    """Opens a page and returns the seconds until it is interactive."""
    page.goto(url, wait_until="load")
    if page.locator("[data-plot]").count():
        page.wait_for_selector("body[data-drawn]", state="attached")
    return float(page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")) / 1000


def measure(root: str, key: str, runs: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns a row for each page, and every fault."""
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    rows, faults = [], []
    with sync_playwright() as driver:
        place = shutil.which("chromium") or "/usr/bin/chromium"
        browser = driver.chromium.launch(executable_path=place, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        page.on("console", lambda told: faults.append(told.text) if told.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{root}/login")
        page.get_by_label("Key", exact=True).fill(key)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_selector("nav[aria-label=Console]")
        for name, path in paths(page, root).items():
            before = len(faults)
            seconds = [look(page, root + path) for _ in range(runs)]
            found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
            faults += [f"{path}: {one['id']}" for one in found if one["impact"] in ("serious", "critical")]
            row = {"page": name, "median s": statistics.median(seconds), "slowest s": max(seconds)}
            rows.append({**row, "faults": len(faults) - before})
        browser.close()
    return rows, faults


def make(folder: pathlib.Path, number: int) -> None:
    """Makes the demo's data, where it is not there."""
    demo = [sys.executable, str(ROOT / "scripts" / "demo"), "--dir", str(folder), "--calls", str(number), "--no-serve"]
    subprocess.run(demo, check=True, env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"})


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="over 20,000 calls, each page twice")
    parser.add_argument("--demo", type=pathlib.Path, help="the demo's folder, made before or to be kept")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "console_pages.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        folder = (args.demo or pathlib.Path(name) / "demo").absolute()
        make(folder, 20_000 if args.quick else args.calls)
        port, key, log = free_port(), "hg-" + "b" * 43, pathlib.Path(name) / "log"
        headgate = pathlib.Path(sys.executable).with_name("headgate")
        serve = [headgate, "serve", "--config", str(folder / "headgate.yaml"), "--port", str(port)]
        gate = spawn(serve, core=GATE_CORE, log=log, env={"PYTHONPATH": str(ROOT / "src"), "HEADGATE_ADMIN_KEY": key})
        try:
            wait_port(port, gate, 60, log)
            rows, faults = measure(f"http://127.0.0.1:{port}/console", key, 2 if args.quick else args.runs)
        finally:
            stop(gate)
        with sqlite3.connect(folder / "data" / "headgate.db") as file:
            stored = file.execute("SELECT count(*) FROM calls").fetchone()[0]
            judged = file.execute("SELECT count(*) FROM feedback").fetchone()[0]
        size = (folder / "data" / "headgate.db").stat().st_size
    first = [row for row in rows if row["page"] == "/" or row["page"].startswith("/?")]
    slowest = max(row["median s"] for row in first)
    bars = [
        report.bar("console errors and serious faults by axe, all pages", "0", str(len(faults)), not faults),
        report.bar(
            f"overview interactive over {stored:,} calls, slowest range, median",
            f"≤ {OVERVIEW_BAR:g} s",
            f"{slowest:.2f} s",
            slowest <= OVERVIEW_BAR,
        ),
    ]
    about = (
        f"{stored:,} calls of `make demo` over 28 days in SQLite ({size / 1e9:.2f} GB), {judged:,} of them judged; one "
        f"worker, an admin in headless Chromium on the same machine; each page {args.runs} times."
    )
    for row in rows:
        print(
            f"{row['page']:<40} {row['median s']:.2f} s median, {row['slowest s']:.2f} s slowest, {row['faults']} bad"
        )
    return report.finish("console_pages", TITLE, rows, bars, args.output, about=about, details=[{"faults": faults}])


if __name__ == "__main__":
    sys.exit(main())
