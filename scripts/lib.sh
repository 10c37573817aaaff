# shellcheck shell=bash
# Shared by the scripts beside it: the repository's folder, its virtual environment, its messages.
# To be sourced. Keeps to what bash 3.2 knows, the bash of macOS.

set -euo pipefail

# say LINE...: a line for the person at the terminal; stdout stays free for results.
say() {
    printf '%s\n' "$@" >&2
}

# die LINE...: the same, and the end.
die() {
    say "$@"
    exit 1
}

root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

# find_python: prints a Python that can make the environment, or says what is missing.
find_python() {
    local candidate found=
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14 python; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        found=$candidate
        # Debian splits these two off into a package of their own.
        "$candidate" -c 'import venv, ensurepip' 2>/dev/null || continue
        command -v "$candidate"
        return 0
    done
    if [[ -n $found ]]; then
        die "$found is new enough but lacks the modules venv and ensurepip." \
            "On Debian or Ubuntu: apt-get install python3-venv (or $(basename "$found")-venv). Then start again."
    fi
    die "Sekring needs Python 3.11 or newer, and none was found on PATH." \
        "Install one (Debian 12: apt-get install python3 python3-venv; macOS: brew install python)" \
        "or name it: PYTHON=/path/to/python3 $0"
}

# fingerprint: what the environment was made from. A changed pin, a changed pyproject.toml or a moved
# folder gives another one.
fingerprint() {
    printf '%s\n' "$root"
    # The hash of both files; cksum is the one that every system has.
    cat "$root/requirements.lock" "$root/pyproject.toml" | cksum
}

# is_ready EXTRA...: whether one of these installations is there and up to date.
is_ready() {
    local stamp
    for stamp in "$@"; do
        if [[ -x $venv/bin/python && -f $venv/.sekring-$stamp &&
            $(<"$venv/.sekring-$stamp") == "$(fingerprint)" ]]; then
            # An upgrade of the system's Python can leave an environment that no longer starts.
            "$venv/bin/python" -c '' 2>/dev/null && return 0
        fi
    done
    return 1
}

# made_for: the folder that the environment was made for, if its Python starts.
made_for() {
    "$venv/bin/python" -c '' && cat "$venv/.sekring-root"
}

# make_venv runtime|test: the environment with the locked packages and the project, editable.
# Costs nothing when it is there already; two that start at once wait for each other.
make_venv() {
    local wanted=$1 python pip
    local enough=("$wanted" test) # whoever has the test packages has the others too
    local target="${root}[gateway]"
    [[ $wanted == test ]] && target="${root}[gateway,loadtest,test]"

    is_ready "${enough[@]}" && return 0
    python=$(find_python)

    # The lock is on the repository's folder itself: no file to leave behind, and it falls with this
    # process. Python takes it, since macOS has no flock command; the open descriptor keeps it.
    exec 9<"$root"
    "$python" -c '
import contextlib, fcntl
with contextlib.suppress(OSError):  # a file system without locks: go on without
    fcntl.flock(9, fcntl.LOCK_EX)'

    if ! is_ready "${enough[@]}"; then
        say "Installing the locked packages into $venv (first start or changed pins; about a minute) ..."
        # Changed pins are installed over the old ones: whoever runs from this environment goes on.
        # One whose Python does not start, or that came here from another folder, is made anew.
        if [[ $(made_for 2>/dev/null) != "$root" ]]; then
            rm -rf "$venv"
            "$python" -m venv "$venv" || die "$python could not make $venv; see the message above."
            printf '%s\n' "$root" >"$venv/.sekring-root"
        fi
        pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet install)
        # requirements.lock is the constraint: it pins all, and only what is asked for is installed.
        # The build backend is pinned too, hence no build isolation.
        if ! "${pip[@]}" --constraint "$root/requirements.lock" hatchling editables ||
            ! "${pip[@]}" --constraint "$root/requirements.lock" --no-build-isolation \
                --editable "$target"; then
            die "The packages could not be installed; pip's message is above." \
                "Sekring needs a package index that pip can reach; check the network and pip's configuration."
        fi
        fingerprint >"$venv/.sekring-$wanted"
    fi
    exec 9<&-
}
