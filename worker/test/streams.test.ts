// Streaming, aborts and WebSockets.

import { expect, test } from "bun:test";
import { once } from "node:events";
import { Worker } from "./worker.ts";

test("an event stream arrives event by event", async () => {
  await using worker = await Worker.serving(`
    let next;
    export default { fetch(req) {
      if (req.url.endsWith("/next")) { next(); return new Response() }
      return new Response(new ReadableStream({
        async start(c) {
          c.enqueue("data: 1\\n\\n");
          await new Promise((resolve) => { next = resolve });
          c.enqueue("data: 2\\n\\n");
          c.close();
        },
      }), { headers: { "content-type": "text/event-stream" } });
    } }`);
  const response = await worker.fetch("/");
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  expect((await reader.read()).value).toBe("data: 1\n\n");
  await worker.fetch("/next");
  expect((await reader.read()).value).toBe("data: 2\n\n");
  expect((await reader.read()).done).toBe(true);
});

test("a client that leaves aborts the request", async () => {
  await using worker = await Worker.serving(`
    let aborted = 0, cancelled = 0, started = Promise.withResolvers(), both = Promise.withResolvers();
    export default { async fetch(req) {
      const path = new URL(req.url).pathname;
      if (path === "/counts") { await both.promise; return Response.json({ aborted, cancelled }) }
      if (path === "/started") { await started.promise; started = Promise.withResolvers(); return new Response() }
      req.signal.addEventListener("abort", () => { aborted++; if (aborted === 2 && cancelled) both.resolve() });
      started.resolve();
      if (path === "/wait") return new Promise(() => {});
      return new Response(new ReadableStream({
        pull(c) { c.enqueue(new Uint8Array(1000)); return Bun.sleep(1) },
        cancel() { cancelled++; if (aborted === 2) both.resolve() },
      }));
    } }`);
  for (const path of ["/wait", "/stream"]) {
    const socket = worker.raw();
    socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    await worker.fetch("/started");
    if (path === "/stream") await once(socket, "data");
    socket.destroy();
  }
  expect(await (await worker.fetch("/counts")).json()).toEqual({ aborted: 2, cancelled: 1 });
});

test("a request body streams, and waits for its reader", async () => {
  await using worker = await Worker.serving(`
    const go = Promise.withResolvers();
    export default { async fetch(req) {
      if (req.url.endsWith("/turn")) return new Response();
      if (req.url.endsWith("/go")) { go.resolve(); return new Response() }
      const reader = req.body.getReader();
      let total = (await reader.read()).value.length;
      await go.promise;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return new Response(String(total));
        total += value.length;
      }
    } }`);
  const socket = worker.raw();
  const length = 64 << 20;
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`);
  const piece = Buffer.alloc(1 << 20);
  let sent = 0;
  // Fill until the kernel takes no more, however often the worker has a turn: the app does not read.
  const turns = async () => {
    for (let turn = 0; turn < 100; turn += 1) await worker.fetch("/turn");
  };
  while (sent < length) {
    sent += piece.length;
    if (socket.write(piece)) continue;
    const drained = await Promise.race([once(socket, "drain"), turns()]);
    if (drained === undefined) break;
  }
  expect(sent).toBeLessThan(length / 2);
  await worker.fetch("/go");
  const answer = once(socket, "data");
  while (sent < length) {
    sent += piece.length;
    if (!socket.write(piece)) await once(socket, "drain");
  }
  expect(String((await answer)[0])).toEndWith(`\r\n\r\n${length}`);
  socket.destroy();
});

test("the url is the path and the query as sent, under the Host that was sent", async () => {
  await using worker = await Worker.serving(`export default (req) => new Response(req.url)`);
  const response = await worker.fetch("/a%2Fb//c/%41?q=%20&q=+");
  expect(await response.text()).toBe("http://app.test/a%2Fb//c/%41?q=%20&q=+");
});

const ECHO = `
  fetch(req, server) {
    const path = new URL(req.url).pathname;
    if (server.upgrade(req, { data: { path } })) {
      if (path === "/throw") throw new Error("after");
      return path === "/late" ? new Response("too late") : undefined;
    }
    return new Response("plain", { status: 426 });
  },`;

test("a WebSocket works, with data, and errors in its handlers are survived", async () => {
  await using worker = await Worker.serving(`
    class Chat {
      greeting = "hello ";
      open(ws) { ws.send(this.greeting + ws.data.path) }
      message(ws, text) { if (text === "throw") throw new Error("in message"); ws.send("echo " + text) }
    }
    export default { ${ECHO} websocket: new Chat() }`);
  expect(await (await worker.fetch("/")).text()).toBe("plain");
  for (const path of ["/chat", "/late", "/throw"]) {
    const socket = worker.websocket(path);
    const messages: unknown[] = [];
    const done = Promise.withResolvers<void>();
    socket.onmessage = ({ data }) => {
      messages.push(data);
      if (messages.length === 2) done.resolve();
    };
    socket.onerror = () => done.reject(new Error("closed"));
    await once(socket as unknown as EventTarget, "open");
    socket.send("throw");
    socket.send("hi");
    await done.promise;
    expect(messages).toEqual([`hello ${path}`, "echo hi"]);
    socket.close();
  }
  const sources = [await worker.next(), await worker.next(), await worker.next(), await worker.next()];
  expect(sources.map((notice) => notice["source"]).sort()).toEqual([
    "handler",
    "uncaught",
    "uncaught",
    "uncaught",
  ]);
});

test("an app says whether it has WebSockets; without, an upgrade fails that request", async () => {
  await using worker = await Worker.blank();
  await worker.expect("up");
  const outcome = await worker.assign(`export default { ${ECHO} websocket: { message() {} } }`);
  expect(outcome).toMatchObject({ t: "ready", websocket: true });

  await using without = await Worker.serving(`export default { ${ECHO} }`);
  const response = await without.fetch("/");
  expect(response.headers.get("x-buntime-failure")).toBe("threw");
});
