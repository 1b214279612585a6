"""``make demo``: weeks of made-up traffic of a made-up company in a data directory, and a gateway that serves it.

Everything follows from ``--seed`` and the moment of the start. The upstreams are ``headgate sim``: nothing leaves
this machine, nothing costs anything. ``--no-serve`` only makes the data; a directory that has some is served as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import live
import seed

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCENARIO = """\
about: The demo's providers, as quick as the real ones, and now and then out of order.
seed: 3
speed: {lognormal: {p50: 70, p99: 160}}
first_token: {lognormal: {p50: 0.35, p99: 1.6}}
faults:
  - {fault: 503, when: {probability: 0.015}}
  - {fault: 429, retry_after: 0.3, when: {probability: 0.01}}
"""


def main(arguments: Sequence[str]) -> int:
    """Makes the data where there is none, then serves it until it is interrupted."""
    options = _parse(arguments)
    folder = options.dir.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not options.no_serve and _is_taken(options.port):
        print(
            f"demo: port {options.port} is taken, by a `make serve` perhaps; name another: make demo PORT=8090",
            file=sys.stderr,
        )
        return 1
    upstream = _free_port()
    config = folder / "headgate.yaml"
    config.write_text(seed.CONFIG.replace("UPSTREAM", str(upstream)))
    if (folder / seed.KEYS).exists():
        print(f"demo: {folder} has its data; remove it to begin anew", flush=True)
    else:
        began = time.monotonic()
        count = seed.fill(folder, config, calls=options.calls, days=options.days, number=options.seed)
        print(
            f"demo: {count:,} calls of {options.days} days in {folder} ({time.monotonic() - began:.0f} s)", flush=True
        )
    return 0 if options.no_serve else _serve(folder, config, upstream, options.port, options.live)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make demo", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dir", type=pathlib.Path, default=pathlib.Path("headgate-demo"), help="where it all goes")
    parser.add_argument("--calls", type=int, default=20_000, help="how many calls, about")
    parser.add_argument("--days", type=int, default=28, help="over how many days")
    parser.add_argument("--seed", type=int, default=7, help="what everything random follows from")
    parser.add_argument("--port", type=int, default=8484, help="of the gateway and its console")
    parser.add_argument("--live", type=float, default=1.0, help="live calls per second; 0 for none")
    parser.add_argument("--no-serve", action="store_true", help="only make the data")
    return parser.parse_args(arguments)


def _serve(folder: pathlib.Path, config: pathlib.Path, upstream: int, port: int, rate: float) -> int:
    scenario = folder / "scenario.yaml"
    scenario.write_text(SCENARIO)
    admin = folder / "admin-key"
    if not admin.exists():
        admin.touch(mode=0o600)
        admin.write_text("hg-" + secrets.token_urlsafe(32))
    headgate = [str(pathlib.Path(sys.executable).with_name("headgate"))]
    sim = subprocess.Popen(
        [*headgate, "sim", "--port", str(upstream), "--scenario", str(scenario)], stdout=subprocess.DEVNULL
    )
    gate = subprocess.Popen(
        [*headgate, "serve", "--config", str(config), "--port", str(port)],
        env={**os.environ, "HEADGATE_ADMIN_KEY_FILE": str(admin)},
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    try:
        live.wait_until_open(port)
        print(f"demo: console http://127.0.0.1:{port}/console  admin key {admin.read_text()}", flush=True)
        print("demo: Ctrl-C ends it", flush=True)
        live.trickle(port, json.loads((folder / seed.KEYS).read_text()), rate, is_over=lambda: gate.poll() is not None)
        return gate.wait()
    except KeyboardInterrupt:
        return 0
    except (ConnectionError, TimeoutError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    finally:
        for process in (gate, sim):
            process.terminate()
        for process in (gate, sim):
            process.wait()


def _is_taken(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
