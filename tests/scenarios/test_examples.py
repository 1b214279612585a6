"""Every file in examples/ runs as a reader would run it, against a gateway on its embedded defaults."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGES = ["README.md", "docs/quickstart.md"]
SHOWN = {
    "openai_sdk": ["record: headgate record hg_", "answered by sim/echo"],
    "anthropic_sdk": ["stop: end_turn", "counted: "],
    "streaming": ["finish: stop", "finish: tool_calls", "get_weather", "tokens: "],
    "embeddings": ["3 vectors of "],
    "library": ["Hello, library!", "[finish: stop]", "Question 4", "server_error: ", "without an event loop."],
    "budget": ["after 17 answers: The budget 'pocket money'", "Bob is answered"],
    "fallback": ["answered by sim/echo at attempt 3"],
    "replay": ["RECORDED", "the answers differ", "status 500", "\nreproduced", "nonsense"],
    "outage": ["30 answers by sim/echo", "{2: 10, 1: 20}", "alone: We are overloaded"],
}
"""What each example prints when it shows what it says it shows."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of ``headgate serve`` on embedded defaults, in a folder without configuration."""
    folder = tmp_path_factory.mktemp("serve")
    command = [sys.executable, "-c", "import sys; from headgate.cli.main import main; sys.exit(main())"]
    server = subprocess.Popen(
        [*command, "serve", "--port", "0", "--data", str(folder / "data")],
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    watchdog = threading.Timer(120, server.kill)
    watchdog.start()
    try:
        first = server.stdout.readline()
        watchdog.cancel()
        found = re.search(r"ready\b.*?(http://[\w.:\[\]]+)", first)
        assert found, f"no ready line with the URL: {first!r}"
        yield found[1]
    finally:
        server.terminate()
        try:
            server.wait(30)
        finally:
            server.kill()
            server.stdout.close()
            watchdog.cancel()


def _environment(**more: str) -> dict[str, str]:
    """This environment without what would make an example use something else than the embedded defaults."""
    secret = re.compile(r"^(HEADGATE_|OPENAI_|ANTHROPIC_)|_PROXY$", re.IGNORECASE)
    return {key: value for key, value in os.environ.items() if not secret.search(key)} | more


def _run(folder: pathlib.Path, *arguments: str, **environment: str) -> str:
    """What Python prints when it is run so in ``folder``; it must end well and leave stderr empty."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=_environment(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def snippets() -> list[object]:
    """The Python of the first pages that a reader can paste as it is: whole programs against the default address."""
    found: list[object] = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        for number, block in enumerate(re.findall(r"^ *```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)):
            if "base_url=" in block or "SyncGateway()" in block:
                found.append(pytest.param(textwrap.dedent(block), id=f"{page}-{number}"))
    return found


@pytest.mark.parametrize("code", snippets())
def test_a_snippet_of_the_first_pages_runs(code: str, url: str, tmp_path: pathlib.Path) -> None:
    """What README and quickstart show works when it is pasted, against a gateway on its embedded defaults."""
    assert "Hello, gate!" in _run(tmp_path, "-c", code.replace("http://127.0.0.1:8080", url))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: pathlib.Path, url: str, tmp_path: pathlib.Path) -> None:
    """An example ends well, says nothing on stderr, and prints what it promises to show."""
    assert path.stem in SHOWN, "say in SHOWN what this example prints"
    output = _run(tmp_path, str(path), HEADGATE_URL=url)
    for words in SHOWN[path.stem]:
        assert words in output


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_first_what_it_shows(path: pathlib.Path) -> None:
    """Each example opens with a docstring that starts with what it shows."""
    assert path.read_text().startswith('"""Shows: ')
