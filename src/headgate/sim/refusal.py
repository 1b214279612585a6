"""Refusals: error answers with a status, and the ways in which they ask to wait."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import formatdate

from headgate.sim import wire_anthropic, wire_openai
from headgate.sim.ask import BadAsk, Wire
from headgate.sim.fault import Fault
from headgate.sim.play import Answer

JSON = b"application/json"


def refuse(wire: Wire, status: int, message: str | None = None, *, param: str | None = None, code: str = "") -> Answer:
    """Returns an error answer in the dialect's own shape."""
    if wire == "anthropic":
        body = wire_anthropic.error_body(status, message, request_id="req_sim_refused")
        return Answer(status=status, headers={b"content-type": JSON, b"request-id": b"req_sim_refused"}, body=body)
    body = wire_openai.error_body(status, message, code=code or None, param=param)
    return Answer(status=status, headers={b"content-type": JSON, b"x-request-id": b"req_sim_refused"}, body=body)


def refuse_ask(wire: Wire, error: BadAsk) -> Answer:
    """Returns the 400 for a request that can not be understood."""
    return refuse(wire, 400, error.message, param=error.param)


def refuse_by_fault(fault: Fault, wire: Wire, input_tokens: int, now: float) -> Answer | None:
    """Returns the error answer that ``fault`` stands for, or None if it is no error status.

    Args:
        fault: what happens.
        wire: whose shape.
        input_tokens: of the request, for the message about context length.
        now: seconds since 1970, for dates.
    """
    if fault.kind == "context-length":
        answer = _too_long(wire, fault.message, input_tokens)
    elif fault.kind == "quota":
        answer = _out_of_money(wire, fault.message)
    elif fault.kind == "status":
        said, wait = fault.message, fault.retry_after
        if wait is not None and fault.hint == "body":
            said = f"{(said or 'Rate limit reached.').rstrip()} Please try again in {wait:g}s."
        answer = refuse(wire, fault.status, said)
        if wait is not None:
            answer.headers = {**answer.headers, **_wait_headers(fault, wire, wait, now)}
    else:
        return None
    answer.fault = fault.kind if fault.kind != "status" else str(fault.status)
    return answer


def _too_long(wire: Wire, message: str | None, input_tokens: int) -> Answer:
    limit = max(1, input_tokens - 1)
    if wire == "anthropic":
        return refuse(wire, 400, message or f"prompt is too long: {input_tokens} tokens > {limit} maximum")
    usual = (
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in "
        f"{input_tokens} tokens. Please reduce the length of the messages."
    )
    return refuse(wire, 400, message or usual, param="messages", code="context_length_exceeded")


def _out_of_money(wire: Wire, message: str | None) -> Answer:
    if wire == "anthropic":
        usual = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to top it up."
        return refuse(wire, 400, message or usual)
    usual = "You exceeded your current quota, please check your plan and billing details."
    return refuse(wire, 429, message or usual, code="insufficient_quota")


def _wait_headers(fault: Fault, wire: Wire, wait: float, now: float) -> dict[bytes, bytes]:
    if fault.hint == "header":
        return {b"retry-after": f"{wait:g}".encode()}
    if fault.hint == "ms":
        return {b"retry-after-ms": str(round(wait * 1000)).encode()}
    # Moments are measured against the answer's own date: clocks differ.
    date = {b"date": formatdate(now, usegmt=True).encode()}
    if fault.hint == "date":
        return {**date, b"retry-after": formatdate(math.ceil(now + wait), usegmt=True).encode()}
    if fault.hint == "reset" and wire == "anthropic":
        moment = datetime.fromtimestamp(math.ceil(now + wait), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            **date,
            b"anthropic-ratelimit-requests-remaining": b"0",
            b"anthropic-ratelimit-requests-reset": moment.encode(),
        }
    if fault.hint == "reset":
        return {
            b"x-ratelimit-remaining-requests": b"0",
            b"x-ratelimit-reset-requests": f"{wait:g}s".encode(),
        }
    return {}
