"""HTTP/1.1 heads as bytes, and how the simulator's own pages under ``/sim/`` answer."""

from __future__ import annotations

from collections.abc import Mapping

from headgate.core.errors import ConfigError
from headgate.sim.engine import Sim, to_json
from headgate.sim.play import Answer
from headgate.sim.scenario import parse_scenario, shipped_names, shipped_scenario

_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    413: b"Content Too Large",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    529: b"Overloaded",
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TEXT = {b"content-type": b"text/plain; charset=utf-8"}


def render_head(answer: Answer, keep: bool) -> bytes:
    """Returns the response head of an answer, up to and with the empty line."""
    length = answer.announced
    lines = [b"HTTP/1.1 %d %b" % (answer.status, _REASONS.get(answer.status, b"Error"))]
    lines += [name + b": " + value for name, value in answer.headers.items()]
    lines.append(b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length)
    if not keep:
        lines.append(b"connection: close")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def answer_control(
    sim: Sim, method: str, path: str, headers: Mapping[bytes, bytes], body: bytes, local: bool
) -> Answer:
    """Answers ``GET /sim/meter``, ``POST /sim/reset`` and ``POST /sim/scenario`` (the last two only from loopback).

    ``/sim/scenario`` takes a scenario as YAML or JSON, or the bare name of a shipped one.
    """
    if method == "GET" and path == "/sim/meter":
        return Answer(headers={b"content-type": b"application/json"}, body=to_json(sim.meter))
    if method != "POST" or path not in ("/sim/reset", "/sim/scenario"):
        return Answer(status=404, headers=_TEXT, body=b"there is GET /sim/meter, POST /sim/reset, POST /sim/scenario\n")
    if not local or b"origin" in headers or b"sec-fetch-site" in headers:
        return Answer(status=403, headers=_TEXT, body=b"only from this machine, and not from a browser\n")
    if path == "/sim/reset":
        sim.reset()
        return Answer(headers=_TEXT, body=b"reset\n")
    try:
        text = body.decode()
        scenario = shipped_scenario(text.strip()) if text.strip() in shipped_names() else parse_scenario(text, "body")
    except (ConfigError, UnicodeDecodeError) as error:
        return Answer(status=400, headers=_TEXT, body=str(error).encode() + b"\n")
    sim.load(scenario.behaviour)
    return Answer(headers=_TEXT, body=b"playing %b\n" % scenario.name.encode())
