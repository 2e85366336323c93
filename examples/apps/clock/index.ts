// clock: one ticker for all readers, each an SSE stream. A reader that goes away is
// forgotten at once, and with the last reader the ticker stops: an idle worker is idle.
//
//   curl -N localhost:8000/clock/events
const encoder = new TextEncoder();
const readers = new Set<ReadableStreamDefaultController<Uint8Array>>();
const MAX_READERS = 1_000;
// A reader this far behind is not reading: it is let go instead of being buffered for.
const MAX_BEHIND = 64;

let ticker: ReturnType<typeof setTimeout> | undefined;
let ticks = 0;

function tick(): void {
  ticks += 1;
  const event = encoder.encode(`id: ${ticks}\nevent: tick\ndata: ${JSON.stringify(now())}\n\n`);
  for (const reader of readers) {
    if ((reader.desiredSize ?? 0) < -MAX_BEHIND) {
      leave(reader);
      reader.error(new Error("reader too slow"));
    } else {
      reader.enqueue(event);
    }
  }
  schedule();
}

/** The next tick falls on the full second. */
function schedule(): void {
  ticker = readers.size > 0 ? setTimeout(tick, 1_000 - (Date.now() % 1_000)) : undefined;
}

function now() {
  return { time: new Date().toISOString(), readers: readers.size };
}

function leave(reader: ReadableStreamDefaultController<Uint8Array>): void {
  readers.delete(reader);
  if (readers.size === 0) {
    clearTimeout(ticker);
    ticker = undefined;
  }
}

function events(): Response {
  if (readers.size >= MAX_READERS) {
    return new Response("too many readers\n", { status: 503, headers: { "retry-after": "10" } });
  }
  let reader: ReadableStreamDefaultController<Uint8Array>;
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      reader = controller;
      readers.add(reader);
      // The first event goes out at once; `retry` tells the browser when to come back.
      reader.enqueue(encoder.encode(`retry: 2000\nevent: tick\ndata: ${JSON.stringify(now())}\n\n`));
      if (!ticker) {
        schedule();
      }
    },
    cancel() {
      leave(reader);
    },
  });
  return new Response(stream, {
    headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
  });
}

export default {
  routes: {
    "/": Bun.file(`${import.meta.dir}/page.html`),
    "/events": { GET: events },
    "/now": { GET: () => Response.json(now()) },
  },

  fetch: () => new Response("not found\n", { status: 404 }),

  onIdle() {
    console.log(`idle after ${ticks} ticks`);
  },

  onTerminate() {
    for (const reader of readers) {
      leave(reader);
      reader.close();
    }
  },
};
