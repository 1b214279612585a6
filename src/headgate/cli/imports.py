"""``headgate import``: turns another gateway's configuration into ours."""

from __future__ import annotations

import os
import pathlib
import sys

import click

from headgate.cli.options import Words, common
from headgate.core.errors import ConfigError


@click.group(cls=Words, name="import")
def import_() -> None:
    """Turn another gateway's configuration into ours."""


@import_.command()
@common
@click.argument("file", metavar="CONFIG.yaml")
@click.option("-o", "--out", metavar="OUT", help="Where ours goes, - for standard output [--config, headgate.yaml].")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", help="Form of the account [table]."
)
def litellm(config: str | None, data: str | None, file: str, out: str | None, force: bool, form: str) -> int:
    """Turn a LiteLLM proxy configuration into ours, and account for each of its settings.

    No secret is written: a key becomes the name of the variable that holds it. Exit code 1 where no model could be
    carried.
    """
    from headgate.cli.init import write_new
    from headgate.config.load import DEFAULT_FILE
    from headgate.setup.litellm.convert import convert

    imported = convert(_read(file), "" if file == "-" else file, os.environ)
    if data is not None:
        raise click.UsageError("a configuration is imported, no data: leave --data out")
    account = sys.stdout
    if out == "-":
        print(imported.text, end="")
        account = sys.stderr
    else:
        path = pathlib.Path(out or config or DEFAULT_FILE)
        write_new(path, imported.text, force=force, option="-o")
        print(f"wrote {path}", file=sys.stderr)
    if form == "json":
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(imported.notes), indent=1).decode(), file=account)
    else:
        width = max((len(note.path) for note in imported.notes), default=0)
        for note in imported.notes:
            print(f"{note.fate:<11}  {note.path:<{min(width, 60)}}  {note.about}", file=account)
    counts = ", ".join(f"{imported.count(fate)} {fate}" for fate in ("carried", "changed", "to do", "not carried"))
    print(f"{imported.models} models here, {len(imported.lost)} not; settings: {counts}", file=sys.stderr)
    missing = [name for name in imported.variables if not os.environ.get(name)]
    if missing:
        print(f"not set here: {', '.join(missing)}", file=sys.stderr)
    return 0 if imported.models else 1


def _read(file: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if file == "-" else pathlib.Path(file).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"can not read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8") from error
