// The example apps by themselves, without the server: each is started on a free port the way
// its default export says. What the server adds is tested with the server.
import { afterAll, describe, expect, test } from "bun:test";
import { $ } from "bun";
import todos1 from "../apps/todos/1.0.0/index.ts";
import todos2 from "../apps/todos/2.0.0/index.ts";
import links from "../apps/links@1.0.0/index.ts";
import clock from "../apps/clock/index.ts";
import chat from "../apps/chat/index.ts";
import qr from "../apps/qr/index.ts";

const running: { stop(force: boolean): unknown }[] = [];

function serve(app: object): string {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", idleTimeout: 0, ...app } as never) as Bun.Server<unknown>;
  running.push(server);
  return server.url.href.replace(/\/$/, "");
}

afterAll(() => Promise.all(running.map((server) => server.stop(true))));

const json = (method: string, body: unknown): RequestInit => ({
  method,
  body: JSON.stringify(body),
  headers: { "content-type": "application/json" },
});

describe("todos", () => {
  test("version 1 adds, finishes and removes", async () => {
    const url = serve({ fetch: todos1.fetch });
    const made = await fetch(`${url}/items`, json("POST", { title: " Buy milk " }));
    expect(made.status).toBe(201);
    const { id } = (await made.json()) as { id: number };
    expect(await (await fetch(`${url}/items/${id}/done`, { method: "PUT" })).json()).toEqual({ id, title: "Buy milk", done: true });
    expect((await fetch(`${url}/items/${id}`, { method: "DELETE" })).status).toBe(204);
    expect((await fetch(`${url}/items/${id}`)).status).toBe(404);
    expect((await fetch(`${url}/items`, json("POST", { title: "" }))).status).toBe(400);
  });

  test("version 2 pages, filters and says what is wrong", async () => {
    const url = serve(todos2);
    for (let i = 1; i <= 25; i++) {
      expect((await fetch(`${url}/items`, json("POST", { title: `item ${i}` }))).headers.get("location")).toBe(`/items/${i}`);
    }
    await fetch(`${url}/items/3`, json("PATCH", { status: "done" }));
    const first = (await (await fetch(`${url}/items`)).json()) as { items: unknown[]; next: number };
    expect([first.items.length, first.next]).toEqual([20, 20]);
    const second = await (await fetch(`${url}/items?after=20`)).json();
    expect([second.items.length, second.next]).toEqual([5, null]);
    expect((await (await fetch(`${url}/items?status=done`)).json()).items).toEqual([{ id: 3, title: "item 3", status: "done" }]);
    for (const [body, message] of [
      [[], "the body must be a JSON object"],
      [{ status: "maybe" }, "status must be open or done"],
      [{}, "send a title, a status, or both"],
    ]) {
      const answer = await fetch(`${url}/items/1`, json("PATCH", body));
      expect([answer.status, await answer.json()]).toEqual([400, { error: message }]);
    }
  });
});

test("links: routes, params, and fetch for the rest", async () => {
  const url = serve(links);
  const made = await fetch(`${url}/api/links`, json("POST", { url: "https://example.com/x", code: "ex" }));
  expect([made.status, made.headers.get("location")]).toEqual([201, "/ex"]);
  const visit = await fetch(`${url}/ex`, { redirect: "manual" });
  expect([visit.status, visit.headers.get("location")]).toEqual([302, "https://example.com/x"]);
  expect(await (await fetch(`${url}/api/links/ex`)).json()).toEqual({ code: "ex", url: "https://example.com/x", visits: 1 });
  expect((await fetch(`${url}/api/links`, json("POST", { url: "javascript:alert(1)" }))).status).toBe(400);
  expect((await fetch(`${url}/api/links`, json("POST", { url: "https://example.com", code: "ex" }))).status).toBe(409);
  expect((await fetch(`${url}/api/links/ex`, { method: "DELETE" })).status).toBe(204);
  expect((await fetch(`${url}/ex`)).status).toBe(404);
  expect(await (await fetch(url)).text()).toContain("<title>Short links</title>");
});

test("clock: the first event comes at once, a reader that leaves is forgotten", async () => {
  const url = serve(clock);
  const gone = new AbortController();
  const response = await fetch(`${url}/events`, { signal: gone.signal });
  expect(response.headers.get("content-type")).toBe("text/event-stream");
  const reader = response.body!.getReader();
  const { value } = await reader.read();
  expect(new TextDecoder().decode(value)).toContain("event: tick");
  expect((await (await fetch(`${url}/now`)).json()).readers).toBe(1);
  gone.abort();
  while ((await (await fetch(`${url}/now`)).json()).readers > 0) {
    // Asks again until the worker has seen the end of the connection.
  }
});

test("chat: two in a room hear each other, a third elsewhere does not", async () => {
  const url = serve(chat).replace("http", "ws");
  const member = async (room: string, name: string) => {
    const socket = new WebSocket(`${url}/socket?room=${room}&name=${name}`);
    const waiting: { type: string; fits: (data: any) => boolean; done: (data: any) => void }[] = [];
    const seen: any[] = [];
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      seen.push(message);
      waiting.filter((one) => one.type === message.type && one.fits(message)).forEach((one) => one.done(message));
    };
    const next = (type: string, fits = (_: any) => true) =>
      new Promise<any>((done) => {
        const old = seen.find((message) => message.type === type && fits(message));
        old ? done(old) : waiting.push({ type, fits, done });
      });
    await next("history");
    return { socket, next, seen };
  };
  const ada = await member("lobby", "Ada");
  const bob = await member("lobby", "Bob");
  const eve = await member("attic", "Eve");
  await ada.next("members", ({ names }) => names.join() === "Ada,Bob");
  ada.socket.send("hello");
  expect((await bob.next("message")).text).toBe("hello");
  const late = await member("lobby", "Cleo");
  expect((await late.next("history")).messages).toHaveLength(1);
  expect(eve.seen.some(({ type }) => type === "message")).toBe(false);
  bob.socket.close();
  await ada.next("members", ({ names }) => names.join() === "Ada,Cleo");
});

describe("qr", () => {
  const code = (text: string) => qr.fetch(new Request(`http://app/code.svg?text=${encodeURIComponent(text)}`));

  test("the size of the code follows the text", async () => {
    // Modules across, with the quiet zone: 21 + 8 for version 1, four more for each version.
    for (const [length, size] of [[14, 29], [15, 33], [62, 41], [106, 49], [213, 65]] as const) {
      expect(await code("x".repeat(length)).text()).toContain(`viewBox="0 0 ${size} ${size}"`);
    }
    expect(code("x".repeat(214)).status).toBe(400);
    expect(code("").status).toBe(400);
  });

  test("a known code stays as it was when a reader last confirmed it", async () => {
    const { encode } = await import("../apps/qr/encode.ts");
    const rows = encode(new TextEncoder().encode("hello")).map((row) => row.map(Number).join(""));
    expect(rows).toMatchInlineSnapshot(`
      [
        "111111100110001111111",
        "100000101100001000001",
        "101110100101101011101",
        "101110100011001011101",
        "101110101100101011101",
        "100000100000101000001",
        "111111101010101111111",
        "000000000011100000000",
        "101010100101000010010",
        "001011000010001000011",
        "010100101110100011111",
        "110010000000001000010",
        "011010110010101010000",
        "000000001111010100111",
        "111111100011011100111",
        "100000100011110110000",
        "101110101011011100011",
        "101110100100001100110",
        "101110101110100010101",
        "100000100100001010010",
        "111111101110101100011",
      ]
    `);
  });
});

test("planets: dist is what the source builds", async () => {
  const app = `${import.meta.dir}/../apps/@demo/planets`;
  const fresh = (await $`mktemp -d`.text()).trim();
  try {
    await $`${process.execPath} ${app}/build.ts ${fresh}`.quiet();
    await $`diff -r ${app}/dist ${fresh}`;
  } finally {
    await $`rm -rf ${fresh}`;
  }
});
