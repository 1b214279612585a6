#!/bin/sh
# Makes .venv ready for one purpose, from the committed lock: `sh scripts/setup.sh runtime` or `... dev`.
# Finds any Python >= 3.11; on a bare Debian, as root, fetches what it lacks by apt-get. Quiet when all is well.
set -eu
cd "$(dirname "$0")/.."
purpose="${1:-dev}"

say() { printf 'headgate set-up: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Prints the first interpreter that runs, is new enough, and satisfies the extra condition $1 (Python code).
find_python() {
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python3.14 \
        /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11 /usr/bin/python3; do
        if "$candidate" -c "import sys; assert sys.version_info >= (3, 11); $1" >/dev/null 2>&1; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

apt_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    [ "$(id -u)" = 0 ] || return 1
    log="$(mktemp)"
    export DEBIAN_FRONTEND=noninteractive
    if apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1 </dev/null ||
        { apt-get update -qq >>"$log" 2>&1 </dev/null &&
            apt-get install -y -qq --no-install-recommends "$@" >>"$log" 2>&1 </dev/null; }; then
        rm -f "$log"
        return 0
    fi
    cat "$log" >&2
    rm -f "$log"
    return 1
}

# A Python built without optimisation (pyenv's default) costs a third more CPU per request: one with it goes first.
# Distributions build theirs with it, though their flags do not say so.
optimised="import sysconfig; assert sys.base_prefix == '/usr' or \
    '--enable-optimizations' in (sysconfig.get_config_var('CONFIG_ARGS') or '')"

make_venv() {
    if [ -z "${PYTHON:-}" ] && ! find_python "$optimised; import ensurepip, venv" >/dev/null &&
        find_python "$optimised" >/dev/null; then
        say "installing python3-venv for $(find_python "$optimised"), the faster Python here"
        apt_install python3-venv || say "that failed; another Python will do"
    fi
    python="$(find_python "$optimised; import ensurepip, venv")" ||
        python="$(find_python 'import ensurepip, venv')" || {
        if [ -z "$(find_python pass || true)" ]; then
            packages="python3 python3-venv"
        else
            packages="python3-venv"
        fi
        say "no Python >= 3.11 that can make a virtual environment; installing $packages"
        # shellcheck disable=SC2086
        apt_install $packages ||
            die "could not install $packages. Install it yourself (Debian: apt-get install $packages), or set PYTHON."
        python="$(find_python 'import ensurepip, venv')" || die "Python >= 3.11 is needed and was not found; set PYTHON."
    }
    [ -z "${PYTHON:-}" ] || python="$PYTHON"
    "$python" -m venv .venv || die "$python could not make .venv"
}

if ! .venv/bin/python -c 'import sys, pip; assert sys.version_info >= (3, 11)' >/dev/null 2>&1; then
    say "making .venv (once)"
    rm -rf .venv
    make_venv
fi

case "$purpose" in
    runtime) set -- -r requirements/build.lock -r requirements/runtime.lock ;;
    dev) set -- -r requirements/dev.lock ;;
    *) die "what for? runtime or dev, not '$purpose'" ;;
esac
say "installing the $purpose lock into .venv (once per change of the lock)"
pip() { .venv/bin/python -m pip --disable-pip-version-check --quiet --no-input "$@"; }
log="$(mktemp)"
{ pip install --require-hashes "$@" && pip install --no-deps --no-build-isolation -e .; } >"$log" 2>&1 </dev/null || {
    cat "$log" >&2
    rm -f "$log"
    die "pip failed (above)"
}
rm -f "$log"
