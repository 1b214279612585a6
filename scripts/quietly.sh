#!/bin/sh
# Runs one named step and says nothing unless it fails: `sh scripts/quietly.sh NAME COMMAND...`.
name="$1"
shift
log="$(mktemp)"
"$@" >"$log" 2>&1 </dev/null
status=$?
if [ "$status" != 0 ]; then
    cat "$log"
    printf 'check: %s FAILED (exit %s): %s\n' "$name" "$status" "$*"
fi
rm -f "$log"
exit "$status"
