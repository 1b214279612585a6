"""docs/admin.md names every route of the admin API, and which role it is for."""

from __future__ import annotations

import pathlib
import re

from headgate.server.admin.table import ROUTES

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "admin.md"


def test_every_route_is_documented() -> None:
    """Each path stands in the table, in a row with its method and its role."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith(("| `GET", "| `POST"))]
    assert rows
    missing = [
        f"{route.method} {route.path}"
        for route in ROUTES
        if not any(
            re.search(rf"(admin/v1|`){re.escape(route.path)}[`?]", row)
            and route.method in row
            and f"| {route.role} |" in row
            for row in rows
        )
    ]
    assert missing == []
