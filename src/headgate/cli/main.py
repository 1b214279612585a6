"""The command line: ``headgate VERB``. A verb's module is imported when that verb runs, and no other."""

from __future__ import annotations

import codecs
import errno
import importlib
import io
import keyword
import os
import sys
from collections.abc import Sequence

import click

from headgate.cli.options import Words
from headgate.core.errors import ConfigError, HeadgateError

VERBS = {
    "init": ("headgate.cli.init", "Write a configuration to begin with."),
    "serve": ("headgate.cli.serve", "Run the gateway."),
    "sim": ("headgate.cli.sim", "Run a simulated upstream to test against."),
    "records": ("headgate.cli.records", "List the calls that were made."),
    "record": ("headgate.cli.records", "Tell the whole story of one call."),
    "spend": ("headgate.cli.spend", "Show what calls cost."),
    "replay": ("headgate.cli.replay", "Send recorded calls again, and compare."),
    "feedback": ("headgate.cli.feedback", "Show what people thought of answers."),
    "stats": ("headgate.cli.stats", "Show how calls went: errors, latency, speed, tokens."),
    "estimate": ("headgate.cli.estimate", "Tell what a call would cost before it is made."),
    "prices": ("headgate.cli.prices", "List what deployments cost."),
    "reconcile": ("headgate.cli.reconcile", "Compare the ledger with a provider's export."),
    "keys": ("headgate.cli.keys", "Make, list, change, rotate and revoke virtual keys."),
    "users": ("headgate.cli.people", "Make, list, change and delete people."),
    "teams": ("headgate.cli.people", "Make, list and delete teams."),
    "budgets": ("headgate.cli.budgets", "Show, set and remove limits and budgets."),
    "alerts": ("headgate.cli.alerts", "Show, silence and try out alerts."),
    "erase": ("headgate.cli.erase", "Erase what the store holds of one end user."),
    "audit": ("headgate.cli.audit", "Show who changed what, and prove that the log is whole."),
    "data": ("headgate.cli.data", "Move the data to a shared Postgres."),
    "load": ("headgate.cli.load", "Load a gateway from a trace or from recorded traffic."),
    "check": ("headgate.cli.check", "Go through the deployment checklist."),
    "import": ("headgate.cli.imports", "Turn a LiteLLM configuration into ours."),
    "config": ("headgate.cli.config", "Check and explain the configuration."),
    "version": ("headgate.cli.version", "Show the version, and which files are used."),
}
"""Each verb, the module that has it as a click command of the same name, and its line in the help."""

_PLACES = frozenset(
    (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EIO,
    )
)
"""What is wrong with a disk or a path is the user's to mend, and no fault that wants a traceback."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Verbs(Words):
    """A group that knows its commands by name and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the verbs in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports a verb."""
        if cmd_name not in VERBS:
            return None
        attribute = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command = getattr(importlib.import_module(VERBS[cmd_name][0]), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{VERBS[cmd_name][0]}.{cmd_name} is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the verbs' help lines without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


@click.group(cls=Verbs, context_settings=CONTEXT)
@click.version_option(package_name="headgate", message="%(prog)s %(version)s")
def headgate() -> None:
    """The gate between your application and the language models that it uses."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs one verb and returns its exit code: 0, 1 for a failure, 2 for wrong usage or configuration."""
    _escape_what_has_no_sign()
    try:
        result = headgate.main(args=args, prog_name="headgate", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except HeadgateError as error:
        print(f"Error: {_message(error)}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except BrokenPipeError:
        _silence()  # whoever read our output has seen enough
        return 1
    except OSError as error:
        if error.errno not in _PLACES:
            raise
        _silence()
        what = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else "can not go on: "
        print(f"Error: {what}{error.strerror}", file=sys.stderr)
        return 1
    except UnicodeEncodeError as error:
        if not any("\udc80" <= sign <= "\udcff" for sign in error.object):
            raise
        print(f"Error: what was given is not UTF-8: {error.object[:60]!a}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, click.Abort):
        return 130
    return result if isinstance(result, int) else 0


def _escape_what_has_no_sign() -> None:
    """Where the output is not UTF-8, a name in other signs is written with escapes (valid in JSON): no traceback."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and out.errors == "strict" and codecs.lookup(out.encoding).name != "utf-8":
        codecs.register_error("headgate.escape", _escape)
        out.reconfigure(errors="headgate.escape")


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    import json

    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _silence() -> None:
    """Python must not try to flush what could not be written again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _message(error: HeadgateError) -> str:
    message = error.message
    if "\n" in message:
        message = "the configuration has errors:\n" + message
    return f"{message} {error.hint}" if error.hint else message
