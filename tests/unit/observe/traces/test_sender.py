"""The sender: one request, and what its failure means."""

from __future__ import annotations

import email.utils
import pathlib
import time

import pytest
from tests.receivers import Collector

from headgate.core.errors import ConfigError
from headgate.core.trace import TracePlan
from headgate.observe.traces.sender import NotTakenError, find_headers, post, read_header_list


def test_a_body_goes_out_as_it_is_told(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers with their secrets, compressed or not; no proxy for what is on this machine."""
    file = tmp_path / "key"
    file.write_text("Basic abc\n")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("MORE", "api-key=a%20b,x-two=2")
    with Collector() as collector:
        plan = TracePlan(
            endpoint=f"{collector.url}/otlp/v1/traces",
            headers={"authorization": f"file:{file}", "x-plain": "p"},
            headers_from="MORE",
            compress=False,
        )
        assert post(plan, b"", version="9") == b""
        first, headers = collector.requests[0]
        assert first == "POST /otlp/v1/traces HTTP/1.1"
        assert (headers["authorization"], headers["x-plain"]) == ("Basic abc", "p")
        assert (headers["api-key"], headers["x-two"]) == ("a b", "2")
        assert headers["user-agent"] == "headgate/9"
        assert "content-encoding" not in headers


@pytest.mark.parametrize(("status", "refused"), [(400, True), (413, True), (429, False), (503, False), (401, False)])
def test_a_failure_says_whether_it_is_the_data(status: int, refused: bool) -> None:
    """And how long to wait, where the collector says so."""
    with Collector(lambda n: status) as collector, pytest.raises(NotTakenError, match=f"status {status}") as caught:
        post(TracePlan(endpoint=collector.url), b"", version="1")
    assert (caught.value.refused, caught.value.after) == (refused, 0.0)


def test_a_redirect_is_not_followed() -> None:
    """The headers hold secrets."""
    with Collector(lambda n: 307) as collector:
        with pytest.raises(NotTakenError, match="status 307"):
            post(TracePlan(endpoint=collector.url), b"", version="1")
        assert len(collector.requests) == 1


def test_nobody_there_is_said() -> None:
    """Without more of the URL than its host."""
    with pytest.raises(NotTakenError, match=r"127\.0\.0\.1 can not be reached \(Connection refused\)"):
        post(TracePlan(endpoint="http://127.0.0.1:1/secret-path"), b"", version="1")


def test_a_secret_that_is_gone_is_a_failure_like_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come back."""
    monkeypatch.delenv("GONE", raising=False)
    with pytest.raises(NotTakenError, match="environment variable GONE is not set") as caught:
        find_headers(TracePlan(endpoint="http://c", headers={"authorization": "env:GONE"}))
    assert not caught.value.refused


def test_a_date_is_waited_for_but_not_for_ever() -> None:
    """Retry-After in both its forms."""
    from headgate.observe.traces.sender import _wait

    soon = email.utils.format_datetime(email.utils.localtime().replace(microsecond=0))
    assert _wait(soon) == 0.0
    later = email.utils.formatdate(time.time() + 3600, usegmt=True)
    assert _wait(later) == 300.0
    assert (_wait("7"), _wait("86400"), _wait("soon"), _wait(None)) == (7.0, 300.0, None, None)


@pytest.mark.parametrize("text", ["sk-1", "a b=c", "=x", "a=b%0Ac", "ü=x"])
def test_a_header_list_that_is_none_is_refused(text: str) -> None:
    """Nothing of its values is repeated."""
    with pytest.raises(ConfigError) as caught:
        read_header_list(text)
    assert "sk-1" not in caught.value.message


def test_a_header_list_is_read() -> None:
    """Percent-encoded, names in any case."""
    assert read_header_list("Authorization=Basic%20YTpi%3D, x=1,,") == {"authorization": "Basic YTpi=", "x": "1"}
