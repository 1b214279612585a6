#!/usr/bin/env python3
"""Proof: LiteLLM's own example configurations import, and every setting of them is accounted for.

The newest LiteLLM that pip finds is fetched into a throw-away directory, and its proxy's example configurations are
read from there; nothing of it is installed, run or kept. Each is converted; what comes of it must load, hold no secret
of theirs, and every setting must have been carried, changed, left to do, or named with the reason why it is not here.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from typing import Any

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import report

from headgate.core.errors import ConfigError
from headgate.setup.litellm.convert import Imported, convert

TITLE = "LiteLLM's example configurations, imported"
EXAMPLES = "litellm/proxy/example_config_yaml/"
MORE = ("litellm/proxy/dev_config.yaml", "litellm/proxy/proxy_server_config.yaml")
FATES = ("carried", "changed", "to do", "not carried")


def fetch(folder: pathlib.Path) -> tuple[str, dict[str, str]]:
    """Returns LiteLLM's version and its example configurations by name."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "litellm"]
    subprocess.run([*pip, "--dest", str(folder)], check=True)
    (wheel,) = folder.glob("litellm-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [
            n for n in archive.namelist() if (n.startswith(EXAMPLES) or n in MORE) and n.endswith((".yaml", ".yml"))
        ]
        return wheel.name.split("-")[1], {pathlib.Path(n).name: archive.read(n).decode() for n in sorted(names)}


def leaves(value: Any, path: str = "") -> list[str]:
    """Returns every setting of a document, by its path."""
    if isinstance(value, dict) and value:
        return [
            leaf for name, inner in value.items() for leaf in leaves(inner, f"{path}.{name}" if path else str(name))
        ]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [leaf for index, inner in enumerate(value) for leaf in leaves(inner, f"{path}[{index}]")]
    return [path]


def silent(text: str, imported: Imported) -> list[str]:
    """Returns the settings that nothing was said of: a note stands for what is below it."""
    noted = [note.path for note in imported.notes]
    return [
        leaf
        for leaf in leaves(yaml.safe_load(text))
        if not any(leaf == path or leaf.startswith((f"{path}.", f"{path}[")) for path in noted)
    ]


def secrets(value: Any) -> list[str]:
    """Returns what stands in a document as a key itself."""
    if isinstance(value, dict):
        own = [v for k, v in value.items() if k in ("api_key", "master_key") and isinstance(v, str) and "/" not in v]
        return own + [one for inner in value.values() for one in secrets(inner)]
    return [one for inner in value for one in secrets(inner)] if isinstance(value, list) else []


def main() -> int:
    """Runs the proof and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the same: it takes seconds")
    parser.add_argument("--output", type=pathlib.Path, default=report.RESULTS / "litellm_import.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        version, examples = fetch(pathlib.Path(name))
    rows, named, unsaid, broken, leaked = [], {}, [], [], []
    for name, text in examples.items():
        try:
            imported = convert(text, name, {})
        except ConfigError as error:
            broken.append(f"{name}: {error.message}")
            continue
        unsaid += [f"{name}: {path}" for path in silent(text, imported)]
        leaked += [name for secret in secrets(yaml.safe_load(text)) if len(secret) > 3 and secret in imported.text]
        counts = {fate: imported.count(fate) for fate in FATES}
        rows.append(
            {"configuration": name, "models here": imported.models, "models not here": len(imported.lost), **counts}
        )
        named[name] = [f"{note.path}: {note.about}" for note in imported.notes if note.fate == "not carried"]
    total = {key: sum(row[key] for row in rows) for key in list(rows[0])[1:]}
    rows.append({"configuration": "all", **total})
    bars = [
        report.bar("configurations that import", "all", f"{len(rows) - 1} of {len(examples)}", not broken),
        report.bar("settings that nothing was said of", "0", str(len(unsaid)), not unsaid),
        report.bar("keys of theirs in ours", "0", str(len(leaked)), not leaked),
    ]
    for row in rows:
        print("  ".join(f"{value!s:<44}" if key == "configuration" else f"{key} {value}" for key, value in row.items()))
    print(*broken, *unsaid, *leaked, sep="\n")
    print(report.bar_lines(bars))
    about = f"{(__doc__ or '').split(chr(10) * 2)[1].strip()} Read here: LiteLLM {version}."
    report.save("litellm_import", TITLE, rows, bars, args.output, about=about, details=[{"not carried": named}])
    return int(not all(bar["holds"] for bar in bars))


if __name__ == "__main__":
    sys.exit(main())
