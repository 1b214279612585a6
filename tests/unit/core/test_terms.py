"""A key's terms: models by pattern, client addresses, tags, roles."""

from __future__ import annotations

import pytest

from headgate.core.errors import BadRequest, Forbidden
from headgate.core.terms import ModelPatterns, Networks, Terms, allowed_models, has_role, lesser_role


def test_plain_names_stay_a_set() -> None:
    """Without a pattern the look-up is a plain set's; with one, names and patterns both count."""
    assert allowed_models(["fast", "cheap"]) == frozenset({"fast", "cheap"})
    mixed = allowed_models(["fast", "openai/gpt-4?", "claude-*"])
    assert isinstance(mixed, ModelPatterns)
    assert [name in mixed for name in ("fast", "openai/gpt-4o", "claude-", "claude-x/y")] == [True] * 4
    assert [name in mixed for name in ("Fast", "openai/gpt-4oo", "xclaude-1", "", "fast\nx")] == [False] * 5
    assert list(mixed) == ["fast"]


def test_a_pattern_remembers_a_bounded_number_of_names() -> None:
    """Whatever callers ask for, the answers stay right and the memory small."""
    assert "a" * 300 not in ModelPatterns(["a*"])
    assert "10.0.0.1" + " " * 300 not in Networks(["0.0.0.0/0"])
    patterns = ModelPatterns(["a*"])
    assert all((f"a{number}" in patterns) and (f"b{number}" not in patterns) for number in range(3000))
    assert len(patterns._known) <= 1024


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "192.0.2.7", "2001:db8::5", "fe80::1%eth0"])
def test_an_allowed_address_passes(address: str) -> None:
    """Networks of both kinds, single addresses, IPv4 inside IPv6, and scoped addresses are understood."""
    terms = Terms("app", ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "fe80::/10"], (), calls=True)
    terms.check_address(address)
    terms.check_address(address)


@pytest.mark.parametrize("address", ["11.0.0.1", "::1", "", "not an address", "192.0.2.8"])
def test_any_other_address_is_refused(address: str) -> None:
    """What is not inside, or is no address at all, is refused, and the message says which address was seen."""
    terms = Terms("app", ["10.0.0.0/8", "192.0.2.7/32"], (), calls=True)
    for _ in range(2):
        with pytest.raises(Forbidden) as refused:
            terms.check_address(address)
        assert refused.value.code == "address_not_allowed"
        assert (address or "unknown") in refused.value.message


def test_tags_must_be_there() -> None:
    """A required tag must have some value, or the one that is asked for; the message shows the header to send."""
    terms = Terms("app", None, ("app", "env=prod"), calls=True)
    terms.check_address("anywhere")
    terms.check_call({"app": "x", "env": "prod", "more": "y"})
    for tags, missing in (
        ({}, "app"),
        ({"app": ""}, "app"),
        ({"app": "x"}, "env"),
        ({"app": "x", "env": "dev"}, "env"),
    ):
        with pytest.raises(BadRequest) as refused:
            terms.check_call(tags)
        assert refused.value.code == "missing_tag"
        assert f"x-headgate-tags: {missing}=" in refused.value.message


def test_roles_are_ordered() -> None:
    """Each role may do what those before it may; a word that is no role may nothing."""
    assert [has_role("developer", role) for role in ("viewer", "developer", "admin")] == [True, True, False]
    assert not has_role("king", "viewer")
    assert lesser_role("admin", "viewer") == "viewer"
    assert lesser_role("developer", "admin") == "developer"
    assert lesser_role("king", "viewer") == "king"
    with pytest.raises(Forbidden, match="viewer"):
        Terms("eyes", None, (), calls=False).check_call({})
