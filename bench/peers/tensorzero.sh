#!/bin/sh
# Installs TensorZero's embedded gateway into a throw-away environment of its own: tensorzero.sh DIR. Does nothing where it is already there.
set -eu
dir=${1:?usage: tensorzero.sh DIR}
spec='tensorzero>=2026.1,<2026.7'
if [ -x "$dir/bin/python" ] && [ "$(cat "$dir/.spec" 2>/dev/null)" = "$spec" ]; then exit 0; fi
python=${BENCH_PYTHON:-python3}
rm -rf "$dir"
"$python" -m venv "$dir"
"$dir/bin/pip" install -q --disable-pip-version-check "$spec" 'uvloop>=0.21,<0.24'
printf '%s\n' "$spec" > "$dir/.spec"
