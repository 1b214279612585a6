"""Puts real questions to a running gateway through the official SDKs, and checks every answer and every Record.

The questions are MT-bench's, both turns, and Arena-hard's; the embedded ``sim/echo`` repeats the last one, so that each
answer can be checked whole. ``run(data, folder, kinds)`` is what the test asserts on.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import anthropic
import openai

from headgate.sim import tokens

from .conftest import Gateway
from .player import records_of

CONFIG = """
models:
  fast: {route: [sim/echo]}
"""
ROOT = pathlib.Path(__file__).resolve().parents[2]
OPENAI_NPM = "4.104.0"
"""The last line of the npm package that Node 18 runs."""
RUNNER = pathlib.Path(__file__).with_name("openai_sdk.mjs")
CONCURRENCY = 16
SETTINGS: dict[str, Any] = {"max_retries": 0, "timeout": 30, "_strict_response_validation": True}
"""Of both SDKs' clients: strict ones check each answer and event against their types, in half the time."""
MAX_TOKENS = 8192
"""The longest question has 4,144 tokens: more than is allowed where the caller names no limit."""


class Question(NamedTuple):
    """One request: its messages, and what the answer has to be."""

    messages: list[dict[str, str]]

    @property
    def answer(self) -> str:
        """The last message, repeated."""
        return self.messages[-1]["content"]

    @property
    def usage(self) -> tuple[int, int]:
        """Tokens in and out, by the simulator's way of counting."""
        told = sum(tokens.count(message["content"]) + tokens.PER_MESSAGE for message in self.messages)
        return tokens.PER_REQUEST + told, tokens.count(self.answer)


class Answer(NamedTuple):
    """What an SDK made of an answer: the call's id, text, the finish reason's word, (input, output) tokens."""

    id: str
    text: str
    finish: str
    usage: tuple[int, int]


def find_questions(data: pathlib.Path) -> list[Question]:
    """Returns every question, a second turn with the first and its answer before it."""
    found = []
    for line in (data / "prompts" / "mt_bench" / "question.jsonl").read_bytes().splitlines():
        messages: list[dict[str, str]] = []
        for turn in json.loads(line)["turns"]:
            messages.append({"role": "user", "content": turn})
            found.append(Question(list(messages)))
            messages.append({"role": "assistant", "content": turn})
    for line in (data / "prompts" / "arena_hard_v0.1_question.jsonl").read_bytes().splitlines():
        found.append(Question([{"role": "user", "content": json.loads(line)["prompt"]}]))
    return found


async def _openai_unary(client: openai.AsyncOpenAI, question: Question) -> Answer:
    raw = await client.chat.completions.with_raw_response.create(
        model="fast",
        messages=question.messages,  # type: ignore[arg-type]
        max_tokens=MAX_TOKENS,
    )
    done = raw.parse()
    choice = done.choices[0]
    assert done.usage is not None
    used = done.usage.prompt_tokens, done.usage.completion_tokens
    return Answer(raw.headers["x-headgate-id"], choice.message.content or "", choice.finish_reason, used)


async def _openai_streamed(client: openai.AsyncOpenAI, question: Question) -> Answer:
    raw = await client.chat.completions.with_raw_response.create(
        model="fast",
        messages=question.messages,  # type: ignore[arg-type]
        max_tokens=MAX_TOKENS,
        stream=True,
        stream_options={"include_usage": True},
    )
    texts, finish, used = [], "", (0, 0)
    async for chunk in raw.parse():
        if chunk.usage is not None:
            used = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
        for choice in chunk.choices:
            texts.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
    return Answer(raw.headers["x-headgate-id"], "".join(texts), finish, used)


async def _anthropic_unary(client: anthropic.AsyncAnthropic, question: Question) -> Answer:
    raw = await client.messages.with_raw_response.create(
        model="fast",
        messages=question.messages,  # type: ignore[arg-type]
        max_tokens=MAX_TOKENS,
    )
    return _message(raw.headers["x-headgate-id"], await raw.parse())


async def _anthropic_streamed(client: anthropic.AsyncAnthropic, question: Question) -> Answer:
    async with client.messages.stream(
        model="fast",
        messages=question.messages,  # type: ignore[arg-type]
        max_tokens=MAX_TOKENS,
    ) as stream:
        done = await stream.get_final_message()
        return _message(stream.response.headers["x-headgate-id"], done)


def _message(id: str, done: anthropic.types.Message) -> Answer:
    text = "".join(block.text for block in done.content if block.type == "text")
    return Answer(id, text, done.stop_reason or "", (done.usage.input_tokens, done.usage.output_tokens))


PYTHON: dict[str, tuple[Callable[[Any, Question], Awaitable[Answer]], str, bool]] = {
    "openai, Python, unary": (_openai_unary, "openai_chat", False),
    "openai, Python, streamed": (_openai_streamed, "openai_chat", True),
    "anthropic, Python, unary": (_anthropic_unary, "anthropic", False),
    "anthropic, Python, streamed": (_anthropic_streamed, "anthropic", True),
}
NPM = {"openai, npm, unary": False, "openai, npm, streamed": True}


async def _ask_here(url: str, key: str, kind: str, questions: Sequence[Question]) -> list[Answer]:
    ask, dialect, _ = PYTHON[kind]
    client: Any
    if dialect == "anthropic":
        client = anthropic.AsyncAnthropic(base_url=url, api_key=key, **SETTINGS)
    else:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, **SETTINGS)
    free = asyncio.Semaphore(CONCURRENCY)

    async def one(question: Question) -> Answer:
        async with free:
            return await ask(client, question)

    async with client:
        return await asyncio.gather(*map(one, questions))


def _ask_python(gateway: Gateway, kinds: Sequence[str], data: pathlib.Path) -> dict[str, list[Answer]]:
    """Asks in a process of its own: the SDKs' own work for 75,000 streamed events fills a core."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.scenarios.questions", str(data), gateway.url, *kinds],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd=ROOT,
        env={**os.environ, "HEADGATE_KEY": gateway.key},
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return _answers(json.loads(done.stdout))


def _answers(told: dict[str, list[Any]]) -> dict[str, list[Answer]]:
    return {
        kind: [Answer(id, text, finish, tuple(used)) for id, text, finish, used in some] for kind, some in told.items()
    }


def main(data: str, url: str, *kinds: str) -> None:
    """Puts every question through these kinds of Python SDK; prints what they answered as JSON."""
    # They make millions of short-lived objects: the collector would look at them all in vain.
    gc.disable()
    questions = find_questions(pathlib.Path(data))
    key = os.environ["HEADGATE_KEY"]
    print(json.dumps({kind: asyncio.run(_ask_here(url, key, kind, questions)) for kind in kinds}))


def install_npm() -> pathlib.Path:
    """Installs the npm package into a folder of its own, once; returns the folder.

    Raises:
        FileNotFoundError: no npm here.
        subprocess.CalledProcessError: npm could not install it.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise FileNotFoundError("npm and node are not installed")
    folder = pathlib.Path.home() / ".cache" / "headgate-npm" / f"openai-{OPENAI_NPM}"
    package = folder / "node_modules" / "openai" / "package.json"
    if not package.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"openai@{OPENAI_NPM}"]
        subprocess.run(command, check=True, capture_output=True, timeout=300, stdin=subprocess.DEVNULL)
    assert json.loads(package.read_text())["version"] == OPENAI_NPM
    return folder


def _ask_npm(gateway: Gateway, stream: bool, questions: Sequence[Question], package: pathlib.Path) -> list[Answer]:
    task = {
        "baseURL": f"{gateway.url}/v1",
        "apiKey": gateway.key,
        "model": "fast",
        "maxTokens": MAX_TOKENS,
        "stream": stream,
        "concurrency": CONCURRENCY,
        "questions": [question.messages for question in questions],
    }
    done = subprocess.run(
        ["node", "--no-deprecation", str(RUNNER), str(package)],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "NODE_OPTIONS": ""},
    )
    assert done.returncode == 0, done.stderr
    return [
        Answer(one["id"], one["text"], one["finish"], (one["input"], one["output"])) for one in json.loads(done.stdout)
    ]


def problems_of(kind: str, question: Question, answer: Answer, record: dict[str, Any] | None) -> list[str]:
    """Names what is wrong with an answer, or with the Record of its call."""
    dialect, stream = (PYTHON[kind][1], PYTHON[kind][2]) if kind in PYTHON else ("openai_chat", NPM[kind])
    problems = []
    if answer.text != question.answer:
        problems.append(f"{len(answer.text)} characters instead of {len(question.answer)}")
    if answer.finish != ("end_turn" if dialect == "anthropic" else "stop"):
        problems.append(f"finish {answer.finish!r}")
    if answer.usage != question.usage:
        problems.append(f"usage {answer.usage} instead of {question.usage}")
    if record is None:
        return [*problems, "no Record"]
    want = {
        "outcome": "completed",
        "status": 200,
        "dialect": dialect,
        "stream": stream,
        "model": "fast",
        "deployment": "sim/echo",
        "key_name": "test",
        "finish": "stop",
        "input_tokens": question.usage[0],
        "output_tokens": question.usage[1],
    }
    return problems + [f"Record {key} {record[key]!r}" for key, value in want.items() if record[key] != value]


def _ask_all(
    gateway: Gateway,
    kinds: Sequence[str],
    questions: Sequence[Question],
    data: pathlib.Path,
    package: pathlib.Path | None,
) -> dict[str, list[Answer]]:
    answers: dict[str, list[Answer]] = {}
    groups = [[kind for kind in kinds if kind in PYTHON and kind.startswith(sdk)] for sdk in ("openai", "anthropic")]
    with ThreadPoolExecutor() as pool:
        for some in pool.map(lambda group: _ask_python(gateway, group, data), filter(None, groups)):
            answers |= some
    for kind in kinds:
        if kind in NPM:
            assert package is not None
            answers[kind] = _ask_npm(gateway, NPM[kind], questions, package)
    return answers


class Tally(NamedTuple):
    """How the questions fared with one SDK; ``problems`` has a line for each that did not pass."""

    kind: str
    asked: int
    problems: list[str]


def run(
    data: pathlib.Path, folder: pathlib.Path, kinds: Iterable[str] = PYTHON, package: pathlib.Path | None = None
) -> list[Tally]:
    """Puts every question to a gateway of its own, through each kind of SDK.

    Args:
        data: the folder of shared data.
        folder: for the gateway's data.
        kinds: of ``PYTHON`` and ``NPM``.
        package: where the npm package is, for kinds of ``NPM``.
    """
    questions = find_questions(data)
    gateway = Gateway(folder, CONFIG)
    try:
        answers = _ask_all(gateway, list(kinds), questions, data, package)
        records = records_of(gateway, [one.id for some in answers.values() for one in some])
    finally:
        gateway.stop()
    tallies = []
    for kind, some in answers.items():
        judged = zip(questions, some, strict=True)
        found = [
            (answer.id, problems_of(kind, question, answer, records.get(answer.id))) for question, answer in judged
        ]
        tallies.append(Tally(kind, len(found), [f"{id}: {', '.join(some)}" for id, some in found if some]))
    unknown = set(records) - {one.id for some in answers.values() for one in some}
    if unknown:
        tallies.append(Tally("calls that nobody made", len(unknown), sorted(unknown)))
    return tallies


if __name__ == "__main__":
    main(*sys.argv[1:])
