#!/bin/sh
# What the browser tests need beside .venv: Chromium and its driver from the system's packages
# (installed here as root when they are missing), selenium, and axe-core. Give it .venv's Python.
set -eu
python="$1"
here="$(dirname "$0")"

missing=""
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
command -v chromedriver >/dev/null 2>&1 || missing="$missing chromium-driver"
command -v npm >/dev/null 2>&1 || missing="$missing npm"
fc-list 2>/dev/null | grep -q . || missing="$missing fontconfig fonts-dejavu-core"
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "the browser tests need:$missing (Debian's names); install them and run again" >&2
        exit 1
    fi
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi

"$python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    -r "$here/requirements.lock"
npm ci --prefix "$here" --silent --no-audit --no-fund
