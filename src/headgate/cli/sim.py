"""``headgate sim``: runs the scriptable upstream, and lists what it can do."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import resource
import signal
import ssl
import sys

import click
import msgspec

from headgate.core.errors import ConfigError
from headgate.sim.behaviour import Behaviour
from headgate.sim.distribution import parse_distribution_text
from headgate.sim.engine import MODELS
from headgate.sim.fault import CATALOGUE
from headgate.sim.scenario import Scenario, load_scenario, read_answers, shipped_names, shipped_scenario
from headgate.sim.server import serve


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--scenario", metavar="FILE|NAME", help="A scenario file, or a shipped one's name (see --list).")
@click.option("--seed", type=int, help="What everything random follows from.")
@click.option("--speed", metavar="TOKENS_PER_S", help="80, or uniform:40,90, lognormal:P50,P99; default: instant.")
@click.option("--first-token-ms", metavar="N", help="300, or lognormal:300,2000, uniform:…, exponential:….")
@click.option("--answers", type=click.Path(path_type=pathlib.Path), help="Answers: text split by --- lines, or YAML.")
@click.option("--tls-cert", type=click.Path(path_type=pathlib.Path), help="PEM certificate: serve HTTPS.")
@click.option("--tls-key", type=click.Path(path_type=pathlib.Path), help="Its PEM key, where it is a file of its own.")
@click.option("--list", "show", is_flag=True, help="List models, faults and shipped scenarios, and exit.")
def sim(
    port: int,
    host: str,
    scenario: str | None,
    seed: int | None,
    speed: str | None,
    first_token_ms: str | None,
    answers: pathlib.Path | None,
    tls_cert: pathlib.Path | None,
    tls_key: pathlib.Path | None,
    show: bool,
) -> None:
    """Run a simulated model provider that speaks OpenAI's and Anthropic's APIs, and fails as you ask it to."""
    if show:
        click.echo(describe())
        return
    try:
        loaded = load_scenario(scenario) if scenario else Scenario(name="echo", behaviour=Behaviour())
        behaviour = _with_options(loaded.behaviour, seed, speed, first_token_ms, answers)
        tls = _tls(tls_cert, tls_key)
    except ConfigError as error:
        raise click.ClickException(error.message) from None
    _raise_file_limit()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(_run(behaviour, loaded.name, host, port, tls))
        except OSError as error:
            raise click.ClickException(f"can not listen on {host}:{port}: {error.strerror or error}") from None


def describe() -> str:
    """Returns the list that ``headgate sim --list`` prints."""
    lines = ["Models (any other name answers as well):"]
    lines += [f"  {name}" for name in MODELS]
    lines += ["  words-N, tools-N, fail-FAULT, MODEL+FAULT", "", "Faults (x-sim-fault: NAME; setting=value):"]
    for name, kind in CATALOGUE.items():
        settings = f" [{', '.join(kind.params)}]" if kind.params else ""
        lines.append(f"  {name:<22}{kind.about}{settings}")
    lines += ["", "Scenarios (--scenario NAME):"]
    lines += [f"  {name:<22}{shipped_scenario(name).about}" for name in shipped_names()]
    return "\n".join(lines)


def _with_options(
    behaviour: Behaviour, seed: int | None, speed: str | None, first: str | None, answers: pathlib.Path | None
) -> Behaviour:
    if seed is not None:
        behaviour = msgspec.structs.replace(behaviour, seed=seed)
    if speed is not None:
        behaviour = msgspec.structs.replace(behaviour, speed=parse_distribution_text(speed, "--speed"))
    if first is not None:
        drawn = parse_distribution_text(first, "--first-token-ms", scale=0.001)
        behaviour = msgspec.structs.replace(behaviour, first_token=drawn)
    if answers is not None:
        behaviour = msgspec.structs.replace(behaviour, answers=(*read_answers(answers), *behaviour.answers))
    return behaviour


def _tls(cert: pathlib.Path | None, key: pathlib.Path | None) -> ssl.SSLContext | None:
    if cert is None:
        if key is not None:
            raise ConfigError("--tls-key needs --tls-cert beside it")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"can not load the certificate {cert}: {error}") from None
    return context


async def _run(behaviour: Behaviour, name: str, host: str, port: int, tls: ssl.SSLContext | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await serve(behaviour, host, port, tls=tls)
    body = '{"model":"echo","messages":[{"role":"user","content":"hello"}]}'
    insecure = " -k" if tls else ""
    click.echo(f"ready {server.url} scenario={name} try: curl{insecure} {server.url}/v1/chat/completions -d '{body}'")
    sys.stdout.flush()
    try:
        await stop.wait()
    finally:
        await server.aclose()


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return factory
