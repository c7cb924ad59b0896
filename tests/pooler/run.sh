#!/bin/sh
# The tests of the tables, the tasks and the gateway, and a whole `up`, behind PgBouncer in
# transaction mode. Installs Debian's package if it is absent and we are root.
set -u
PATH="$PATH:/usr/sbin:/sbin"
export PATH
if ! command -v pgbouncer >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq && apt-get install -y -qq pgbouncer || exit 1
    else
        echo "pgbouncer is not installed: as root, apt-get install pgbouncer" >&2
        exit 1
    fi
fi
exec "$1" -m tests.pooler
