// At /stream an event at once and another every half second, for as long as somebody reads.
const event = new TextEncoder().encode("data: tick\n\n");

function stream() {
  let timer: ReturnType<typeof setInterval>;
  return new ReadableStream<Uint8Array>({
    start(reader) {
      reader.enqueue(event);
      timer = setInterval(() => reader.enqueue(event), 500);
    },
    cancel() {
      clearInterval(timer);
    },
  });
}

export default {
  fetch(request: Request) {
    if (!new URL(request.url).pathname.endsWith("/stream")) {
      return new Response("ok");
    }
    // The second header is for nginx, which else holds back what is short.
    const headers = { "content-type": "text/event-stream", "x-accel-buffering": "no" };
    return new Response(stream(), { headers });
  },
};
