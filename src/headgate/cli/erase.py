"""``headgate erase``: forgets one end user, in the data directory's store and journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli.options import common, open_data, store_errors
from headgate.cli.registry import actor
from headgate.cli.tables import print_json, print_table

if TYPE_CHECKING:
    from headgate.stores.erase.user import Erased

KINDS = {
    "calls": "calls, stripped of the user and of what was said",
    "payloads": "requests and answers, and their words in the search",
    "tapes": "recordings of failed attempts",
    "feedback": "scores, labels and comments",
    "rollups": "sums by hour and day, given to nobody",
    "windows": "windows of limits, without the name from now on",
    "alerts": "alerts and silences",
    "files": "pieces of the journal that could not be stored",
}
_KEPT = {
    "keys": "keys bound to this user: see `headgate keys`",
    "limits": "limits of this user: see `headgate budgets list`",
    "people": "people of this name: see `headgate users`",
    "unreadable": "files of damaged bytes in the journal (*.corrupt), of whom nobody can tell",
}


@click.command()
@common
@click.option("--user", required=True, metavar="ID", help="The id that calls were made for, sign by sign.")
@click.option("--dry-run", is_flag=True, help="Only tell what there is.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="Output form [table].")
def erase(config: str | None, data: str | None, user: str, dry_run: bool, yes: bool, form: str) -> int:
    """Erase what is stored of one end user, for good. Counts, times and money of their calls stay.

    Calls that began before are forgotten too, whenever they end and are recorded, on every machine that shares the
    database. Keys and limits of the user are not touched.
    """
    from headgate.stores.catchup import catch_up
    from headgate.stores.erase.user import UserErasure, check_user
    from headgate.stores.registry import Registry

    check_user(user)
    place = open_data(config, data)
    engine = place.open_engine()
    try:
        with store_errors():
            if not catch_up(place, engine):
                click.echo("the recorder is behind: it erases what it stores later", err=True)
            found = UserErasure(engine, place, user, actor()).look()
            if dry_run:
                _show(found, form, dry_run=True)
                return 0
            if found.found and not yes and not _agreed(found):
                click.echo("nothing was erased", err=True)
                return 1
            _show(Registry(engine, actor()).erase_user(place, user), form, dry_run=False)
            return 0
    finally:
        engine.dispose()


def _agreed(found: Erased) -> bool:
    _table(found, err=True)
    try:
        return click.confirm("Erase this for good?", err=True)
    except click.Abort:
        raise click.UsageError("nobody is there to be asked: say --yes") from None


def _show(erased: Erased, form: str, *, dry_run: bool) -> None:
    if form == "json":
        print_json(_plain(erased, dry_run=dry_run))
        return
    if not erased.found:
        print("nothing of this user was found")
    else:
        _table(erased)
        if not dry_run:
            print(f"erased as {erased.id}, by which the audit log calls it")
    for name, words in _KEPT.items():
        count = getattr(erased.kept, name)
        if count:
            print(f"left as it is: {count:,} {words}")
    if erased.journal and not dry_run:
        print("a running gateway's journal holds its newest calls for a minute or two more")
    if not erased.overwritten:
        print("the database's write-ahead log was in use all the time: erase again to have it emptied")


def _table(erased: Erased, *, err: bool = False) -> None:
    counts = msgspec.structs.asdict(erased.found)
    rows = [(name, f"{count:,}", KINDS[name]) for name, count in counts.items() if count]
    if err:
        for name, count, words in rows:
            click.echo(f"{name}: {count} ({words})", err=True)
        return
    print_table(("KIND", "COUNT", "WHAT"), rows, frozenset({"COUNT"}))


def _plain(erased: Erased, *, dry_run: bool) -> dict[str, Any]:
    return {
        "erasure": erased.id or None,
        "dry_run": dry_run,
        "found": msgspec.structs.asdict(erased.found),
        "kept": msgspec.structs.asdict(erased.kept),
        "done": erased.done and not dry_run,
        "overwritten": erased.overwritten and not dry_run,
        "journal": erased.journal,
    }
