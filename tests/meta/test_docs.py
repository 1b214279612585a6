"""The documentation keeps up with the code: verbs, errors, numbers, commands, changes."""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys
import tomllib

import click

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "headgate"
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]


def raised_codes() -> set[str]:
    """Every error code that the source names: class defaults, ``code=`` arguments, and codes listed in docstrings."""
    codes: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        if "sim" in path.relative_to(SOURCE).parts:
            continue  # what the simulator says is what providers say
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                codes.update(
                    keyword.value.value
                    for keyword in node.keywords
                    if keyword.arg == "code"
                    and isinstance(keyword.value, ast.Constant)
                    and isinstance(keyword.value.value, str)
                )
    for node in ast.parse((SOURCE / "core" / "errors.py").read_text()).body:
        if isinstance(node, ast.ClassDef):
            prose = (ast.get_docstring(node) or "").split("Attributes:")[0]
            codes.update(re.findall(r"``([a-z]+(?:_[a-z]+)*)``", prose))
            codes.update(_default_codes(node))
    return codes - {"code"}


def _default_codes(node: ast.ClassDef) -> set[str]:
    """The value of ``code = "..."`` in a class's body."""
    found = set()
    for statement in node.body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        value = getattr(statement, "value", None)
        if isinstance(target, ast.Name) and target.id == "code" and isinstance(value, ast.Constant):
            found.add(str(value.value))
    return found


def test_every_error_code_is_explained() -> None:
    """docs/errors.md names every code that the gateway can raise, as `code`."""
    page = (ROOT / "docs" / "errors.md").read_text()
    assert sorted(code for code in raised_codes() if f"`{code}`" not in page) == []


def test_no_error_code_is_explained_that_does_not_exist() -> None:
    """The tables of docs/errors.md hold no code that the source has not."""
    page = (ROOT / "docs" / "errors.md").read_text()
    listed = set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE))
    words = {
        node.value
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert listed
    assert sorted(listed - words - raised_codes()) == []


def test_the_codes_of_calls_are_those_of_the_page() -> None:
    """An alert's `error` is checked against them: a code that is missing there could not be watched."""
    from headgate.core.codes import CALL_CODES

    page = (ROOT / "docs" / "errors.md").read_text()
    calls = page[page.index("## The request") : page.index("## Configuration and command line")]
    assert sorted(re.findall(r"^\| `([a-z_]+)` \|", calls, re.MULTILINE)) == sorted(CALL_CODES)


def test_every_verb_is_in_the_docs() -> None:
    """Every command of ``headgate``, down to the last subcommand, is named somewhere in the docs."""
    from headgate.cli.main import headgate

    text = "\n".join(path.read_text() for path in PAGES)
    missing = []

    def visit(command: click.Command, name: str) -> None:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for word in command.list_commands(context):
                inner = command.get_command(context, word)
                assert inner is not None, f"{name} {word}"
                visit(inner, f"{name} {word}")
        elif not command.hidden and not re.search(re.escape(name) + r"\b", text):
            missing.append(name)

    visit(headgate, "headgate")
    assert missing == []


def test_every_make_target_in_the_docs_exists() -> None:
    """A page never names a make target that the Makefile has not."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [*PAGES, ROOT / "CONTRIBUTING.md"]
    named = {word for path in pages for word in re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(), re.MULTILINE)}
    assert named
    assert named <= targets


def test_the_commands_of_the_readme_exist() -> None:
    """Files, example scripts and pages that the README names are there."""
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"\b(?:examples|docs|bench|scripts)/[\w./-]+\w", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_changelog_has_an_unreleased_section() -> None:
    """CHANGELOG.md has a place for the next change, and names the version of pyproject.toml once released."""
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## Unreleased$", text, re.MULTILINE)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    released = re.findall(r"^## (\d+\.\d+\.\d+)", text, re.MULTILINE)
    assert not released or released[0] == version


def test_the_proofs_page_is_made_from_the_results() -> None:
    """docs/proofs.md is exactly what scripts/proofs.py makes of bench/results/*.json."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "proofs.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_of_faults_is_made_from_the_matrix() -> None:
    """docs/faults.md promises exactly what tests/scenarios/faults checks."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "faults.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_decisions_are_numbered_and_short() -> None:
    """docs/adr holds 0001, 0002… without a gap, each under 60 lines, each with its status."""
    records = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert [path.name[:4] for path in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    for path in records:
        text = path.read_text()
        assert text.count("\n") < 60, path
        assert "Status:" in text, path
