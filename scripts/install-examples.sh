#!/bin/sh
# Installs the npm dependencies of the example apps, as their lockfiles say.
# Nothing is resolved anew and no install script runs.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
bun=${RUNTIME_BUN:-$root/worker/node_modules/.bin/bun}

for lock in $(cd "$root" && find examples bench -name bun.lock -not -path '*/node_modules/*' | sort); do
    dir=$(dirname "$lock")
    # The stamp is younger than the lockfile when this very lockfile was installed.
    stamp=$root/$dir/node_modules/.installed
    if [ ! -e "$stamp" ] || [ "$root/$lock" -nt "$stamp" ]; then
        (cd "$root/$dir" && "$bun" install --frozen-lockfile --ignore-scripts)
        touch "$stamp"
    fi
done
