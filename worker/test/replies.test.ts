// What an app may answer, and what becomes of what it may not.

import { expect, test } from "bun:test";
import { Worker } from "./worker.ts";

const HEADERS = { headers: { "x-request-id": "id-1" } };

test("what is no response is a bad response, for that request only", async () => {
  await using worker = await Worker.serving(`
    const used = new Response(new ReadableStream({ start(c) { c.enqueue("x"); c.close() } }));
    await used.text();
    const answers = {
      "/undefined": () => undefined,
      "/null": () => null,
      "/text": () => "text",
      "/object": () => ({ status: 200 }),
      "/later": async () => 7,
      "/thenable": () => ({ then(ok) { ok("x") } }),
      "/error": () => Response.error(),
      "/imitation": () => Object.create(Response.prototype),
      "/used": () => used,
      "/class": () => Response,
    };
    export default { fetch: (req) => answers[new URL(req.url).pathname]?.() ?? (req.url.endsWith("/ok") ? new Response("ok") : undefined) }`);
  const paths = ["undefined", "null", "text", "object", "later", "thenable", "error", "imitation", "used", "class"];
  for (const path of paths) {
    const response = await worker.fetch(`/${path}`, HEADERS);
    expect(response.status, path).toBe(502);
    expect(response.headers.get("x-buntime-failure"), path).toBe("bad-response");
    expect(await response.text(), path).toBe("");
    expect(await worker.next(), path).toMatchObject({
      t: "error",
      source: "bad-response",
      requestId: "id-1",
    });
  }
  const response = await worker.fetch("/ok");
  expect(response.headers.has("x-buntime-failure")).toBe(false);
  expect(await response.text()).toBe("ok");
});

test("what is thrown is told with its stack and the request's id", async () => {
  await using worker = await Worker.serving(`
    const answers = {
      "/throw": () => { throw new Error("secret") },
      "/reject": async () => { throw new Error("secret") },
      "/nothing": () => { throw undefined },
      "/status": () => new Response("", { status: 9999 }),
      "/zero": () => new Response("", { status: 0 }),
      "/crlf": () => new Response("", { headers: { "x-a": "b\\r\\nx-c: d" } }),
      "/upgrade": (req, server) => server.upgrade(req),
    };
    export default { fetch: (req, server) => answers[new URL(req.url).pathname](req, server) }`);
  for (const path of ["throw", "reject", "nothing", "status", "zero", "crlf"]) {
    const response = await worker.fetch(`/${path}`, HEADERS);
    expect(response.status, path).toBe(502);
    expect(response.headers.get("x-buntime-failure"), path).toBe("threw");
    expect(await response.text(), path).toBe("");
    expect(await worker.next(), path).toMatchObject({ t: "error", source: "handler", requestId: "id-1" });
  }
  await worker.fetch("/throw");
  const notice = await worker.next();
  expect(notice).toMatchObject({ message: "Error: secret" });
  expect(notice["stack"]).toContain("app.ts:3");
  expect(notice).not.toHaveProperty("requestId");
});

test("every shape of an app is served", async () => {
  const shapes = [
    `export default { fetch: () => new Response("ok") }`,
    `export default () => new Response("ok")`,
    `export default function App() { return new Response("ok") }`,
    `export default async () => new Response("ok")`,
    `export default new (class { text = "ok"; fetch() { return new Response(this.text) } })()`,
    `export default new (class { text = "ok"; fetch = () => new Response(this.text); get routes() { return [1, 2] } })()`,
    `export default Object.assign(() => {}, { fetch: () => new Response("ok") })`,
    `export default Object.assign(Object.create(null), { fetch: () => new Response("ok") })`,
    `export default new Proxy({ fetch: () => new Response("ok") }, { get: (t, k) => t[k] ?? (() => {}) })`,
    `export default { fetch: () => Promise.resolve(new Response("ok")) }`,
    `export default { fetch: () => new (class extends Response {})("ok") }`,
    `export default { routes: { "/": new Response("ok") } }`,
    `globalThis.Response = class {}; export default { fetch: () => fetch("data:,ok") }`,
  ];
  for (const shape of shapes) {
    await using worker = await Worker.serving(shape);
    const response = await worker.fetch("/");
    expect(await response.text(), shape).toBe("ok");
  }
  await using common = await Worker.blank();
  await common.expect("up");
  await common.assign(`module.exports = { fetch: () => new Response("ok") }`, {}, "app.cjs");
  expect(await (await common.fetch("/")).text()).toBe("ok");
});

test("routes match before fetch, with params, methods and files", async () => {
  await using worker = await Worker.serving(`
    export default {
      prefix: "p:",
      routes: {
        "/fixed": new Response("fixed"),
        "/file": Bun.file(import.meta.path),
        "/users/:id": (req) => new Response(req.params.id),
        "/methods": { GET: () => new Response("got"), POST: async (req) => new Response(await req.text()) },
        "/bad": () => 7,
        "/bad-method": { GET: () => { throw new Error("x") } },
        "/wild/*": (req, server) => new Response(typeof server.upgrade),
      },
      fetch(req) { return new Response(this.prefix + new URL(req.url).pathname, { status: 404 }) },
    }`);
  const text = async (path: string, init?: RequestInit) => (await worker.fetch(path, init)).text();
  expect(await text("/fixed")).toBe("fixed");
  expect(await text("/file")).toContain("export default");
  expect(await text("/users/a%20b")).toBe("a b");
  expect(await text("/methods")).toBe("got");
  expect(await text("/methods", { method: "POST", body: "hi" })).toBe("hi");
  expect(await text("/methods", { method: "PUT" })).toBe("p:/methods");
  expect(await text("/wild/x/y")).toBe("function");
  expect(await text("/else")).toBe("p:/else");
  expect((await worker.fetch("/bad")).headers.get("x-buntime-failure")).toBe("bad-response");
  expect(await worker.next()).toMatchObject({ source: "bad-response" });
  expect((await worker.fetch("/bad-method")).headers.get("x-buntime-failure")).toBe("threw");
  expect(await worker.next()).toMatchObject({ source: "handler" });
});

test("routes without fetch leave 404 for the rest", async () => {
  await using worker = await Worker.serving(`export default { routes: { "/a": { GET: () => new Response("a") } } }`);
  expect((await worker.fetch("/b")).status).toBe(404);
  expect((await worker.fetch("/a", { method: "POST" })).status).toBe(404);
});

test("late errors are told and survived", async () => {
  await using worker = await Worker.serving(`
    export default { fetch() {
      setTimeout(() => { throw new Error("uncaught") });
      Promise.reject(new Error("unhandled"));
      return new Response("ok");
    } }`);
  for (let round = 0; round < 2; round++) {
    expect(await (await worker.fetch("/")).text()).toBe("ok");
    const sources = [await worker.next(), await worker.next()].map((notice) => notice["source"]);
    expect(sources.sort()).toEqual(["uncaught", "unhandled"]);
  }
});

test("a body that fails ends the connection early and nothing else", async () => {
  await using worker = await Worker.serving(`
    export default { fetch(req) {
      if (req.url.endsWith("/ok")) return new Response("ok");
      const late = req.url.endsWith("/late");
      let pieces = 0;
      return new Response(new ReadableStream({ async pull(c) {
        if (late) await Bun.sleep(5);
        if (pieces++ < 3) c.enqueue("piece"); else throw new Error("half way");
      } }));
    } }`);
  // Before the first byte is on its way there is no response at all.
  expect(worker.fetch("/early")).rejects.toThrow();
  const response = await worker.fetch("/late");
  expect(response.status).toBe(200);
  expect(response.text()).rejects.toThrow();
  expect(await (await worker.fetch("/ok")).text()).toBe("ok");
  // Bun itself prints the error to the app's stderr.
});

test("a flood of errors while nobody listens is bounded, and requests go on", async () => {
  await using worker = await Worker.serving(`
    export default { fetch() { throw new Error("x".repeat(5000)) } }`);
  for (let n = 0; n < 500; n++) expect((await worker.fetch("/")).status).toBe(502);
});
