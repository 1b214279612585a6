"""The provider rows hold together."""

from __future__ import annotations

import pytest

from headgate.config.checks import check_url
from headgate.providers.discovery import discover, find_key
from headgate.providers.rows import DIALECTS, GENERIC, ROWS, ProviderRow


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_row(row: ProviderRow) -> None:
    """A row speaks known dialects, has a path for each, lower-case headers, and a URL that could be configured."""
    assert set(row.dialects) <= set(DIALECTS)
    assert set(row.dialects) <= set(row.endpoints)
    assert all(path.startswith("/") and not path.endswith("/") for path in row.endpoints.values())
    assert not row.url or (check_url(row.url) == "" and not row.url.endswith("/"))
    assert row.embedded or row.url or row in GENERIC.values()
    assert all(name == name.lower() for name in (row.auth_header, *row.static_headers))
    passed = {*row.request_headers, *row.response_headers, *row.response_prefixes}
    assert all(name == name.lower() for name in passed)
    assert row.max_tokens_field == "max_completion_tokens" if row.name == "openai" else "max_tokens"


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_no_credentials_cross(row: ProviderRow) -> None:
    """No row lets the caller's credentials or framing go upstream, nor cookies come back."""
    never = {b"authorization", b"x-api-key", b"cookie", b"host", b"content-length", b"connection", b"x-forwarded-for"}
    assert not row.request_headers & never
    assert not row.response_headers & {b"set-cookie", b"content-length", b"transfer-encoding", b"openai-organization"}


def test_auth_styles() -> None:
    """OpenAI takes a bearer token, Anthropic its own header and a version."""
    assert (ROWS["openai"].auth_header, ROWS["openai"].auth_prefix) == ("authorization", "Bearer ")
    assert (ROWS["anthropic"].auth_header, ROWS["anthropic"].auth_prefix) == ("x-api-key", "")
    assert ROWS["anthropic"].static_headers == {"anthropic-version": "2023-06-01"}


def test_generic_rows_ask_for_no_key() -> None:
    """A server configured by its wire alone takes no key out of the environment."""
    assert all(not row.key_env and not row.key_required for row in GENERIC.values())


def test_discovery() -> None:
    """A key, or the path of one, makes its provider available; an empty variable is none; the key itself wins."""
    assert discover({}) == {}
    assert discover({"OPENAI_API_KEY": " ", "ANTHROPIC_API_KEY_FILE": ""}) == {}
    both = {"OPENAI_API_KEY": "k", "OPENAI_API_KEY_FILE": "/f", "ANTHROPIC_API_KEY_FILE": "/a"}
    assert discover(both) == {
        "openai": ("OPENAI_API_KEY", "env:OPENAI_API_KEY"),
        "anthropic": ("ANTHROPIC_API_KEY_FILE", "file:/a"),
    }
    assert find_key(ROWS["vllm"], both) is None
