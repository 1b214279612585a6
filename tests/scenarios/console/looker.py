"""A Looker: somebody in a browser, who notices every fault that the browser tells of."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Response

_SERIOUS = ("serious", "critical")


class Looker:
    """One browser window.

    Attributes:
        page: what it shows.
        faults: errors and warnings in the browser's console, errors of scripts, requests that left the gateway.
    """

    def __init__(self, browser: Browser, url: str, **settings: Any) -> None:
        self.url = url
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **settings)
        self.context.set_default_timeout(30_000)
        self.page: Page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        self.page.on("request", lambda request: self._watch(request.url))

    def _hear(self, message: ConsoleMessage) -> None:
        # Chromium tells of every status of 400 and above; tests look at those themselves.
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            self.faults.append(f"{message.type}: {message.text}")

    def _watch(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "about:")):
            self.faults.append(f"asked for {url}")

    def go(self, path: str) -> Response:
        """Opens a page below the console's root; returns how it was answered."""
        response = self.page.goto(f"{self.url}/console{path}")
        assert response is not None
        return response

    def log_in(self, key: str) -> None:
        """Logs in by the form."""
        self.go("/login")
        self.page.get_by_label("Key", exact=True).fill(key)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_selector("nav[aria-label=Console]")

    def check(self, *rules: str) -> None:
        """The page that is shown has no fault, and none that axe calls serious (by these rules alone, if any)."""
        options: dict[str, Any] = {"resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = list(rules)
        found = Axe().run(self.page, options=options).response["violations"]
        serious = [
            f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:200]}"
            for one in found
            if one["impact"] in _SERIOUS
            for node in one["nodes"]
        ]
        assert not serious, serious
        self.quiet()

    def quiet(self) -> None:
        """Nothing has gone wrong in the browser since the last look."""
        faults, self.faults[:] = list(self.faults), []
        assert not faults, faults

    def close(self) -> None:
        """Closes the window."""
        self.context.close()
