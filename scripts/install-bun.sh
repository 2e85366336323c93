#!/bin/sh
# Puts the Bun that worker/package-lock.json pins in place, and proves that it runs.
#
# npm may hold back install scripts, and bun's own install script may download by itself.
# So no install script runs here: npm fetches and checks the platform package, and this
# script does what bun's would do, link the binary to the name that `.bin/bun` points at.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
worker=$root/worker
target=$worker/node_modules/bun/bin/bun.exe

fail() { echo "install-bun: $*" >&2; exit 1; }

command -v npm >/dev/null 2>&1 || fail "npm is not on PATH; install Node.js with npm"
want=$(node -p 'require(process.argv[1]).packages["node_modules/bun"].version' "$worker/package-lock.json")

runs() { [ -x "$1" ] && [ "$("$1" --version 2>/dev/null)" = "$want" ]; }

if ! runs "$target" || [ "$worker/package-lock.json" -nt "$worker/node_modules/.package-lock.json" ]; then
    (cd "$worker" && npm ci --ignore-scripts --no-audit --no-fund)
fi

if ! runs "$target"; then
    for candidate in "$worker"/node_modules/@oven/bun-*/bin/bun; do
        if runs "$candidate"; then
            ln -f "$candidate" "$target" 2>/dev/null || cp "$candidate" "$target"
            chmod 755 "$target"
            break
        fi
    done
fi

runs "$target" || fail "no Bun $want for $(uname -sm) came with npm; see worker/package-lock.json"
echo "Bun $want is ready: worker/node_modules/.bin/bun"
