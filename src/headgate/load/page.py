"""The report as one page of HTML that needs nothing else: its charts are SVG in it, drawn by pygal."""

from __future__ import annotations

import sys
import time
from typing import Any
from xml.etree import ElementTree

from headgate.load.report import Report, lines, rows

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Load test of {{ day }}</title>
<style>
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.4rem; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; }
th, td { text-align: right; padding: .3rem .9rem; border-bottom: 1px solid #d8dee6; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1rem 0; }
figure svg { width: 100%; height: auto; }
figcaption, footer { color: #4a5565; font-size: .9rem; }
</style></head><body>
<h1>Load test of {{ day }}</h1>
<p>{{ report.source }} at {{ "%g"|format(report.speed) }} times its speed, against <code>{{ report.target }}</code>,
model <code>{{ report.model }}</code>.</p>
<table><thead>
<tr><th>from the intended start</th><th>p50</th><th>p95</th><th>p99</th><th>longest</th></tr>
</thead><tbody>
{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>
<ul>{% for line in lines %}<li>{{ line }}</li>{% endfor %}</ul>
{% for title, caption, svg in charts %}<h2>{{ title }}</h2>
<figure>{{ svg|safe }}<figcaption>{{ caption }}</figcaption></figure>
{% endfor %}
<footer>Made by headgate load. Times count from the moment at which a call was meant to start, so that a stall is not
hidden; inter-token times lie between two pieces of content.</footer>
</body></html>
"""


def render(report: Report) -> str:
    """Returns the page."""
    import jinja2

    template = jinja2.Environment(autoescape=True).from_string(_TEMPLATE)
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report.time_ns / 1e9))
    return template.render(report=report, day=day, rows=rows(report), lines=lines(report), charts=_charts(report))


def _charts(report: Report) -> list[tuple[str, str, str]]:
    """Title, caption and SVG of each chart."""
    stretches, every = report.stretches, f"each point is {report.stretch_s:g} s of intended starts"
    over_time = _chart(y="ms", x="seconds since the start")
    over_time.add("p50", [(one.at, one.p50) for one in stretches if one.p50 is not None])
    over_time.add("p99", [(one.at, one.p99) for one in stretches if one.p99 is not None])
    load = _chart(y="calls/s", x="seconds since the start")
    load.add("calls", [(one.at, round(one.calls / report.stretch_s, 2)) for one in stretches])
    load.add("errors", [(one.at, round(one.errors / report.stretch_s, 2)) for one in stretches])
    curve = _chart(y="% of calls", x="ms")
    for name, points in report.curves.items():
        curve.add(name.replace("_", " "), [(ms, round(100 * part, 2)) for ms, part in points])
    return [
        ("First content over time", every, _svg(over_time)),
        ("Load over time", every, _svg(load)),
        ("How many were answered within", "first content and whole answer, from the intended start", _svg(curve)),
    ]


def _chart(*, x: str, y: str) -> Any:
    pygal = _pygal()
    style = pygal.style.Style(
        background="transparent",
        plot_background="transparent",
        colors=("#2b5fd9", "#c2410c"),
        font_family="system-ui, sans-serif",
    )
    return pygal.XY(
        style=style,
        js=[],  # it would fetch a script for tooltips
        width=960,
        height=320,
        show_dots=False,  # each would carry a tooltip: ten times the size
        x_title=x,
        y_title=y,
        legend_at_bottom=True,
        include_x_axis=True,
        disable_xml_declaration=True,
        no_data_text="nothing to show",
    )


def _pygal() -> Any:
    """The library, without the finder that it leaves in ``sys.meta_path``: one from before Python 3.4, which warns."""
    import pygal

    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "PluginImportFixer"]
    return pygal


def _svg(chart: Any) -> str:
    """Its SVG without the script of settings that pygal puts in."""
    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if str(child.tag).rpartition("}")[2] == "script":
                parent.remove(child)
    return ElementTree.tostring(root, encoding="unicode")
