"""Makes the console's pictures in docs/images: of a running `make demo`, by Chromium.

Run it beside one: ``.venv/bin/python scripts/screenshots.py http://127.0.0.1:8080 ADMIN_KEY``. Look at what it made.
"""

from __future__ import annotations

import pathlib
import sys

from playwright.sync_api import sync_playwright

IMAGES = pathlib.Path(__file__).resolve().parent.parent / "docs" / "images"
SHOTS = (("overview", "/"),)


def main(url: str, key: str) -> None:
    """Logs in and takes a picture of each page, and of the newest call's story."""
    with sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{url}/console/login")
        page.get_by_label("Key", exact=True).fill(key)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_selector("nav[aria-label=Console]")
        for name, path in SHOTS:
            page.goto(f"{url}/console{path}")
            page.wait_for_timeout(1500)
            page.screenshot(path=IMAGES / f"console-{name}.png")
        page.goto(f"{url}/console/calls?outcome=failed")
        page.wait_for_timeout(500)
        page.locator("main table a").first.click()
        page.wait_for_timeout(800)
        page.screenshot(path=IMAGES / "console-story.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), sys.argv[2])
