#!/bin/sh
# Installs the LiteLLM proxy into a throw-away environment of its own: litellm.sh DIR. Does nothing where it is already there.
set -eu
dir=${1:?usage: litellm.sh DIR}
spec='litellm[proxy]>=1.80,<1.110'
if [ -x "$dir/bin/litellm" ] && [ "$(cat "$dir/.spec" 2>/dev/null)" = "$spec" ]; then exit 0; fi
python=${BENCH_PYTHON:-python3}
rm -rf "$dir"
"$python" -m venv "$dir"
"$dir/bin/pip" install -q --disable-pip-version-check "$spec" 'uvloop>=0.21,<0.24'
printf '%s\n' "$spec" > "$dir/.spec"
