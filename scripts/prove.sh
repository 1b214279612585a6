#!/bin/sh
# Runs every long proof in bench/prove/, or those named, then rebuilds docs/proofs.md from bench/results/*.json.
# Goes on after one fails, and says at the end which did.
set -u
cd "$(dirname "$0")/.."
[ "$#" -gt 0 ] || set -- bench/prove/*
failed=""
for script in "$@"; do
    case "$script" in
        *.py) set -- .venv/bin/python "$script" ;;
        *.sh) set -- bash "$script" ;;
        *) continue ;;
    esac
    [ -f "$script" ] || continue
    case "$(basename "$script")" in _*) continue ;; esac
    printf 'prove: %s\n' "$script"
    "$@" </dev/null || failed="$failed $script"
done
.venv/bin/python scripts/proofs.py || failed="$failed scripts/proofs.py"
[ -z "$failed" ] || { printf 'prove: FAILED:%s\n' "$failed"; exit 1; }
