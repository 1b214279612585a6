"""The code's shape: imports go down, modules stay small, and the checker itself notices when not."""

from __future__ import annotations

import importlib.util
import pathlib
import types

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _load_checker() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("rooms", ROOT / "scripts" / "rooms.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rooms = _load_checker()


def test_imports_go_down_only() -> None:
    """No module of src imports from a room of its own row or above (DESIGN §3)."""
    assert rooms.import_problems(ROOT / "src" / "headgate") == []


def test_modules_and_functions_stay_small() -> None:
    """No module is over 500 lines, no function over 50, and the median module is under 250."""
    assert rooms.size_problems(ROOT / "src" / "headgate") == []


@pytest.mark.parametrize(
    ("where", "line", "said"),
    [
        ("core/x.py", "from headgate.dialects.base import View", "imports go down only"),
        ("core/x.py", "from headgate import dialects", "imports go down only"),
        ("stores/x.py", "import headgate.sim.words", "imports go down only"),
        ("pipeline/x.py", "from headgate.stores.keys import Keys", "must not see"),
        ("pipeline/x.py", "def f():\n    import headgate.transport.pool", "must not see"),
        ("pipeline/x.py", "from .route import route", "relative import"),
        ("config/x.py", "import headgate.compose", "imports go down only"),
        ("server/x.py", "from headgate import Gateway", "public face"),
        ("attic/x.py", "import headgate.core.call", "no row"),
    ],
)
def test_the_checker_names_a_wrong_import(tmp_path: pathlib.Path, where: str, line: str, said: str) -> None:
    """An import that goes up or sideways is named, wherever it stands in the file."""
    path = tmp_path / where
    path.parent.mkdir()
    path.write_text(f'"""A module."""\n{line}\n')
    (problem,) = rooms.import_problems(tmp_path)
    assert said in problem
    assert str(path) in problem


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("cli/x.py", "from headgate.server.app import App"),
        ("compose.py", "from headgate.config.settings import Settings"),
        ("pipeline/x.py", "from headgate.pipeline.route import route"),
        ("__init__.py", "from headgate.client.gateway import Gateway"),
        ("core/__init__.py", "import json"),
    ],
)
def test_the_checker_lets_a_right_import_pass(tmp_path: pathlib.Path, where: str, line: str) -> None:
    """Imports within a room, down, and the few sideways ones that the design wants, are no problem."""
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'"""A module."""\n{line}\n')
    assert rooms.import_problems(tmp_path) == []


def test_the_checker_names_what_is_too_long(tmp_path: pathlib.Path) -> None:
    """Long modules and long functions are named; a docstring does not count as code of its function."""
    (tmp_path / "module.py").write_text('"""Long."""\n' + "x = 1\n" * 500)
    body = "    x = 1\n" * 50
    (tmp_path / "function.py").write_text(f'"""A module."""\ndef f():\n{body}')
    (tmp_path / "documented.py").write_text(f'"""A module."""\ndef f():\n    """One.\n\n    Two."""\n{body[10:]}')
    problems = rooms.size_problems(tmp_path)
    assert any("module.py:1: 501 lines" in problem for problem in problems)
    assert any("function f has 51 lines" in problem for problem in problems)
    assert not any("documented.py" in problem for problem in problems)
