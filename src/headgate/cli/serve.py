"""``headgate serve``: checks everything that can be checked, then runs the gateway."""

from __future__ import annotations

import resource
import tempfile

import click

from headgate.cli.options import common, overrides
from headgate.config.checks import is_loopback
from headgate.config.settings import Settings
from headgate.config.source import Source
from headgate.core.errors import ConfigError


@click.command()
@common
@click.option("--host", metavar="ADDRESS", help="Address to listen on [server.host, 127.0.0.1].")
@click.option("--port", type=int, metavar="N", help="Port to listen on, 0 for a free one [server.port, 8484].")
@click.option("--workers", type=int, metavar="N", help="Worker processes [server.workers, 1].")
def serve(config: str | None, data: str | None, host: str | None, port: int | None, workers: int | None) -> int:
    """Run the gateway. Prints one line with `ready` and the URL once it answers."""
    given = overrides(
        server__host=("--host", host),
        server__port=("--port", port),
        server__workers=("--workers", workers),
        data__dir=("--data", data),
    )
    source = Source(config, overrides=given)
    settings = source.load()
    check_data(settings)
    raise_file_limit()
    from headgate.server.run import run

    return run(settings, source)


def check_data(settings: Settings) -> None:
    """Makes sure that the data directory can be written, and that a gateway beyond loopback has a key.

    Raises:
        ConfigError: it is not so; the message says what to do.
        Unavailable: a Postgres does not answer.
    """
    from headgate.stores.data import DataDir

    data = DataDir(settings.data.dir, url=settings.database_url)
    try:
        with tempfile.TemporaryFile(dir=data.path):
            pass
    except OSError as error:
        raise ConfigError(
            f"the data directory {data.path} can not be written: {error.strerror}; choose another with --data"
        ) from error
    if data.database:
        data.prepare()  # here, once, and its error in one line; workers share what their parent has loaded
    host = settings.server.host
    if is_loopback(host) or settings.admin_key is not None:
        return
    if not data.has_keys():
        raise ConfigError(
            f"{host} can be reached from other machines, and there is no key yet: make one with "
            f"`headgate keys create --name NAME --data {settings.data.dir}`, or set HEADGATE_ADMIN_KEY, "
            "or listen on 127.0.0.1"
        )


def raise_file_limit() -> None:
    """Raises the soft limit of open files to the hard one: every stream takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Where the hard limit is infinite (macOS), the kernel still refuses more than this.
    wanted = 10_240 if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
