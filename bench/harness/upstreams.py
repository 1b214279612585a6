"""The upstreams and the floor: nginx answering at once, nginx as plain proxy before it, and the streaming upstream."""

from __future__ import annotations

import pathlib
import subprocess
import sys

from harness.load import answer_body
from harness.procs import GATE_CORE, LOAD_CORE, ROOT, free_port, spawn, stop, wait_port

_CONF = (
    "worker_processes 1; daemon off; pid {d}/{n}.pid; error_log {d}/{n}.err; events {{ worker_connections 8192; }}\n"
    "http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;\n"
    "client_body_temp_path {d}/{n}-body; proxy_temp_path {d}/{n}-proxy; fastcgi_temp_path {d}/{n}-fastcgi;\n"
    "uwsgi_temp_path {d}/{n}-uwsgi; scgi_temp_path {d}/{n}-scgi;\n{inner} }}\n"
)
_PROXY = (
    "upstream unary {{ server 127.0.0.1:{unary}; keepalive 256; keepalive_requests 1000000000; }}\n"
    "upstream sse {{ server 127.0.0.1:{sse}; keepalive 256; keepalive_requests 1000000000; }}\n"
    'server {{ listen 127.0.0.1:{port}; proxy_http_version 1.1; proxy_set_header Connection "";\n'
    "location / {{ proxy_pass http://unary; }} }}\n"
    'server {{ listen 127.0.0.1:{stream_port}; proxy_http_version 1.1; proxy_set_header Connection "";\n'
    "proxy_buffering off; location / {{ proxy_pass http://sse; }} }}"
)


def python() -> str:
    """Returns the interpreter of the project's own environment, which has uvloop."""
    own = ROOT / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


class Nginx:
    """One nginx process with one worker, on one core."""

    def __init__(self, name: str, inner: str, core: int, folder: pathlib.Path) -> None:
        self.name, self.inner, self.core, self.folder = name, inner, core, folder

    def start(self, port: int) -> subprocess.Popen[bytes]:
        """Starts it and returns once the port answers."""
        conf, log = self.folder / f"{self.name}.conf", self.folder / f"{self.name}.log"
        conf.write_text(_CONF.format(d=self.folder, n=self.name, inner=self.inner))
        proc = spawn(["nginx", "-e", self.folder / f"{self.name}.err", "-c", conf], core=self.core, log=log)
        wait_port(port, proc, 10, log)
        return proc


class Upstreams:
    """Both upstreams of every contestant, on the load's core.

    Attributes:
        unary: port of the nginx that answers at once.
        sse: port of the streaming upstream.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.unary, self.sse = free_port(), free_port()
        self.procs: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Starts both."""
        inner = (
            f"server {{ listen 127.0.0.1:{self.unary}; location / {{ default_type application/json; "
            f"return 200 '{answer_body().decode()}'; }} }}"
        )
        self.procs.append(Nginx("upstream", inner, LOAD_CORE, self.folder).start(self.unary))
        log = self.folder / "sse.log"
        script = pathlib.Path(__file__).with_name("sse_upstream.py")
        self.procs.append(spawn([python(), script, self.sse], core=LOAD_CORE, log=log))
        wait_port(self.sse, self.procs[-1], 10, log)

    def stop(self) -> None:
        """Ends both."""
        for proc in self.procs:
            stop(proc)


def plain_proxy(upstreams: Upstreams, port: int, stream_port: int, folder: pathlib.Path) -> Nginx:
    """Returns nginx as plain proxy on the gateway's core: ``port`` for unary answers, ``stream_port`` for streams."""
    inner = _PROXY.format(unary=upstreams.unary, sse=upstreams.sse, port=port, stream_port=stream_port)
    return Nginx("proxy", inner, GATE_CORE, folder)
