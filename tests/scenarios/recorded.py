"""Replays every recorded exchange with a provider through a running gateway, and says how each one fared.

``run(data, folder)`` is what the test asserts on. As a script it prints the table of counts; from the root:
``.venv/bin/python -m tests.scenarios.recorded [--seeds N] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import functools
import json
import os
import pathlib
import platform
import sys
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jsonschema
import pydantic
import yaml
from tests.contract import across
from tests.contract.across import ANTHROPIC, OPENAI, Told

from headgate.core.errors import HeadgateError

from .conftest import Gateway, Upstream
from .player import Ask, Case, Clients, Player, Served, find_cases, load_object, model_of, records_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
TITLE = "Recorded providers, replayed as upstreams of a running gateway"
CONFIG = """
providers:
  rec_openai_chat: {{dialect: openai_chat, url: "http://127.0.0.1:{port}/v1", key: "env:UP_KEY"}}
  rec_anthropic: {{dialect: anthropic, url: "http://127.0.0.1:{port}/v1", key: "env:UP_KEY"}}
models:
  never-asked: {{route: [sim/echo]}}
"""
DIALECTS = {"openai_chat": OPENAI, "anthropic": ANTHROPIC}
NAMES = {"openai_chat": "OpenAI", "anthropic": "Anthropic"}
READ = {"openai_chat": across.told_by_openai, "anthropic": across.told_by_anthropic}
TRANSLATED = {"openai_chat": across.FROM_OPENAI, "anthropic": across.FROM_ANTHROPIC}
NEUTRAL = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "stop_sequence": "stop_sequence",
    "pause_turn": "pause",
    "refusal": "refusal",
}
"""A Record's finish reason, by the provider's own word."""
SAY = {"messages": [{"role": "user", "content": "Go on."}], "max_tokens": 4096}
"""What is asked where a recording has no request, or one that can not be said in the other dialect."""


class Verdict(NamedTuple):
    """How one exchange fared. ``lost`` names what had no counterpart; ``why`` says what failed."""

    route: str
    provider: str
    name: str
    lost: tuple[str, ...]
    why: str


def same_ask(case: Case) -> Ask:
    """Returns the recorded request, for another model."""
    request = load_object(case.one.request) or {**SAY, "stream": case.one.stream}
    body = {**request, "model": model_of(case, case.wire)}
    if "messages" not in body:
        body = {**SAY, "model": body["model"]}
    return Ask(case, case.wire, json.dumps(body).encode())


def across_ask(case: Case) -> Ask:
    """Returns the recorded request in the other dialect, or a plain one where there is none to translate."""
    client = "anthropic" if case.wire == "openai_chat" else "openai_chat"
    body: dict[str, Any] = dict(SAY)
    try:
        view = DIALECTS[case.wire].view(same_ask(case).body)
        conversation = DIALECTS[case.wire].read_request(view)
        conversation.max_tokens = conversation.max_tokens or SAY["max_tokens"]
        encoded = DIALECTS[client].write_request(conversation, max_tokens_field="max_tokens", stream_usage=True)
        body = json.loads(encoded.body)
    except HeadgateError:
        pass  # a recorded mistake, or a server whose calls have no ids: its answer is asked for all the same
    body |= {"model": model_of(case, client), "stream": case.one.stream}
    if case.one.stream and client == "openai_chat":
        body["stream_options"] = {"include_usage": True}
    return Ask(case, client, json.dumps(body).encode())


def replay(cases: Sequence[Case], folder: pathlib.Path, seed: int) -> list[tuple[Served, dict[str, Any] | None]]:
    """Asks a gateway of its own for every recording, in both dialects; returns what came with its Record."""
    player = Player(cases, seed)
    upstream = Upstream(player)
    gateway = None
    try:
        gateway = Gateway(folder, CONFIG.format(port=upstream.port), key=False)
        clients = Clients(gateway.port)
        try:
            asks = [ask(case) for case in cases for ask in (same_ask, across_ask)]
            served = clients.ask(asks, player)
        finally:
            clients.close()
        records = records_of(gateway, [one.headers.get("x-headgate-id", "") for one in served])
    finally:
        if gateway is not None:
            gateway.stop()
        upstream.close()
    return [(one, records.get(one.headers.get("x-headgate-id", ""))) for one in served]


def judge(served: Served, record: dict[str, Any] | None, check: Any) -> Verdict:
    """Compares what the client got, and the Record of it, with the recording."""
    case, client = served.ask.case, served.ask.client
    one = case.one
    shape = "streamed" if one.stream else "unary"
    route = f"{NAMES[case.wire]} to {NAMES[client]} client, {shape}"
    lost: tuple[str, ...] = ()
    try:
        if record is None:
            why = "no Record"
        elif one.status != 200 or not is_answer(case):
            why = judge_refusal(served, record)
        else:
            lost = losses(served, record)
            told = READ[case.wire](one.body, one.stream)
            judged = judge_same(served) if client == case.wire else judge_across(served, told, lost, check)
            why = "; ".join(filter(None, [judged, judge_record(served, record, told)]))
    except (HeadgateError, AssertionError, KeyError, ValueError, jsonschema.ValidationError) as error:
        why = f"{type(error).__name__}: {str(error)[:300]}"
    return Verdict(route, one.provider, one.name, lost, why)


def is_answer(case: Case) -> bool:
    """Whether a recorded 200 is one: some hold an error, and of some the recorder kept nothing."""
    return bool(case.one.body) and "error" not in load_object(case.one.body)


def losses(served: Served, record: dict[str, Any]) -> tuple[str, ...]:
    """Returns what the Record says was lost, and what it ought to say of the answer."""
    named = {*record["lost"], *(path for attempt in record["attempts"] for path in attempt["lost"])}
    case, client = served.ask.case, served.ask.client
    if client != case.wire:
        events = across.events_of(DIALECTS[case.wire], case.one.body, case.one.stream)
        named |= set(across.rendered(DIALECTS[client], events, case.one.stream)[1])
    return tuple(sorted(named))


def judge_refusal(served: Served, record: dict[str, Any]) -> str:
    """What is wrong with how an error, or no answer at all, came through."""
    one, client = served.ask.case.one, served.ask.client
    ours = one.status in (401, 402, 403, 407) or not one.body
    problems = []
    if one.status == 200 and one.body:
        if served.status < 400:
            problems.append(f"status {served.status} for an error inside a 200")
    elif served.status != (502 if ours else one.status):
        problems.append(f"status {served.status} for {one.status}")
    if client == served.ask.case.wire and not ours:
        if served.body != one.body:
            problems.append("the recorded body did not come through")
    elif one.body and one.body in served.body:
        problems.append("the recorded body shows")
    else:
        body = load_object(served.body)
        error = body.get("error")
        if not isinstance(error, dict) or not error.get("message") or not error.get("type"):
            problems.append(f"error body {served.body[:200]!r}")
        if client == "anthropic" and body.get("type") != "error":
            problems.append("error body without its type")
    if (record["outcome"], record["status"]) != ("failed", served.status):
        problems.append(f"Record {record['outcome']} {record['status']}")
    return ", ".join(problems)


def judge_same(served: Served) -> str:
    """What is wrong with an answer in the recording's own dialect: bytes, and the request that went up."""
    one, case = served.ask.case.one, served.ask.case
    problems = []
    if served.status != 200:
        return f"status {served.status}: {served.body[:200]!r}"
    want = b"".join(shown_events(served.ask)) if one.stream else one.body
    if served.body != want:
        place = next((at for at, (a, b) in enumerate(zip(served.body, want, strict=False)) if a != b), len(served.body))
        problems.append(f"body differs at {place}: {served.body[place:][:60]!r} for {want[place:][:60]!r}")
    return ", ".join([*problems, *changes(load_object(served.ask.body), load_object(served.asked), case.wire)])


def changes(sent: dict[str, Any], up: dict[str, Any], wire: str) -> list[str]:
    """Names what of a request went up otherwise than it was sent, though no policy asks for it."""
    problems = []
    policy = {"model", "stream_options"} if wire == "openai_chat" else {"model"}
    if sent.get("max_tokens") is None and sent.get("max_completion_tokens") is None:
        policy.add("max_tokens")
        if not isinstance(up.get("max_tokens"), int):
            problems.append("no max_tokens went up")
    for key in sorted((sent.keys() | up.keys()) - policy):
        if key not in up or key not in sent or sent[key] != up[key]:
            problems.append(f"{key} went up otherwise than it was sent")
    if wire == "openai_chat" and up.get("stream") and not up["stream_options"]["include_usage"]:
        problems.append("no usage was asked for")
    return problems


def shown_events(ask: Ask) -> list[bytes]:
    """Returns a recorded stream's events as they are to reach the client: usage only where it was asked for."""
    body = ask.case.one.body
    ending = b"\r\n\r\n" if b"\r\n\r\n" in body else b"\n\n"
    events = [event + ending for event in body.split(ending)]
    events[-1] = events[-1].removesuffix(ending)
    options = load_object(ask.body).get("stream_options") or {}
    if ask.client != "openai_chat" or options.get("include_usage"):
        return events
    return [event for event in events if not is_usage(event)]


def is_usage(event: bytes) -> bool:
    """Whether an event of an OpenAI stream holds usage and no choice."""
    chunk = load_object(event.partition(b"data:")[2])
    return bool(chunk.get("usage")) and not chunk.get("choices")


def judge_across(served: Served, told: Told, lost: tuple[str, ...], check: Any) -> str:
    """What is wrong with an answer in the other dialect: what it says, and its shape."""
    case, client = served.ask.case, served.ask.client
    stream = case.one.stream
    if served.status != 200:
        return f"status {served.status}: {served.body[:200]!r}"
    words = TRANSLATED[case.wire]
    want = told._replace(finish=words.get(told.finish, told.finish))
    try:
        across.validate_answer(DIALECTS[client], served.body, stream)
    except pydantic.ValidationError as error:
        return f"the SDK refuses it: {str(error)[:300]}"
    if client == "openai_chat":
        check(served.body, stream)
    return across.compare(READ[client](served.body, stream), want, lost)


def judge_record(served: Served, record: dict[str, Any], told: Told) -> str:
    """What is wrong with the Record of an answered call."""
    finish = NEUTRAL.get(told.finish) or ("tool_calls" if told.calls else "other")
    want: dict[str, Any] = {
        "outcome": "completed",
        "status": 200,
        "stream": served.ask.case.one.stream,
        "dialect": served.ask.client,
        "wire_finish": told.finish,
        "finish": finish,
    }
    usage = record["usage"] or {}
    if told.usage is not None:
        want |= {"input_tokens": told.usage[0], "output_tokens": told.usage[1]}
    if usage.get("estimated") is not (told.usage is None):
        return f"Record usage {usage}"
    wrong = [f"Record {key} {record[key]} for {value}" for key, value in want.items() if record[key] != value]
    return ", ".join(wrong)


def unnamed(served: Served, record: dict[str, Any] | None) -> set[str]:
    """Returns what of an answer was lost without the Record's saying so."""
    if record is None or record["outcome"] != "completed":
        return set()
    return set(losses(served, record)) - {*record["lost"], *(p for a in record["attempts"] for p in a["lost"])}


class OpenApi:
    """OpenAI's own description of its chat answers, read once somebody asks.

    Args:
        data: the folder of shared data.
        every: check every chunk of a stream, or a few.
    """

    def __init__(self, data: pathlib.Path, every: bool) -> None:
        self._path = data / "specs" / "openai.openapi.yaml"
        self._every = every

    @functools.cached_property
    def _schemas(self) -> dict[bool, Any]:
        with open(self._path, "rb") as file:
            components = nullable(yaml.load(file, yaml.CSafeLoader)["components"])
        names = {False: "CreateChatCompletionResponse", True: "CreateChatCompletionStreamResponse"}
        return {
            stream: jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": components})
            for stream, name in names.items()
        }

    def check(self, body: bytes, stream: bool) -> None:
        """Raises jsonschema.ValidationError for an answer that is none."""
        items = list(across.sse(body)) if stream else [json.loads(body)]
        shown = {0, 1, len(items) // 2, len(items) - 2, len(items) - 1}
        for index, item in enumerate(items):
            if self._every or index in shown:
                self._schemas[stream].validate(item)


def nullable(value: Any) -> Any:
    """Rewrites OpenAPI 3.0's ``nullable``, which the file still uses, as JSON Schema."""
    if isinstance(value, list):
        return [nullable(item) for item in value]
    if not isinstance(value, dict):
        return value
    tidy = {key: nullable(item) for key, item in value.items() if key != "nullable"}
    return {"anyOf": [tidy, {"type": "null"}]} if value.get("nullable") is True else tidy


class Result(NamedTuple):
    """A Verdict for each exchange and client; ``unnamed`` counts what answers lost and their Records do not name."""

    verdicts: list[Verdict]
    unnamed: dict[str, int]


def run(data: pathlib.Path, folder: pathlib.Path, seeds: Iterable[int] = (1,), every: bool = False) -> Result:
    """Replays everything once for each seed of the re-chunking; an exchange passes if it does so every time."""
    cases = find_cases(data)
    check = OpenApi(data, every).check
    verdicts: dict[tuple[str, str], Verdict] = {}
    quiet: collections.Counter[str] = collections.Counter()
    for seed in seeds:
        place = folder / f"seed{seed}"
        place.mkdir()
        found: collections.Counter[str] = collections.Counter()
        for served, record in replay(cases, place, seed):
            verdict = judge(served, record, check)
            key = verdict.route, verdict.name
            if key not in verdicts or verdict.why:
                verdicts[key] = verdict
            found.update(across.generic(path) for path in unnamed(served, record))
        quiet |= found
    return Result(list(verdicts.values()), dict(quiet))


def rows_of(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Returns the counts by route and provider."""
    groups: dict[tuple[str, str], list[Verdict]] = collections.defaultdict(list)
    for verdict in verdicts:
        groups[verdict.route, verdict.provider].append(verdict)
    rows = []
    for (route, provider), some in sorted(groups.items(), key=lambda item: (item[0][0].split(",")[0], item[0])):
        good = [one for one in some if not one.why]
        fields = collections.Counter(across.generic(path) for one in good for path in one.lost)
        passed = sum(not one.lost for one in good)
        counts = {"passed": passed, "loud": len(good) - passed, "failed": len(some) - len(good)}
        rows.append({"route": route, "provider": provider, **counts, "lost": dict(sorted(fields.items()))})
    return rows


def is_same(route: str) -> bool:
    """Whether client and provider of a route speak the same dialect."""
    return route.count("OpenAI") != 1


def bars_of(result: Result) -> list[dict[str, Any]]:
    """Returns the issue's bars with what came out."""
    same = [one for one in result.verdicts if is_same(one.route)]
    found = (
        ("exchanges that failed", sum(bool(one.why) for one in result.verdicts), len(result.verdicts)),
        ("exchanges in the provider's own dialect that lost something", sum(bool(one.lost) for one in same), len(same)),
        ("losses in answers that the Record does not name", sum(result.unnamed.values()), len(result.verdicts)),
    )
    return [
        {"what": what, "bar": "0", "measured": f"{count} of {total:,}", "holds": count == 0}
        for what, count, total in found
    ]


def find_data() -> pathlib.Path:
    """Returns the folder of shared data, for scripts."""
    return pathlib.Path(os.environ.get("HEADGATE_SHARED_DATA") or ROOT.parent / "shared" / "data").resolve()


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, saves it where asked; returns 1 if a bar does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="how many re-chunkings of the same bytes")
    parser.add_argument("--json", type=pathlib.Path, help="where to save the figures")
    chosen = parser.parse_args(arguments)
    data = find_data()
    with tempfile.TemporaryDirectory(prefix="headgate-recorded-") as folder:
        result = run(data, pathlib.Path(folder), range(1, chosen.seeds + 1), every=True)
    rows, bars = rows_of(result.verdicts), bars_of(result)
    for row in rows:
        print("{route:42} {provider:22} passed {passed:5} loud {loud:4} failed {failed:3}  {lost}".format(**row))
    for verdict in result.verdicts:
        if verdict.why:
            print(f"FAILED {verdict.route}, {verdict.provider}, {verdict.name}: {verdict.why}")
    for bar in bars:
        print(f"{'holds      ' if bar['holds'] else 'FALLS SHORT'}  {bar['what']}: {bar['measured']}")
    for field, count in result.unnamed.items():
        print(f"    not named: {field} ({count})")
    if chosen.json:
        figures = {
            "name": "recorded",
            "title": TITLE,
            "measured_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()},
            "about": f"An exchange passes if it does under {chosen.seeds} random re-chunkings of the upstream's bytes.",
            "rows": rows,
            "bars": bars,
        }
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    return int(not all(bar["holds"] for bar in bars))


if __name__ == "__main__":
    sys.exit(main())
