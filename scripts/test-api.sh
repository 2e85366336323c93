#!/usr/bin/env bash
# Asks a running server for everything that its description says, and for much that it
# does not, with schemathesis (from PyPI, into target/). A few minutes at most.
#
#   TEST_API_EXAMPLES=100   more requests for each route
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/schemathesis
version=4.32.5
if ! "$venv/bin/schemathesis" --version 2>/dev/null | grep -qF "$version"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

cargo build --locked -p buntime
work=$(mktemp -d)
server=
stop() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; { wait "$server"; } 2>/dev/null || true; fi
    rm -rf "$work"
}
trap stop EXIT
: >"$work/log"
mkdir -p "$work/apps/shop@1.0.0"
echo 'ttl: 1h' >"$work/apps/shop@1.0.0/manifest.yaml"
echo 'export default () => new Response("shop");' >"$work/apps/shop@1.0.0/index.ts"
key=key-of-this-run-$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
env -i PATH="$PATH" PORT=0 RUNTIME_WORKER_DIRS="$work/apps" RUNTIME_STATE_DIR="$work/state" \
    RUNTIME_ROOT_KEY="$key" RUNTIME_BUN="${RUNTIME_BUN:?}" RUNTIME_LOG_FORMAT=json \
    target/debug/buntime serve >"$work/log" 2>&1 &
server=$!
url=
for _ in $(seq 100); do
    url=$(sed -n 's/.*"Listening on \(http:[^"]*\)".*/\1/p' "$work/log")
    [ -n "$url" ] && break
    sleep 0.1
done
if [ -z "$url" ]; then cat "$work/log"; exit 1; fi

# Not checked: that all which fits the schema is accepted (a schema cannot say which
# permissions go with which role), and that Allow names what one pattern has (the paths of
# /keys/meta and /keys/:id overlap).
root=$PWD
cd "$work" # it keeps what it found where it runs
timeout 600 "$root/$venv/bin/schemathesis" --config-file "$root/scripts/schemathesis.toml" \
    run "$url/api/openapi.json" --header "X-API-Key: $key" --no-color --request-timeout 10 \
    --exclude-checks positive_data_acceptance,allow_header_conformance \
    --max-examples "${TEST_API_EXAMPLES:-20}" --continue-on-failure
