#!/bin/sh
# Serves the example apps and says where to look once the server is ready. `make run` calls it.
# BUNTIME is the server, if it is not the one that `make build` makes.
set -eu

cd "$(dirname "$0")/.."
url=http://$HOST:$PORT
if [ -n "${RUNTIME_ROOT_KEY:-}" ]; then
    key='the value of RUNTIME_ROOT_KEY'
else
    key="in the file ${RUNTIME_STATE_DIR:-.buntime}/root-key"
fi

# Runs beside the server, so that the list is the last thing on the screen, not the first.
show() {
    node -e '
        const [url, server] = process.argv.slice(1);
        const end = Date.now() + 15_000;
        (async function wait() {
            const ready = await fetch(url + "/health/ready").then((r) => r.ok, () => false);
            if (!ready && Date.now() < end) return setTimeout(wait, 100);
            // Throws if the server has ended: then another program answered on that port.
            try { process.kill(Number(server), 0); } catch { process.exit(1); }
            process.exit(ready ? 0 : 1);
        })();
    ' "$url" $$ || return 0
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

  The API:         $url/api/docs
  Your key for it: $key

  README.md shows how to deploy with it, and how to go back.

TEXT
}

show &
RUNTIME_BUN=${RUNTIME_BUN:-$BUN} RUNTIME_LOG_FORMAT=${RUNTIME_LOG_FORMAT:-pretty} \
    exec "${BUNTIME:-target/release/buntime}" serve --worker-dirs examples/apps --host "$HOST" --port "$PORT"
