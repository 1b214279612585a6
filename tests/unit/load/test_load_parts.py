"""The parts of a load test: arrivals, requests, answers, sums that stay small, the gateway's own share, the page."""

from __future__ import annotations

import random
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from headgate.core.errors import BadRequest
from headgate.load.answer import Answer
from headgate.load.arrivals import Arrival, cut, read_trace
from headgate.load.histogram import Histogram
from headgate.load.own import own_share
from headgate.load.page import render
from headgate.load.report import lines, make_report, rows
from headgate.load.tally import KEPT, SLOWEST, Tally, Timed
from headgate.load.target import Target

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
ROWS = "2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n2023-11-16 18:17:13.9799600,110,27"


def trace(folder: Path, text: str) -> Path:
    """Writes a trace."""
    file = folder / "trace.csv"
    file.write_text(text)
    return file


def test_a_trace_is_read_in_the_azure_form(tmp_path: Path) -> None:
    """Times count from the first line; seven decimals, no line end at the end; it can be read again."""
    arrivals = read_trace(trace(tmp_path, HEAD + ROWS))
    assert (arrivals.calls, round(arrivals.seconds, 3)) == (3, 10.0)
    assert [(round(one.at, 3), *one[1:3]) for one in arrivals.read()] == [
        (0, 4808, 10),
        (0.052, 3180, 8),
        (10, 110, 27),
    ]
    assert len(list(arrivals.read())) == 3


def test_a_part_is_played_faster(tmp_path: Path) -> None:
    """``start`` counts in the trace's time, ``seconds`` in the load's; the result's times begin at 0."""
    whole = read_trace(trace(tmp_path, HEAD + ROWS))
    assert [round(one.at, 3) for one in cut(whole, speed=4).read()] == [0, 0.013, 2.5]
    assert [round(one.at, 3) for one in cut(whole, speed=2, start=1).read()] == [4.5]
    assert cut(whole, speed=1, seconds=9).calls == 2
    assert cut(whole, calls=1).calls == 1
    with pytest.raises(BadRequest, match="no arrival is left"):
        cut(whole, start=11)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its columns are to be TIMESTAMP"),
        ("a,b,c\n1,2,3\n", "its columns are to be TIMESTAMP"),
        (HEAD, "holds no arrival"),
        (HEAD + "yesterday,1,2\n", r"trace.csv:2: not an arrival: 'yesterday,1,2'"),
        (HEAD + "2023-11-16 18:17:03,1\n", "trace.csv:2: not an arrival"),
        (HEAD + "2023-11-16 18:17:03,-1,2\n", "trace.csv:2: not an arrival"),
        (HEAD + "2023-11-16 18:17:03,1,2\n2023-11-16 17:17:03,1,2\n", "trace.csv:3: the trace goes back in time"),
        (HEAD + "\udcff", "can not read the trace"),
    ],
)
def test_a_wrong_trace_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """What is no trace is told at once, before anything is loaded."""
    file = tmp_path / "trace.csv"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadRequest, match=message):
        read_trace(file)


def test_a_trace_that_is_not_there(tmp_path: Path) -> None:
    """The message names the file."""
    with pytest.raises(BadRequest, match="No such file"):
        read_trace(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://127.0.0.1:8484", "http://127.0.0.1:8484/v1/chat/completions"),
        ("http://127.0.0.1:8484/", "http://127.0.0.1:8484/v1/chat/completions"),
        ("https://api.example.com/v1", "https://api.example.com:443/v1/chat/completions"),
        ("http://[::1]:1/x/v1/chat/completions", "http://[::1]:1/x/v1/chat/completions"),
    ],
)
def test_a_target_is_a_server_a_base_or_an_endpoint(url: str, endpoint: str) -> None:
    """What is left out of the URL is filled in."""
    assert Target(url, model="m").url == endpoint


@pytest.mark.parametrize("url", ["", "127.0.0.1:1", "ftp://x", "http://u:p@x", "http://x:99999", "http://x/?a=b"])
def test_what_is_no_url_to_load_is_refused(url: str) -> None:
    """Also one with credentials: they would end up in the report."""
    with pytest.raises(BadRequest, match="not a URL to load"):
        Target(url, model="m")


def test_a_request_is_as_large_as_its_arrival() -> None:
    """About so many words, at most so many tokens of answer, no two alike; the prompt can be cut."""
    target = Target("http://127.0.0.1:1", model='a"b', key="k", tag="t=1", most_input=100)
    head, _, body = target.request(7, 5, 30, stream=True).partition(b"\r\n\r\n")
    assert b"authorization: Bearer k" in head
    assert b"x-headgate-tags: t=1" in head
    assert f"content-length: {len(body)}".encode() in head
    import json

    ask = json.loads(body)
    assert (ask["model"], ask["max_tokens"], ask["stream"]) == ('a"b', 30, True)
    assert ask["messages"][0]["content"].split() == ["7", "stone", "stone", "stone", "stone"]
    cut_short = json.loads(target.request(8, 5000, 0, stream=False).partition(b"\r\n\r\n")[2])
    assert len(cut_short["messages"][0]["content"].split()) == 100
    assert cut_short["max_tokens"] == 1


CONTENT = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
FINISH = (
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
)
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("data", "clean", "error"),
    [
        (CONTENT + FINISH + DONE, True, ""),
        (CONTENT + FINISH + DONE, False, "broken stream: cut"),
        (CONTENT, False, "broken stream: cut"),
        (CONTENT + FINISH, True, "broken stream: no [DONE]"),
        (CONTENT + DONE, True, "broken stream: no finish"),
        (CONTENT + b"data: {\n\n", True, "broken stream: not JSON"),
        (CONTENT + b'data: {"error":{"code":"overloaded","message":"secret"}}\n\n', True, "error in stream overloaded"),
    ],
)
def test_a_stream_is_whole_or_says_what_is_wrong(data: bytes, clean: bool, error: str) -> None:
    """However its bytes are cut into pieces; an error's message is never repeated."""
    for size in (1, 7, len(data)):
        gaps, clock = Histogram(), iter(range(1, 1000))
        answer = Answer(True, lambda ticks=clock: float(next(ticks)), gaps)
        answer.status = 200
        for start in range(0, len(data), size):
            answer.feed(data[start : start + size])
        answer.end(clean)
        assert answer.error == error
        assert answer.first == 1.0


def test_times_and_tokens_of_a_stream_are_read() -> None:
    """The first content is not the role; the gaps lie between pieces of content."""
    gaps = Histogram()
    moments = iter([10.0, 10.5, 12.0])
    answer = Answer(True, lambda: next(moments), gaps)
    answer.status = 200
    answer.feed(b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n')
    assert answer.first == 0.0
    answer.feed(CONTENT * 3 + FINISH + DONE)
    answer.end(True)
    assert (answer.first, answer.last, answer.usage, answer.error) == (10.0, 12.0, (3, 4), "")
    assert gaps.count == 2
    assert gaps.most_us == 1_500_000


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}', ""),
        (200, b"<html>", "broken answer: not JSON"),
        (200, b'{"error":{"type":"server_error"}}', "error in 200 server_error"),
        (429, b'{"error":{"code":"rate_limit_exceeded","message":"m"}}', "429 rate_limit_exceeded"),
        (503, b"down", "503"),
    ],
)
def test_a_unary_answer_is_judged(status: int, body: bytes, error: str) -> None:
    """By its status, by its JSON, by an error inside a 200."""
    answer = Answer(False, lambda: 5.0, Histogram())
    answer.status = status
    answer.feed(body)
    answer.end(True)
    assert answer.error == error


def test_a_histogram_is_exact_to_a_hundredth_and_small() -> None:
    """Quantiles are never below the truth, and at most 1 % above; the longest is exact."""
    chance = random.Random(3)
    values = [chance.lognormvariate(9, 2) + 2 for _ in range(20_000)]
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    ordered = sorted(values)
    for part in (0.01, 0.5, 0.95, 0.99, 0.999):
        true = ordered[max(0, int(part * len(ordered)) - 1)]
        found = histogram.quantile(part)
        assert found is not None
        assert true <= found <= true * 1.011
    assert histogram.quantile(1.0) == max(values)
    assert len(list(histogram.steps())) < 2500
    assert Histogram().quantile(0.5) is None


def test_a_tally_does_not_grow_with_its_calls() -> None:
    """Of many calls a bounded number is remembered, the slowest always; kinds of errors are bounded, too."""
    tally = Tally(1000.0)
    for number in range(KEPT + 5000):
        tally.keep(Timed(f"id{number}", float(number % 9973), 1.0))
        tally.fail(0.0, f"kind {number}")
    tally.keep(Timed("slowest", 1e9, 1.0))
    kept = tally.kept()
    assert KEPT <= len(kept) <= KEPT + SLOWEST
    assert "slowest" in kept
    assert len(tally.errors) < 60
    assert tally.failed == KEPT + 5000
    for second in range(100_000):
        tally.begin(second / 100, 0.0)
    assert len(tally.slices) <= 121


def test_the_busiest_minute_is_any_sixty_seconds() -> None:
    """Not one of the calendar; a call counts for the minute in which it was meant to start."""
    tally = Tally(200.0)
    for at in (0.0, 50.0, 100.0, 101.0, 150.0, 159.0, 161.0):
        tally.begin(at, 0.0)
    assert tally.busiest == 4


def test_a_run_of_less_than_a_minute_tells_its_rate() -> None:
    """Twenty calls within ten seconds are no busiest minute of a hundred and twenty: they came at that rate."""
    for seconds, told in ((10, "120 calls a minute, as they came"), (95, "12 calls in the busiest minute")):
        tally = Tally(200.0)
        for number in range(20):
            tally.begin(number * seconds / 19, 0.0)
        report = make_report(
            tally, time_ns=0, target="", source="", speed=1, model="m", streamed=0, took_s=float(seconds)
        )
        assert lines(report)[0].endswith(told)


def story(id: str, **fields: Any) -> dict[str, Any]:
    """A record of one attempt: 1 ms before it, 100 ms of upstream, 2 ms after it."""
    attempt = {"started_us": 1_000, "first_content_us": 101_000}
    return {"id": id, "winner": 0, "attempts": [attempt], "first_content_us": 103_000, **fields}


def test_the_own_share_is_what_upstream_did_not_take() -> None:
    """What the load waited beyond upstream's time; calls of several attempts, and strangers, are left out."""
    stories = [story("a"), story("b"), story("c", winner=1, attempts=[{}, {}]), story("d")]
    timed = {id: Timed(id, us, us) for id, us in (("a", 104_000.0), ("b", 110_000.0), ("c", 9e9))}
    own = own_share(stories, timed)
    assert own is not None
    assert own.calls == 2
    assert own.outside_p50_ms == pytest.approx(4, rel=0.02)
    assert own.outside_p99_ms == pytest.approx(10, rel=0.02)
    assert own.inside_p99_ms == pytest.approx(3, rel=0.02)
    assert (own.slowest, own.slowest_first_ms, own.slowest_own_ms) == (1, 110, 10)
    assert own.slowest_share == pytest.approx(10 / 110)
    assert own_share([], timed) is None


def test_the_page_needs_nothing_else_and_runs_nothing() -> None:
    """Charts are SVG in it; no script, no address to fetch; what an upstream calls its errors is only text."""
    tally = Tally(60.0)
    for number in range(100):
        tally.begin(number / 10, 0.0)
        tally.wait(number / 10, 1000.0 + number, 5000.0 + number)
    tally.fail(1.0, "500 <script>alert(1)</script>")
    report = make_report(
        tally, time_ns=time.time_ns(), target="http://x", source="s", speed=3, model="<b>", streamed=1, took_s=10
    )
    page = render(report)
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert "<b>" not in page
    assert re.findall(r'(?:src|href|url\()\s*=?\s*["\']?(?:https?:)?//', page.replace("http://www.w3.org", "")) == []
    assert len(page) < 100_000
    assert not any("pygal" in type(finder).__module__ for finder in sys.meta_path)
    assert rows(report)[0][0] == "first content"
    assert any("errors: 1" in line for line in lines(report))


def test_arrivals_may_say_less() -> None:
    """Without a word of its own an arrival streams as the run says."""
    assert Arrival(0.0, 1, 2).stream is None
