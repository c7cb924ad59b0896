#!/bin/sh
# Runs its arguments in a network namespace of their own where that is allowed, else as they are.
# The namespace, and every host and cable in it, is gone with the last process.
set -u
if [ "$(id -u)" = 0 ]; then
    command -v ip >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq iproute2; }
    if unshare --net ip link add cable0 type veth peer name cable1 2>/dev/null; then
        TEST_OWN_NETWORK=yes
        export TEST_OWN_NETWORK
        exec unshare --net sh -c 'ip link set lo up && exec "$@"' sh "$@"
    fi
fi
exec "$@"
