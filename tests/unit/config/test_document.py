"""The YAML reader: any bytes give nodes or a ConfigError, never anything else."""

from __future__ import annotations

import contextlib

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.config.document import parse
from headgate.config.load import load_settings
from headgate.config.nodes import Node, Problem
from headgate.core.errors import ConfigError


def plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    return [plain(child) for child in node.value] if isinstance(node.value, list) else node.value


@given(st.binary(max_size=200) | st.text(alphabet="{}[]:,-&*!|>'\"# \nab%?", max_size=60).map(str.encode))
@settings(max_examples=200)
def test_any_bytes(data: bytes) -> None:
    """Random bytes are read or refused, and refused means ConfigError."""
    with contextlib.suppress(ConfigError):
        parse(data, "x", [])
    with contextlib.suppress(ConfigError, UnicodeDecodeError):
        load_settings(text=data.decode(), environ={})


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text(
        st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff\ufffe\uffff\u2028\u2029"), max_size=12
    )
)
_TREES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz_.-", max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(_TREES)
@settings(max_examples=100)
def test_json_reads_as_itself(tree: object) -> None:
    """JSON is read as what it says."""
    problems: list[Problem] = []
    assert plain(parse(msgspec.json.encode(tree), "x", problems)) == tree
    assert problems == []


def test_lines() -> None:
    """Every node knows its line, keys too."""
    root = parse(b"a:\n  - 1\n  - b: 2\n\n    c: |\n      text\n", "x", [])
    assert isinstance(root.value, dict)
    items = root.value["a"].value
    assert isinstance(items, list)
    assert [item.line for item in items] == [2, 3]
    assert items[1].keys == {"b": 3, "c": 5}


def test_scalars() -> None:
    """Only true, false, null and decimal numbers are not text; quotes make anything text."""
    text = b"[true, false, null, ~, yes, No, 0x10, 1_0, 010, 1.5, 1e3, .inf, '1', \"true\", 2020-01-01, 1:30]"
    assert plain(parse(text, "x", [])) == [
        *(
            True,
            False,
            None,
            None,
            "yes",
            "No",
            "0x10",
            "1_0",
            10,
            1.5,
            1000.0,
            ".inf",
            "1",
            "true",
            "2020-01-01",
            "1:30",
        )
    ]
