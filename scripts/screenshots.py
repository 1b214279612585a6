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
    """Logs in and takes a picture of the first page, of a call that a fallback answered, and of a page on a phone."""
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
            page.wait_for_selector("body[data-drawn]", state="attached")
            page.wait_for_timeout(1500)
            page.screenshot(path=IMAGES / f"console-{name}.png")
        page.goto(f"{url}/console/calls?model=assistant&outcome=completed&deployment=anthropic/claude-sonnet-4-5")
        page.locator("#calls tbody a").first.click()
        page.wait_for_selector("#call-id")
        page.wait_for_timeout(800)
        page.screenshot(path=IMAGES / "console-story.png")
        page.set_viewport_size({"width": 390, "height": 800})
        page.goto(f"{url}/console/models")
        page.wait_for_timeout(500)
        page.screenshot(path=IMAGES / "console-phone.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), sys.argv[2])
