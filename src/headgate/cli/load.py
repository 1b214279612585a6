"""``headgate load``: open-loop load from a trace or from recorded traffic, and a report of what it did to callers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import secrets
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from headgate.cli.database import wait_for_recorder
from headgate.cli.options import common, open_data, store_errors
from headgate.config.checks import is_loopback
from headgate.core.errors import BadRequest, ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from headgate.load.arrivals import Arrivals
    from headgate.load.report import Report
    from headgate.load.run import Run
    from headgate.stores.data import DataDir

KEY_VARIABLE = "HEADGATE_API_KEY"
_WIDTH = 30
_LINE_S = 15.0


@click.command()
@common
@click.argument("url", required=False)
@click.option("--trace", type=click.Path(path_type=pathlib.Path), metavar="FILE", help="Arrivals from this CSV.")
@click.option("--from-records", is_flag=True, help="Arrivals from the calls in the data directory.")
@click.option("--since", metavar="TIME", default="1h", help="With --from-records: calls since then [1h].")
@click.option("--until", metavar="TIME", help="With --from-records: calls before then.")
@click.option("--speed", type=click.FloatRange(min=0.001), default=1.0, help="Times the original speed [1].")
@click.option("--start", type=click.FloatRange(min=0), default=0.0, metavar="S", help="Leave out the first S seconds.")
@click.option("--seconds", type=click.FloatRange(min=0), default=0.0, metavar="S", help="At most S seconds of load.")
@click.option("--calls", type=click.IntRange(min=0), default=0, metavar="N", help="At most N calls.")
@click.option("--model", help="The model that is asked for [sim/echo; with --from-records the recorded ones].")
@click.option("--stream", type=click.FloatRange(0, 1), default=1.0, help="Part of the calls that stream [1].")
@click.option("--max-input", type=click.IntRange(min=0), default=0, metavar="N", help="Cut prompts to N tokens.")
@click.option("--key", metavar="REF", help=f"env:NAME or file:PATH of the key [env:{KEY_VARIABLE}, if set].")
@click.option("--timeout", type=click.FloatRange(min=0.01), default=120.0, metavar="S", help="Give a call up [120].")
@click.option("--max-open", type=click.IntRange(min=1), default=5000, metavar="N", help="Most calls at once [5000].")
@click.option("--html", type=click.Path(path_type=pathlib.Path), metavar="FILE", help="Write the page there.")
@click.option("--json", "json_file", type=click.Path(path_type=pathlib.Path), metavar="FILE", help="Write JSON there.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="Output form [table].")
@click.option("--yes", is_flag=True, help="Load another machine, and whatever it costs.")
def load(config: str | None, data: str | None, url: str | None, **options: Any) -> int:
    """Load URL (this machine's gateway, if left out) with calls that come when a trace or the records say.

    Times count from the moment at which a call was meant to start. Exit code 1 where every call failed.
    """
    given = _Options(config, data, url, **options)
    _check_places(given)
    with _store(given) as (directory, engine):
        report = _load(given, directory, engine)
    _write(report, given, directory)
    return 1 if report.calls and report.errors == report.calls else 0


class _Options:
    """What was asked for, checked."""

    def __init__(self, config: str | None, data: str | None, url: str | None, **options: Any) -> None:
        self.config, self.data = config, data
        self.trace: pathlib.Path | None = options["trace"]
        self.from_records: bool = options["from_records"]
        if (self.trace is None) == (not self.from_records):
            raise click.UsageError("name where arrivals come from: --trace FILE, or --from-records")
        self.since, self.until = options["since"], options["until"]
        self.part = {name: options[name] for name in ("speed", "start", "seconds", "calls")}
        self.model: str = options["model"] or "sim/echo"
        self.own_models = self.from_records and options["model"] is None
        self.stream, self.most_input = options["stream"], options["max_input"]
        self.timeout, self.most_open = options["timeout"], options["max_open"]
        self.html, self.json, self.form = options["html"], options["json_file"], options["form"]
        self.url = url or _own_url(config)
        self.key = _key(options["key"])
        self.run = secrets.token_hex(6)
        self._yes: bool = options["yes"]

    def check_host(self, host: str) -> None:
        """Raises where another machine would be loaded that nobody agreed to load."""
        if not self._yes and not is_loopback(host):
            raise click.UsageError(f"{host} is another machine, and its calls may cost money: add --yes to load it")


def _check_places(given: _Options) -> None:
    """Raises where a report could not be written: better now than after the load."""
    for name, file in (("--html", given.html), ("--json", given.json)):
        if file is not None and (file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK)):
            raise BadRequest(f"{name} can not be written: {file}", code="invalid_value", param=name)


def _own_url(config: str | None) -> str:
    from headgate.config.load import load_settings

    server = load_settings(config).server
    host = server.host if server.host not in ("0.0.0.0", "::") else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}"


def _key(reference: str | None) -> str:
    from headgate.providers.secret import Secret

    if reference is None:
        return os.environ.get(KEY_VARIABLE, "").strip()
    return Secret.resolve(reference, os.environ).reveal()


@contextlib.contextmanager
def _store(given: _Options) -> Iterator[tuple[DataDir | None, Engine | None]]:
    """The data directory and its database; neither where there is none and nobody asked for one."""
    try:
        directory = open_data(given.config, given.data)
    except ConfigError:
        if given.data is not None or given.from_records:
            raise
        yield None, None
        return
    engine = directory.open_engine()
    try:
        with store_errors():
            yield directory, engine
    finally:
        engine.dispose()


def _arrivals(given: _Options, directory: DataDir | None, engine: Engine | None) -> Arrivals:
    from headgate.load.arrivals import cut, read_trace

    if given.trace is not None:
        return cut(read_trace(given.trace), **given.part)
    from headgate.load.recorded import read_records
    from headgate.stores.query import parse_time

    assert directory is not None
    assert engine is not None
    now = time.time_ns()
    wait_for_recorder(directory, engine)
    until = now if given.until is None else parse_time(given.until, now)
    return cut(read_records(engine, parse_time(given.since, now), until), **given.part)


def _load(given: _Options, directory: DataDir | None, engine: Engine | None) -> Report:
    from headgate.core.record import LOAD_TAG
    from headgate.load.own import NOTHING
    from headgate.load.report import make_report
    from headgate.load.run import Run
    from headgate.load.target import Target

    tag = f"{LOAD_TAG}={given.run}"
    target = Target(given.url, model=given.model, key=given.key, tag=tag, most_input=given.most_input)
    given.check_host(target.host)
    arrivals = _arrivals(given, directory, engine)
    run = Run(
        target,
        arrivals,
        timeout=given.timeout,
        most_open=given.most_open,
        stream_share=given.stream,
        use_models=given.own_models,
    )
    began_ns, began = time.time_ns(), time.monotonic()
    stopped = _play(run, _Progress(arrivals))
    took = time.monotonic() - began
    recorded = NOTHING
    if directory is not None and engine is not None:
        from headgate.load.recorded import look_up

        wait_for_recorder(directory, engine)
        recorded = look_up(engine, given.run, began_ns, run.tally.kept())
    return make_report(
        run.tally,
        time_ns=began_ns,
        target=target.url,
        source=arrivals.source,
        speed=given.part["speed"],
        model="as recorded" if given.own_models else given.model,
        streamed=given.stream,
        took_s=took,
        recorded=recorded,
        stopped=stopped,
    )


def _play(run: Run, progress: _Progress) -> bool:
    """Plays it; returns whether it was interrupted."""
    from headgate.cli.serve import raise_file_limit

    raise_file_limit()
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            runner.run(run.play(progress.show))
        except KeyboardInterrupt:
            if not run.tally.started:
                raise
            return True
        finally:
            progress.close()
    return False


class _Progress:
    """The bar on standard error; where that is no terminal, a line now and then."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._all = arrivals
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + _LINE_S
        self._wrote = False

    def show(self, run: Run) -> None:
        """Draws it anew."""
        if not self._terminal and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LINE_S
        tally = run.tally
        done = tally.started + tally.skipped
        part = done / self._all.calls
        left = max(0, round(self._all.seconds - tally.last_s))
        bar = "#" * int(_WIDTH * part)
        line = (
            f"[{bar:<{_WIDTH}}] {100 * part:3.0f} % {done:,}/{self._all.calls:,} calls, {run.open:,} open, "
            f"{tally.failed:,} errors, {left // 60}:{left % 60:02} left"
        )
        print(
            f"\r{line:<79}" if self._terminal else line, end="" if self._terminal else "\n", file=sys.stderr, flush=True
        )
        self._wrote = self._terminal

    def close(self) -> None:
        """Leaves the line."""
        if self._wrote:
            print(file=sys.stderr)


def _write(report: Report, given: _Options, directory: DataDir | None) -> None:
    from headgate.cli.tables import print_json, print_table
    from headgate.load.kept import keep_mark
    from headgate.load.page import render
    from headgate.load.report import lines, plain, rows

    # First of all what can not fail: a run of hours is not lost with the disk.
    if given.form == "json":
        print_json(plain(report))
    else:
        columns = ("FROM THE INTENDED START", "P50", "P95", "P99", "LONGEST")
        print_table(columns, rows(report), frozenset(columns[1:]))
        print("\n".join(lines(report)))
    page = given.html
    try:
        if directory is not None:
            kept = keep_mark(directory.path, report)
            page = page or kept.with_suffix(".html")
        if page is not None:
            page.write_text(render(report))
        if given.json is not None:
            given.json.write_text(_json(report))
    except OSError as error:
        raise BadRequest(f"the report can not be written: {error.strerror}: {error.filename}") from error
    if page is not None:
        print(f"page: {page}", file=sys.stderr)


def _json(report: Report) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"
