"""``headgate version``: what runs, and which files it uses; made to be pasted into a bug report."""

from __future__ import annotations

import importlib.metadata
import platform

import click

from headgate.cli.options import common


@click.command()
@common
def version(config: str | None, data: str | None) -> None:
    """Show the version, and which files are used."""
    from headgate.config.load import find_data, find_file

    file = find_file(config)
    print(f"headgate {importlib.metadata.version('headgate')}")
    print(f"python   {platform.python_version()} on {platform.system()} {platform.machine()}")
    print(f"config   {file or 'none, defaults'}")
    print(f"data     {find_data(data, config).dir}")
