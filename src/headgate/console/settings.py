"""The page of settings: the configuration that holds, each value with its source; secrets by reference only."""

from __future__ import annotations

from pathlib import Path

from headgate.config.explain import Line, explain, show_value
from headgate.config.load import Loaded, load
from headgate.config.settings import Settings
from headgate.console.page import Page, View, Visit
from headgate.core.errors import ConfigError


def _show(visit: Visit) -> View:
    settings = visit.desk.core.settings
    lines, problem = explained(settings)
    folder = f"{Path(settings.file).parent}/" if settings.file else ""  # stands above the tables, once
    sections: dict[str, list[tuple[Line, str, str]]] = {}
    for line in lines:
        parts = line.path.split(".")
        name = ".".join(parts[:2]) if parts[0] in ("providers", "models") and len(parts) > 1 else parts[0]
        sections.setdefault(name, []).append((line, show_value(line), line.origin.removeprefix(folder)))
    wanted = visit.query.get("all")
    data = {
        "file": settings.file or "",
        "sections": [
            (name, rows, [row for row in rows if row[0].source != "default"]) for name, rows in sections.items()
        ],
        "all": bool(wanted),
        "problem": problem,
    }
    return View("settings.html", data)


def explained(settings: Settings) -> tuple[list[Line], str]:
    """Returns the lines of settings that hold, their sources as the file tells them now, and what is wrong with it."""
    problem = ""
    try:
        written = load(settings.file) if settings.file else load(text="{}")
    except ConfigError as error:
        written, problem = Loaded(settings, {}), error.message
    now = {line.path: line for line in explain(written)}
    lines = []
    for line in explain(Loaded(settings, written.origins)):
        same = now.get(line.path)
        if not problem and (same is None or same.value != line.value):
            line = Line(line.path, line.value, "as started", "")
        lines.append(line)
    return lines, problem


PAGES = (Page(path="/settings", does=_show, role="admin", title="Settings", group="Manage"),)
