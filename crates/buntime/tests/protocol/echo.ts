// Says what it was asked, and does what a test asks for.
import { appendFileSync } from "node:fs";

const encoder = new TextEncoder();
let aborted = 0;
// One for all: an app that holds one for each of hundreds of requests is killed for that.
const large = new Blob([new Uint8Array(8 * 1024 * 1024).fill(120)]);
const listening = new Set<ReadableStreamDefaultController>();

function stream(chunk: Uint8Array, count: number): ReadableStream {
  let left = count;
  return new ReadableStream({
    pull(controller) {
      if (left-- > 0) controller.enqueue(chunk);
      else controller.close();
    },
    cancel() {
      aborted++;
    },
  });
}

async function fetch(request: Request, server: any): Promise<Response> {
  const url = new URL(request.url);
  const number = (name: string) => Number(url.searchParams.get(name) ?? 0);
  switch (url.pathname) {
    case "/raw":
      return new Response(await request.arrayBuffer(), { headers: { "content-type": "application/octet-stream" } });
    case "/count": {
      let bytes = 0;
      for await (const chunk of request.body ?? []) bytes += chunk.length;
      return Response.json({ bytes });
    }
    case "/unread":
      return new Response("not read");
    case "/status":
      return new Response(number("body") ? "body" : null, { status: number("code") });
    case "/cookies": {
      const headers = new Headers();
      for (const name of ["a", "b", "c"]) headers.append("set-cookie", `${name}=1; Path=/`);
      headers.append("set-cookie", "buntime_session=stolen");
      return new Response("cookies", { headers });
    }
    case "/many-headers": {
      const headers = new Headers();
      for (let n = 0; n < number("count"); n++) headers.set(`x-n-${String(n).padStart(3, "0")}`, "v");
      headers.append("set-cookie", "z=1");
      headers.append("location", "/somewhere");
      headers.append("content-security-policy", "default-src 'none'");
      headers.set("content-type", "text/plain");
      return new Response("many", { headers });
    }
    case "/long-header":
      return new Response("long", { headers: { [url.searchParams.get("name") ?? "x-long"]: "v".repeat(number("size")) } });
    case "/hop-by-hop":
      return new Response("hop", {
        headers: {
          connection: "x-drop",
          "x-drop": "1",
          "keep-alive": "timeout=9",
          upgrade: "h2c",
          "proxy-connection": "close",
          "content-length": "999",
          "alt-svc": "h3=':1'",
          "clear-site-data": "*",
          "x-request-id": "of-the-app",
          "x-buntime-secret": "1",
        },
      });
    case "/download":
      return new Response(stream(new Uint8Array(64 * 1024).fill(120), number("blocks")));
    case "/large":
      return new Response(large);
    case "/events": {
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(encoder.encode("data: first\n\n"));
          listening.add(controller);
        },
        cancel() {
          aborted++;
          listening.clear();
        },
      });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    }
    case "/emit":
      for (const controller of listening) controller.enqueue(encoder.encode("data: more\n\n"));
      return Response.json({ listening: listening.size });
    case "/wait":
      return await new Promise((resolve) => {
        request.signal.addEventListener("abort", () => {
          aborted++;
          resolve(new Response("too late"));
        });
        console.log(`waiting ${request.headers.get("x-request-id")}`);
      });
    case "/aborted":
      return Response.json({ aborted });
    case "/throw":
      throw new Error("the secret reason");
    case "/exit":
      process.exit(7);
    case "/hang":
      await new Promise(() => {});
    case "/ws":
      return server.upgrade(request) ? (undefined as any) : new Response("no upgrade", { status: 400 });
    case "/error-page":
      return new Response("mine", { status: 500 });
  }
  const body = request.body ? await request.text() : "";
  // One line for each request that reached the app, for tests that count them.
  const target = request.url.slice(url.origin.length);
  appendFileSync(`${process.env.DATA_DIR}/seen`, `${request.method} ${target} ${encoder.encode(body).length}\n`);
  return Response.json({
    method: request.method,
    url: request.url,
    headers: [...request.headers],
    body,
  });
}

export default {
  fetch,
  websocket: {
    message(socket: any, message: any) {
      socket.send(message);
    },
  },
};
