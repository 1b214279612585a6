#!/bin/sh
# Installs the Portkey gateway into a throw-away npm prefix of its own: portkey.sh DIR. Does nothing where it is already there.
set -eu
dir=${1:?usage: portkey.sh DIR}
spec='>=1.12 <1.16'
# Streams fail with a newer @hono/node-server ("TypeError: immutable", Portkey-AI/gateway issue 1389).
hono='1.14.1'
if [ -d "$dir/node_modules/@portkey-ai/gateway" ] && [ "$(cat "$dir/.spec" 2>/dev/null)" = "$spec $hono" ]; then exit 0; fi
rm -rf "$dir"
mkdir -p "$dir"
cat > "$dir/package.json" <<END
{"private": true, "dependencies": {"@portkey-ai/gateway": "$spec"}, "overrides": {"@hono/node-server": "$hono"}}
END
npm install --prefix "$dir" --no-audit --no-fund --ignore-scripts --loglevel=error
printf '%s\n' "$spec $hono" > "$dir/.spec"
