"""Databases whose schema is there: migrated once a process, then copied, which takes a hundredth of the time."""

from __future__ import annotations

import functools
import pathlib
import tempfile

from tests.postgres import Postgres


def lay_schema(path: pathlib.Path) -> pathlib.Path:
    """Gives a data directory, made if missing, its SQLite file with this release's schema; returns the directory."""
    from headgate.stores.data import DATABASE, DataDir

    DataDir(path)  # as private as it has to be
    file = path / DATABASE
    file.touch(0o600)
    file.write_bytes(_sqlite_file())
    return path


def new_database(server: Postgres) -> str:
    """Makes a database with this release's schema on a server; returns its URL."""
    from headgate.stores.migrations import migrate

    if not server.template:
        url = server.new_database()
        migrate(url)
        server.template = url.rpartition("/")[2]
    return server.new_database(like=server.template)


@functools.cache
def _sqlite_file() -> bytes:
    from headgate.stores.data import DATABASE, DataDir
    from headgate.stores.migrations import migrate

    with tempfile.TemporaryDirectory(prefix="headgate-schema-") as folder:
        data = DataDir(pathlib.Path(folder) / "data")
        migrate(data.url)
        left = sorted(file.name for file in data.path.iterdir() if file.stat().st_size and file.is_file())
        assert left == [DATABASE], f"more than one file would have to be copied: {left}"
        return (data.path / DATABASE).read_bytes()
