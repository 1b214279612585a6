"""The counting process: started when needed, replaced when it dies, never in the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from headgate.core.encoding import UNKNOWN_ENCODING
from headgate.core.errors import BadRequest
from headgate.dialects.openai_chat import OpenAIChat
from headgate.dialects.tokens import encoding_of
from headgate.observe import counter as counter_module
from headgate.observe.counter import LONG_BYTES, Counter

CHAT = OpenAIChat()
O200K = encoding_of("gpt-4o")


def ask(content: object) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()


@pytest.fixture
async def counter() -> AsyncIterator[Counter]:
    made = Counter()
    yield made
    made.close()


async def count(counter: Counter, content: object = "Hello, gate!", encoding: object = O200K) -> tuple[int, str]:
    found = await counter.count(CHAT.view(ask(content)), CHAT, encoding)  # type: ignore[arg-type]
    return found.tokens, found.method


async def test_many_count_at_once(counter: Counter) -> None:
    """Requests take turns, and each gets its own answer."""
    found = await asyncio.gather(*[count(counter, "word " * n) for n in range(1, 9)])
    assert [tokens for tokens, _ in found] == sorted({tokens for tokens, _ in found})
    assert {method for _, method in found} == {"tokenizer"}


async def test_a_process_that_died_is_replaced(counter: Counter) -> None:
    """The next count starts another; closing twice does no harm."""
    await count(counter)
    process = counter._process
    assert process is not None
    process.kill()
    process.wait()
    assert await count(counter) == (11, "tokenizer")
    counter.close()
    counter.close()
    assert await count(counter) == (11, "tokenizer")


async def test_without_a_process_characters_are_counted(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that can not run, or does not answer in time, costs exactness, not the answer."""
    monkeypatch.setattr(counter_module.sys, "executable", "/bin/false")
    assert (await count(counter))[1] == "characters"
    monkeypatch.setattr(counter_module.sys, "executable", "/no/such/python")
    assert (await count(counter))[1] == "characters"


async def test_a_silent_process_is_given_up(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time it is killed."""
    monkeypatch.setattr(counter_module, "ANSWER_SECONDS", 0.001)
    assert (await count(counter))[1] == "characters"
    assert counter._process is None


async def test_a_count_that_is_cancelled_leaves_no_answer_behind(counter: Counter) -> None:
    """The next one is not given the answer that nobody waited for."""
    task = asyncio.ensure_future(count(counter, "word " * 500))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await count(counter) == (11, "tokenizer")


async def test_what_needs_no_tokenizer_needs_no_process(counter: Counter) -> None:
    """Short requests without a known tokenizer are counted here; long ones are not, lest they block the loop."""
    assert (await count(counter, encoding=UNKNOWN_ENCODING))[1] == "characters"
    assert counter._process is None
    assert (await count(counter, "x" * LONG_BYTES, UNKNOWN_ENCODING))[1] == "characters"
    assert counter._process is not None


async def test_a_wrong_request_is_told(counter: Counter) -> None:
    """The process says nothing of it; the error is raised here."""
    with pytest.raises(BadRequest):
        await count(counter, 7)
