"""A Secret gives its value to those who ask for it by name, and to nobody else."""

from __future__ import annotations

import pathlib

import pytest

from headgate.core.errors import ConfigError
from headgate.providers.secret import Secret


def test_never_shown() -> None:
    """No way of turning a Secret into text shows its value."""
    secret = Secret.resolve("env:K", {"K": "sk-value\n"})
    assert secret.reveal() == "sk-value"
    for text in (repr(secret), str(secret), f"{secret}", f"{[secret]}", "%s" % secret):  # noqa: UP031
        assert text.strip("[]") == "Secret('env:K')"


def test_mounted_file_is_read_again(tmp_path: pathlib.Path) -> None:
    """A rotated file is taken over on refresh; one that is gone is an error and the old value stays."""
    file = tmp_path / "key"
    file.write_text("one\n")
    secret = Secret.resolve("file:key", {}, tmp_path)
    assert secret.reference == f"file:{file}"
    assert not secret.refresh()
    file.write_text("two")
    assert secret.refresh()
    assert secret.reveal() == "two"
    file.unlink()
    with pytest.raises(ConfigError, match="can not read file"):
        secret.refresh()
    assert secret.reveal() == "two"
    assert not Secret("env:K", "v").refresh()


@pytest.mark.parametrize("content", ["", " \n", "a\nb", "a\x00b", "schlüssel", "x" * 65 * 1024])
def test_unusable_values(tmp_path: pathlib.Path, content: str) -> None:
    """A value that can not stand in a header is refused without being repeated."""
    (tmp_path / "k").write_text(content)
    with pytest.raises(ConfigError) as caught:
        Secret.resolve("file:k", {}, tmp_path)
    assert not content.strip() or content not in caught.value.message


@pytest.mark.parametrize("reference", ["sk-abc", "env:", "file:", "", "vault:x"])
def test_no_reference(reference: str) -> None:
    """Only env: and file: are references; what else stands there is not repeated."""
    with pytest.raises(ConfigError) as caught:
        Secret.resolve(reference, {})
    assert not reference or reference not in caught.value.message.replace("env:NAME", "").replace("file:/path", "")


def test_equality() -> None:
    """Secrets are equal by reference and value."""
    assert Secret("env:A", "v") == Secret("env:A", "v")
    assert Secret("env:A", "v") != Secret("env:A", "w")
    assert len({Secret("env:A", "v"), Secret("env:A", "v")}) == 1
