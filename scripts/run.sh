#!/bin/sh
# Serves the example apps and says where to look once the server is ready. `make run` calls it.
set -eu

cd "$(dirname "$0")/.."
url=http://$HOST:$PORT

# Waits beside the server: the list is the last thing on the screen, not the first.
show() {
    for _ in $(seq 100); do
        if curl -fsS -o /dev/null "$url/health/ready" 2>/dev/null ||
            node -e "fetch('$url/health/ready').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))" 2>/dev/null; then
            cat <<TEXT

  The example apps (Ctrl-C stops the server):

    $url/links/            routes, params, and a fetch handler
    $url/todos/items       a JSON API on hono, version 2
    $url/todos@1/items     the same API, version 1
    $url/@demo/planets/    a static single-page app under a scope
    $url/clock/            server-sent events
    $url/chat/             WebSocket: open it in two windows
    $url/qr/               a fresh worker for each request

  They are in examples/apps. Put a folder beside them: it is served a second later.

TEXT
            return
        fi
        sleep 0.1
    done
}

show &
shower=$!
trap 'kill $shower 2>/dev/null || true' EXIT

RUNTIME_BUN=${RUNTIME_BUN:-$BUN} RUNTIME_LOG_FORMAT=${RUNTIME_LOG_FORMAT:-pretty} \
    target/release/buntime serve --worker-dirs examples/apps --host "$HOST" --port "$PORT"
