"""What a request for a path that is not served is told."""

from __future__ import annotations

import pytest

from headgate.server.nowhere import nothing_at

SERVED = ("/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/v1/embeddings", "/v1/models")


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/chat/completions", "/v1/chat/completions"),  # an OpenAI SDK whose base_url has no /v1
        ("/v1/v1/messages", "/v1/messages"),  # an Anthropic SDK whose base_url has it
        ("/v1/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("/openai/deployments/o/chat/completions", "/v1/chat/completions"),
        ("/models", "/v1/models"),
    ],
)
def test_a_path_with_a_wrong_prefix_is_told_the_right_one(path: str, meant: str) -> None:
    """What an SDK with a wrong base_url asks for is answered with what to change."""
    error = nothing_at(path, SERVED)
    assert error.message == f"There is nothing at {path}."
    assert error.hint.startswith(f"Did you mean {meant}? ")
    assert "base_url" in error.hint


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/completions", "/v1/files", "/v1beta/models/x:generateContent"])
def test_a_providers_other_surfaces_are_said_to_be_unserved(path: str) -> None:
    """Somebody who asks for them learns that it is not a spelling mistake, and what there is."""
    hint = nothing_at(path, SERVED).hint
    assert "does not serve it" in hint
    assert "/v1/chat/completions" in hint


def test_the_root_names_the_console() -> None:
    """A browser that opens the address that `serve` prints is told where the pages are."""
    assert "/console" in nothing_at("/", SERVED).hint
