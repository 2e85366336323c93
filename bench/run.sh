#!/bin/sh
# Checks what the benchmark needs, then runs it. `make bench` and `make soak` call it.
set -eu

cd "$(dirname "$0")/.."
job=$1

missing=
if [ "$job" = bench ]; then
    command -v nginx >/dev/null 2>&1 || [ -x /usr/sbin/nginx ] || missing="$missing nginx-light"
    command -v wrk >/dev/null 2>&1 || missing="$missing wrk"
fi
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        # shellcheck disable=SC2086 # a list of packages
        apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
    else
        echo "The benchmark needs these Debian packages; install them as root: apt-get install$missing" >&2
        exit 1
    fi
fi

cargo build --release --locked -p buntime-bench
PATH=$PATH:/usr/sbin exec target/release/buntime-bench "$job"
