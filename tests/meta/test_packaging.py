"""What users install: the wheel holds all that the code reads, the locks name no index, the pins fit."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_wheel_holds_every_file_of_the_package(wheel: list[str]) -> None:
    """Migrations, scenarios and every other data file beside the code are installed with it."""
    wanted = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "headgate").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert sorted(wanted - set(wheel)) == []


def test_the_wheel_holds_nothing_else(wheel: list[str]) -> None:
    """No test, bench or secret leaks into the wheel; its licence and its typing marker are in it."""
    assert [name for name in wheel if not re.match(r"headgate/|headgate-[\d.]+\.dist-info/", name)] == []
    assert any(name.endswith("licenses/LICENSE") for name in wheel)
    assert "headgate/py.typed" in wheel


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_by_hash_and_names_no_index(lock: pathlib.Path) -> None:
    """Every line of a lock is an exact version with hashes; where it comes from is the installing machine's choice."""
    text = lock.read_text()
    pins = re.findall(r"^[a-z0-9][\w.-]*==[^\s;]+", text, re.MULTILINE)
    names = re.findall(r"^[a-zA-Z0-9]", text, re.MULTILINE)
    assert pins
    assert len(pins) == len(names)
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in text
    assert "index-url" not in text


def test_the_locks_fit_the_bounds_of_the_project() -> None:
    """Each dependency of pyproject.toml is bounded above, and pinned inside its bounds in the lock that needs it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, lock in [
        (None, "runtime"),
        ("postgres", "postgres"),
        ("otlp", "postgres"),
        ("dev", "dev"),
        ("docs", "dev"),
    ]:
        wanted = project["dependencies"] if name is None else project["optional-dependencies"][name]
        text = (ROOT / "requirements" / f"{lock}.lock").read_text()
        for line in wanted:
            requirement = Requirement(line)
            assert "<" in str(requirement.specifier), line
            match = re.search(rf"^{re.escape(requirement.name.lower())}==([^\s;]+)", text, re.MULTILINE)
            assert match, f"{line} is not in {lock}.lock; run `make lock`"
            assert requirement.specifier.contains(match[1]), f"{line} is {match[1]} in {lock}.lock; run `make lock`"


def test_the_locks_agree() -> None:
    """What both locks pin, they pin alike: tests run on what users run."""
    pins = {
        path.stem: dict(re.findall(r"^([a-z0-9][\w.-]*)==([^\s;]+)", path.read_text(), re.MULTILINE)) for path in LOCKS
    }
    for name in ("runtime", "build", "postgres"):
        assert {key: pins["dev"].get(key) for key in pins[name]} == pins[name]
