"""``headgate estimate``: what a call would cost, told before it is made."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from typing import TYPE_CHECKING

import click
import msgspec

from headgate.cli.options import common, overrides
from headgate.cli.tables import print_json, print_table
from headgate.core.errors import BadRequest, UnknownModel
from headgate.core.price import show_cost

if TYPE_CHECKING:
    from headgate.config.settings import Settings
    from headgate.core.call import Deployment
    from headgate.observe.estimate import CallEstimate


@click.command()
@common
@click.argument("request_file", metavar="[FILE]", required=False)
@click.option("--text", help="One user message, instead of a request.")
@click.option("--model", help="The model, where the request names none, or another one.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), metavar="N", help="The longest answer, where it says nothing."
)
@click.option("--dialect", help="openai_chat, anthropic or embeddings [as the request looks].")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="Output form [table].")
def estimate(
    config: str | None,
    data: str | None,
    request_file: str | None,
    text: str | None,
    model: str | None,
    max_tokens: int | None,
    dialect: str | None,
    form: str,
) -> int:
    """Tell the tokens and the cost of a request at each deployment of its model.

    The request is JSON as it would be sent: from FILE, from standard input (-), or made of --text.
    """
    from headgate.config.load import load_settings

    settings = load_settings(config, overrides=overrides(data__dir=("--data", data)))
    raw = _request(request_file, text, model, max_tokens)
    found = asyncio.run(_estimate(settings, raw, dialect))
    if form == "json":
        print_json(found.plain())
    else:
        _print_table(found)
    return 0


def _request(file: str | None, text: str | None, model: str | None, max_tokens: int | None) -> bytes:
    """Returns the request's body, with what the options say laid over it."""
    if text is not None and file is not None:
        raise BadRequest("give a file or --text, not both")
    if text is not None:
        fields = {"messages": [{"role": "user", "content": text}]}
    else:
        if file is None and sys.stdin.isatty():
            raise BadRequest("what is to be estimated? Name a file with the request, or give --text and --model")
        try:
            raw = sys.stdin.buffer.read() if file in (None, "-") else pathlib.Path(str(file)).read_bytes()
            fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        except OSError as error:
            raise BadRequest(f"can not read {file}: {error.strerror}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest(f"the request is not a JSON object: {error}", code="invalid_json") from error
        if model is None and max_tokens is None:
            return raw
    given = {"model": model, "max_tokens": max_tokens}
    return msgspec.json.encode({**fields, **{name: value for name, value in given.items() if value is not None}})


async def _estimate(settings: Settings, raw: bytes, named: str | None) -> CallEstimate:
    from headgate.dialects.anthropic import Anthropic
    from headgate.dialects.base import Dialect
    from headgate.dialects.embeddings import Embeddings
    from headgate.dialects.openai_chat import OpenAIChat
    from headgate.observe.estimate import count_here, estimate_call, guess_dialect

    faces: dict[str, Dialect] = {face.name: face for face in (OpenAIChat(), Anthropic(), Embeddings())}
    name = named or guess_dialect({}, raw)
    if name not in faces:
        raise BadRequest(f"there is no dialect {name!r}; there is {', '.join(faces)}", param="dialect")
    view = faces[name].view(raw)
    warn = settings.estimate
    return await estimate_call(
        view,
        faces[name],
        plan_of(settings, view.model),
        count=count_here,
        warn_tokens=warn.warn_tokens,
        warn_dollars=warn.warn_dollars,
    )


def plan_of(settings: Settings, name: str) -> list[Deployment]:
    """Returns the deployments of a configured model or ``provider/model``, priced, none of which can be called.

    Raises:
        UnknownModel: there is no such model.
    """
    from headgate.config.priced import price_steps, steps_of

    steps = steps_of(settings, name)
    if not steps:
        raise UnknownModel(
            f"the model {name!r} is not configured; there is: {', '.join(settings.models)}", param="model"
        )
    return price_steps(settings, steps)


def _print_table(found: CallEstimate) -> None:
    rows = [
        (
            one.deployment,
            f"{one.input_tokens:,}{'' if one.method == 'tokenizer' else ' ?'}",
            f"{one.output_tokens:,}",
            *(show_cost(cost) for cost in (one.least, one.most, one.reserved)),
        )
        for one in found.deployments
    ]
    columns = ("DEPLOYMENT", "INPUT", "MAX OUTPUT", "LEAST", "MOST", "RESERVED")
    print_table(columns, rows, frozenset(columns[1:]))
    if any(one.method != "tokenizer" for one in found.deployments):
        print("? counted by characters: this model's tokenizer is not known here")
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
