"""``headgate init``: writes a configuration to begin with."""

from __future__ import annotations

import os
import pathlib

import click

from headgate.cli.options import common
from headgate.config.load import DEFAULT_FILE
from headgate.core.errors import ConfigError


@click.command()
@common
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option("--print", "show", is_flag=True, help="Print it instead.")
def init(config: str | None, data: str | None, force: bool, show: bool) -> None:
    """Write a commented configuration for the provider keys that are in the environment.

    The file is --config, else ./headgate.yaml. No secret is written, only where each one lives.
    """
    from headgate.setup.starter import find, write

    found = find(os.environ)
    text = write(found, data=data)
    if show:
        print(text, end="")
        return
    path = pathlib.Path(config or DEFAULT_FILE)
    write_new(path, text, force=force)
    keys = ", ".join(f"{one.title} ({one.variable})" for one in found) or "no provider's key; it answers by simulator"
    print(f"wrote {path}: {keys}")
    print(f"next: headgate serve --config {path}")


def write_new(path: pathlib.Path, text: str, *, force: bool, option: str = "--config") -> None:
    """Writes a file that is not there yet, or over one that is where ``force`` says so.

    Args:
        path: where to.
        text: all of it.
        force: whether over what is there.
        option: which one of the command line names another file.

    Raises:
        ConfigError: it is there, or can not be written.
    """
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path} is there already; --force writes over it, and {option} names another") from error
    except OSError as error:
        raise ConfigError(f"{path} can not be written: {error.strerror}") from error
