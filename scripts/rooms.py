"""Checks the rooms of DESIGN §3: imports go down only, and modules and functions stay small.

Run as ``python scripts/rooms.py [src/headgate]``: prints each problem on a line, exits 1 if there is any.
``tests/meta/test_rooms.py`` runs the same functions. Only the standard library is used.
"""

from __future__ import annotations

import ast
import pathlib
import statistics
import sys
from collections.abc import Iterator

PACKAGE = "headgate"
ROWS = {
    "core": 0,
    "dialects": 1,
    **dict.fromkeys(("providers", "guards", "prompts", "stores", "transport", "sim"), 2),
    "pipeline": 3,
    **dict.fromkeys(("evals", "rollouts", "observe", "load"), 4),
    **dict.fromkeys(("compose", "config"), 5),
    **dict.fromkeys(("server", "console", "cli", "client", "check", "setup"), 6),
    "asgi": 7,
    "__main__": 7,
    "": 7,  # headgate/__init__.py: the public face
}
# Rooms of one row do not see each other, but for these.
SIDEWAYS = {("compose", "config"), ("cli", "server"), ("cli", "client"), ("cli", "console"), ("server", "console")}
SIDEWAYS |= {("cli", "check"), ("cli", "setup")}
# Guards are pure: the recorder redacts with them before anything reaches a store.
SIDEWAYS.add(("stores", "guards"))
# "pipeline sees ports and Handlers, never providers or stores".
HIDDEN = {("pipeline", room) for room in ("providers", "stores", "transport", "sim")}
MAX_LINES = 500
MAX_MEDIAN = 250
MAX_FUNCTION = 50


def modules(root: pathlib.Path) -> list[pathlib.Path]:
    """Returns every Python file under the package's folder, in a stable order."""
    return sorted(path for path in root.rglob("*.py") if "__pycache__" not in path.parts)


def room_of(dotted: str) -> str:
    """Returns the room of a dotted name: ``headgate.core.call`` is in ``core``, ``headgate`` in ``""``."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else ""


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields line and dotted name of each import of this package, wherever it stands; "." for a relative one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "."
            elif node.module == PACKAGE:
                yield from ((node.lineno, f"{PACKAGE}.{alias.name}") for alias in node.names)
            elif node.module and node.module.split(".")[0] == PACKAGE:
                yield node.lineno, node.module


def _import_problem(here: str, there: str) -> str | None:
    """Says what is wrong with ``here`` importing ``there`` (two rooms), or None."""
    if here not in ROWS:
        return f"the room {here!r} has no row; give it one in scripts/rooms.py"
    if there not in ROWS:
        return None  # a name of the public face, e.g. `from headgate import Gateway`
    if here == there or (here, there) in SIDEWAYS:
        return None
    if (here, there) in HIDDEN:
        return f"{here} must not see {there}"
    if ROWS[there] >= ROWS[here]:
        return f"{here} (row {ROWS[here]}) imports {there} (row {ROWS[there]}); imports go down only"
    return None


def import_problems(root: pathlib.Path) -> list[str]:
    """Returns one line per import that does not go down."""
    problems = []
    for path in modules(root):
        relative = path.relative_to(root)
        here = relative.parts[0].removesuffix(".py") if relative.name != "__init__.py" or relative.parent.parts else ""
        for line, name in imported(ast.parse(path.read_text())):
            problem = "relative import" if name == "." else _import_problem(here, room_of(name))
            if name != "." and here and room_of(name) not in ROWS:
                problem = f"{here} imports {name} from the public face; import the module that holds it"
            if problem:
                problems.append(f"{path}:{line}: {problem}")
    return problems


def size_problems(root: pathlib.Path) -> list[str]:
    """Returns one line per module or function that is too long, and one if the median module is."""
    problems, lengths = [], []
    for path in modules(root):
        text = path.read_text()
        lines = text.count("\n")
        if lines > MAX_LINES:
            problems.append(f"{path}:1: {lines} lines, the limit is {MAX_LINES}")
        if lines > 1:
            lengths.append(lines)
        tree = ast.parse(text)
        if lines and ast.get_docstring(tree) is None:
            problems.append(f"{path}:1: no module docstring that says what it is for")
        problems += [
            f"{path}:{node.lineno}: function {node.name} has {_body_lines(node)} lines, the limit is {MAX_FUNCTION}"
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _body_lines(node) > MAX_FUNCTION
        ]
    if lengths and statistics.median(lengths) >= MAX_MEDIAN:
        problems.append(f"{root}: the median module has {statistics.median(lengths)} lines, the limit is {MAX_MEDIAN}")
    return problems


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code of a function: without its docstring, and without the functions defined inside it."""
    end = node.end_lineno or node.lineno
    lines = end - node.lineno + 1
    if ast.get_docstring(node) is not None:
        doc = node.body[0]
        lines -= (doc.end_lineno or doc.lineno) - doc.lineno + 1
    for child in ast.walk(node):
        if child is not node and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = any(
                other is not node and other is not child and _contains(other, child)
                for other in ast.walk(node)
                if isinstance(other, ast.FunctionDef | ast.AsyncFunctionDef)
            )
            if not inside:
                lines -= (child.end_lineno or child.lineno) - child.lineno + 1
    return lines


def _contains(outer: ast.AST, inner: ast.AST) -> bool:
    return any(node is inner for node in ast.walk(outer))


def main(arguments: list[str]) -> int:
    """Prints every problem; returns 1 if there is any."""
    root = pathlib.Path(arguments[0]) if arguments else pathlib.Path("src") / PACKAGE
    problems = import_problems(root) + size_problems(root)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
