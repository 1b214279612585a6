"""The fault matrix: what the caller of a failing upstream gets, what is recorded, and that nothing is left behind.

``table.py`` holds the promises, ``matrix.py`` plays them; docs/faults.md shows the same table.
"""

from __future__ import annotations

import pytest

from headgate.core.record import AttemptRecord, Record

from . import breaker
from .client import Said, read
from .matrix import PROMPT, Case, Matrix, cases
from .table import FAULTS, Fault, Says

EVERY = [pytest.param(case, id=case.name) for case in cases()]
PASSED_ON = ("invalid_request", "context_length", "quota", "rate_limited", "server_error", "overloaded")
"""Errors of an upstream's own words, which a client of the same dialect gets as they came."""
OPENAI_WORDS = {
    "rate_limited": "rate_limit_exceeded",
    "quota": "insufficient_quota",
    "auth": "upstream_auth",
    "context_length": "context_length_exceeded",
}
ANTHROPIC_TYPES = {
    "rate_limited": "rate_limit_error",
    "quota": "billing_error",
    "overloaded": "overloaded_error",
    "invalid_request": "invalid_request_error",
    "context_length": "invalid_request_error",
    **dict.fromkeys(("headers_timeout", "first_content_timeout", "idle_timeout", "total_timeout"), "timeout_error"),
}
FINISH = {
    "openai_chat": {"stop": "stop", "content_filter": "content_filter", "refusal": "content_filter"},
    "anthropic": {"stop": "end_turn", "content_filter": "refusal", "refusal": "refusal"},
}


@pytest.mark.parametrize("case", EVERY)
def test_what_the_caller_gets(matrix: Matrix, case: Case) -> None:
    """A whole answer, a typed error in bounded time, or, once content has gone out, an error event and no success."""
    got, fate = matrix.seen[case.name].got, case.fate
    assert got.status, "the call hung, or its connection was cut"
    assert got.whole, "the body was not closed cleanly"
    if fate.how == "refused" and not (case.rescued and fate.next):
        assert got.status == fate.status
        check_error(case, read(case.client, got.body, stream=False))
        told = got.headers.get("retry-after", "")
        assert told in [str(wait) for wait in fate.retry_after] if fate.retry_after else not told
        assert got.headers.get("x-should-retry") == ("false" if fate.code == "quota" else None)
        return
    assert got.status == 200
    said = read(case.client, got.body, stream=case.stream)
    if fate.how == "broken":
        check_broken(case, said)
        return
    rescued = fate.how == "refused"
    assert said.error is None
    assert said.starts == 1
    check_text(said.text, "whole" if rescued else fate.says)
    assert said.finish == FINISH[case.client]["stop" if rescued else fate.finish]
    assert said.marker
    assert got.headers["x-headgate-deployment"] == ("well-" + case.client + "/echo" if rescued else deployment(case))


@pytest.mark.parametrize("case", EVERY)
def test_what_is_recorded(matrix: Matrix, case: Case) -> None:
    """One Record with the call's outcome, every attempt in order with its error, and who answered."""
    seen, fate = matrix.seen[case.name], case.fate
    record = seen.record
    assert record is not None, "no Record"
    assert (record.model, record.stream, record.dialect) == (case.name, case.stream, case.client)
    rescued = fate.how == "refused" and fate.next and case.rescued
    first, *others = record.attempts
    check_first(case, first)
    assert [(other.deployment, other.outcome, other.error) for other in others] == (
        [(f"well-{case.client}/echo", "completed", "")] if rescued else []
    )
    check_record(case, record, rescued)
    if "x-headgate-attempts" in seen.got.headers:
        assert seen.got.headers["x-headgate-attempts"] == str(len(record.attempts))


@pytest.mark.parametrize("case", EVERY)
def test_what_the_breaker_makes_of_it(matrix: Matrix, case: Case) -> None:
    """What a sick upstream does counts; a rate limit pauses its deployment; what the caller did wrong is nothing."""
    assert matrix.seen[case.name].breaker == breaker.verdict(case.fate)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_nothing_is_left_under_way(matrix: Matrix, fault: Fault) -> None:
    """Once its calls have ended no task, call, guard or busy connection is left, at neither end."""
    assert matrix.leaks[fault.name] == []


def test_nothing_is_left_at_the_end(matrix: Matrix) -> None:
    """A gateway that is closed has closed every connection to its upstreams, and has no task."""
    assert matrix.left_over == []


def test_every_call_has_exactly_one_record(matrix: Matrix) -> None:
    """As many Records as calls."""
    ids = {seen.record.id for seen in matrix.seen.values() if seen.record is not None}
    assert len(ids) == len(matrix.seen) == len(EVERY)


def deployment(case: Case) -> str:
    """The name of the deployment that has the fault."""
    return f"{case.provider}/{case.name}"


def check_error(case: Case, said: Said) -> None:
    """An error is in the client's dialect: a message, a type, and our own code where the dialect has one."""
    error = said.error
    assert error is not None
    assert error["message"]
    assert error["type"]
    if case.client == case.upstream and case.fate.code in PASSED_ON:
        return
    if case.client == "openai_chat":
        assert error["code"] == OPENAI_WORDS.get(case.fate.code, case.fate.code)
    else:
        assert error["type"] == ANTHROPIC_TYPES.get(case.fate.code, "api_error")


def check_broken(case: Case, said: Said) -> None:
    """Some of the answer, then an error event, and nothing that could be taken for success."""
    check_error(case, said)
    assert said.starts == 1
    assert not said.marker
    assert not said.after_error
    assert said.finish in ("", FINISH[case.client].get(case.fate.finish, ""))
    check_text(said.text, case.fate.says)


def check_text(text: str, says: Says) -> None:
    """The text is what it should be of the answer that was meant."""
    if says == "whole":
        assert text == PROMPT
    elif says == "half":
        assert PROMPT.startswith(text)
        assert 0 < len(text) < len(PROMPT)
    elif says == "nothing":
        assert text == ""
    elif says == "doubled":
        assert len(text) == 2 * len(PROMPT)
    else:
        assert len(text) > len(PROMPT)


def check_first(case: Case, attempt: AttemptRecord) -> None:
    """The attempt at the deployment with the fault."""
    fate = case.fate
    assert (attempt.deployment, attempt.outcome) == (
        deployment(case),
        "completed" if fate.how == "answered" else "failed",
    )
    assert (attempt.error, attempt.fault) == (fate.code, fate.fault if fate.code else "")
    assert (attempt.sent, attempt.status) == (fate.sent, fate.seen)
    assert bool(attempt.error_message) is bool(fate.code)
    assert attempt.ended_us >= attempt.started_us
    assert (attempt.first_content_us >= 0) is (fate.how != "refused")


def check_record(case: Case, record: Record, rescued: bool) -> None:
    """The call as a whole."""
    fate = case.fate
    if rescued or fate.how == "answered":
        assert (record.outcome, record.status, record.error, record.fault) == ("completed", 200, "", "")
    else:
        assert (record.outcome, record.error, record.fault) == ("failed", fate.code, fate.fault)
        assert record.status == (200 if fate.how == "broken" else fate.status)
    assert record.winner == (1 if rescued else -1 if fate.how == "refused" else 0)
    assert record.finish == ("stop" if rescued else fate.finish)
    assert (record.usage is not None) is (rescued or fate.how != "refused")
    assert record.duration_us >= record.attempts[-1].ended_us
