"""``headgate audit``: who changed what, and the proof that the log of it is whole."""

from __future__ import annotations

import click
import msgspec

from headgate.cli.options import Words, common
from headgate.cli.registry import day, open_store, show_lines, show_table


@click.group(cls=Words)
def audit() -> None:
    """Show who changed what, and prove that the log is whole."""


@audit.command("list")
@common
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, metavar="N", help="At most N entries [50].")
@click.option("--before", type=click.IntRange(1), metavar="NUMBER", help="Only entries older than this one.")
@click.option("--format", "form", type=click.Choice(["table", "jsonl"]), default="table", help="Output form [table].")
def list_(config: str | None, data: str | None, limit: int, before: int | None, form: str) -> None:
    """List the changes of keys, people and teams, newest first; jsonl has what was before and after."""
    from headgate.stores.audit import list_entries

    with open_store(config, data) as engine:
        entries = list_entries(engine, limit, before)
    if form == "jsonl":
        show_lines(map(msgspec.structs.asdict, entries))
        return
    rows = ((str(entry.seq), day(entry.time_ns), entry.actor, entry.action, entry.target) for entry in entries)
    show_table(("NUMBER", "TIME", "ACTOR", "ACTION", "TARGET"), rows)


@audit.command()
@common
def head(config: str | None, data: str | None) -> None:
    """Print the hash of the newest entry: note it elsewhere, for `verify --head`."""
    from headgate.stores.audit import head_of

    with open_store(config, data) as engine:
        print(head_of(engine))


@audit.command()
@common
@click.option("--head", metavar="HASH", default="", help="A head noted earlier: it must be in the log.")
def verify(config: str | None, data: str | None, head: str) -> int:
    """Prove that no entry was edited, removed or moved; exit code 1 if one was.

    A log whose end was cut off, or that was made anew, shows with --head only.
    """
    from headgate.stores.audit import verify as verify_log

    with open_store(config, data) as engine:
        verdict = verify_log(engine, head)
    if not verdict.whole:
        print(f"broken: {verdict.reason} (entries before it: {verdict.entries})")
        return 1
    print(f"whole: {verdict.entries} entries, head {verdict.head}")
    return 0
