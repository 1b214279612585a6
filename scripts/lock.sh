#!/bin/sh
# Writes the locks: exact versions with hashes, for every platform, without the address of any package index.
# Run by `make lock`, after a change of dependencies in pyproject.toml. Extra arguments go to uv, e.g. --upgrade.
set -eu
cd "$(dirname "$0")/.."
tools="${TMPDIR:-/tmp}/headgate-lock-tools"
[ -x "$tools/bin/uv" ] || { .venv/bin/python -m venv "$tools" && "$tools/bin/pip" install -q uv; }

compile() {
    out="requirements/$1.lock"
    shift
    "$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-annotate --custom-compile-command "make lock" --output-file "$out" "$@"
}

compile build requirements/build.in "$@"
compile runtime pyproject.toml --constraint requirements/build.lock "$@"
compile postgres pyproject.toml --extra postgres --extra otlp --constraint requirements/runtime.lock "$@"
compile dev pyproject.toml requirements/build.in --extra dev --extra docs --constraint requirements/postgres.lock "$@"
