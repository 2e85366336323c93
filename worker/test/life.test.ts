// Blank, assigned, serving, stopped.

import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bundle, rehearsal } from "../scripts/build.ts";
import { type Notice, Worker } from "./worker.ts";

const OK = `export default { fetch: () => new Response("ok") }`;

test("what is committed is what the sources give", async () => {
  const committed = (name: string): Promise<string> =>
    Bun.file(new URL(`../dist/${name}`, import.meta.url)).text();
  expect(await committed("wrapper.js")).toBe(await bundle());
  expect(await committed("rehearsal.ts")).toBe(await rehearsal());
});

test("a blank says up, answers a ping, then serves its app", async () => {
  await using worker = await Worker.blank();
  expect(await worker.next()).toEqual({ t: "up" });
  expect((await worker.fetch("/")).status).toBe(204);
  expect(await worker.assign(OK)).toEqual({ t: "ready", hooks: [], websocket: false });
  expect(await (await worker.fetch("/")).text()).toBe("ok");
});

test("of a rehearsal nothing is left", async () => {
  await using worker = await Worker.blank();
  await worker.expect("up");
  for (const _ of ["once", "again"]) {
    expect(await worker.rehearse()).toEqual({ t: "ready", hooks: [], websocket: false });
  }
  const source = `export default () => Response.json({
    env: process.env, cwd: process.cwd(), main: process.argv[1],
    loaded: Object.keys(require.cache).filter((path) => path.includes("rehearsal")),
  })`;
  expect(await worker.assign(source, { A: "1" })).toMatchObject({ t: "ready" });
  const main = join(worker.slot, "app.ts");
  const found = (await (await worker.fetch("/")).json()) as Notice;
  expect<object>(found).toEqual({ env: { A: "1" }, cwd: worker.slot, main, loaded: [] });
  // Now it is the app that is asked.
  expect(await worker.rehearse()).toEqual(found);
});

test("a wrapper whose rehearsal failed can still be assigned", async () => {
  await using worker = await Worker.blank();
  await worker.expect("up");
  expect(await worker.rehearse()).toMatchObject({ t: "ready" });
  expect(await worker.rehearse("missing.ts")).toMatchObject({ t: "failed", kind: "import" });
  const source = `export default () => new Response("served")`;
  expect(await worker.assign(source)).toMatchObject({ t: "ready" });
  expect(await (await worker.fetch("/")).text()).toBe("served");
});

test("an assignment may be long", async () => {
  await using worker = await Worker.blank();
  await worker.expect("up");
  writeFileSync(`${worker.slot}/app.ts`, `export default () => new Response(process.env.LONG)`);
  const long = "é".repeat(200_000);
  const [dir, entry] = [worker.slot, `${worker.slot}/app.ts`];
  // With the body the folder is there too.
  const body = JSON.stringify({ dir, entry, env: { LONG: long }, wait: true });
  const headers = { "x-buntime-assign": "" };
  const outcome = await worker.fetch("/", { method: "POST", headers, body });
  expect(await outcome.json()).toMatchObject({ t: "ready" });
  expect(await (await worker.fetch("/")).text()).toBe(long);
});

test("what is no assignment is refused", async () => {
  await using worker = await Worker.blank();
  await worker.expect("up");
  for (const order of ["{", "null", "{}", `{"dir":"/","entry":"/a","env":{"A":1}}`]) {
    const headers = { "x-buntime-assign": order };
    expect((await worker.fetch("/", { method: "POST", headers })).status, order).toBe(409);
  }
  expect(await worker.assign(OK)).toMatchObject({ t: "ready" });
});

test("an app whose folder is not there yet waits for the body", async () => {
  await using worker = await Worker.blank();
  await worker.expect("up");
  const dir = join(worker.slot, "shown-later");
  const order = { dir, entry: join(dir, "app.ts"), env: {}, wait: true };
  const connection = worker.raw();
  const answered = (): Promise<string> =>
    new Promise((resolve) => connection.once("data", (bytes) => resolve(bytes.toString())));
  const ping = answered();
  connection.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  expect(await ping).toStartWith("HTTP/1.1 204");
  const answer = answered();
  const assignment = JSON.stringify(order);
  connection.write(`POST / HTTP/1.1\r\nhost: a\r\nx-buntime-assign: ${assignment}\r\ncontent-length: 1\r\n\r\n`);
  // Nobody else's assignment is taken: it has this one.
  const headers = { "x-buntime-assign": JSON.stringify({ dir: "/", entry: "/other.ts", env: {} }) };
  expect((await worker.fetch("/", { method: "POST", headers })).status).toBe(409);
  mkdirSync(dir);
  writeFileSync(order.entry, `export default () => new Response(process.cwd())`);
  connection.write("1");
  expect(await answer).toContain(`{"t":"ready","hooks":[],"websocket":false}`);
  expect(await (await worker.fetch("/")).text()).toBe(dir);
  connection.destroy();
});

test("a worker that is loading takes no other app", async () => {
  await using worker = await Worker.blank();
  await worker.expect("up");
  const loading = worker.assign(`await Bun.sleep(50); ${OK}`);
  const headers = { "x-buntime-assign": JSON.stringify({ dir: "/", entry: "/other.ts", env: {} }) };
  expect((await worker.fetch("/", { method: "POST", headers })).status).toBe(409);
  expect(await loading).toMatchObject({ t: "ready" });
});

test("the environment is replaced, the directory and argv are the app's", async () => {
  await using worker = await Worker.serving(
    `const early = { ...process.env };
     export default () => Response.json({
       env: process.env, bun: Bun.env, early, cwd: process.cwd(), argv: process.argv.slice(1), main: import.meta.main,
     })`,
    { A: "1", EMPTY: "", "W.X": "é\n" },
  );
  const env = { A: "1", EMPTY: "", "W.X": "é\n" };
  expect(await (await worker.fetch("/")).json()).toEqual({
    env,
    bun: env,
    early: env,
    cwd: worker.slot,
    argv: [`${worker.slot}/app.ts`],
    main: false,
  });
});

test("an entry of any name is found", async () => {
  // Bun itself finds no module whose path has a `?` or a backslash.
  for (const file of ["a b#c%20[é].ts", "x.mjs", "y.js"]) {
    await using worker = await Worker.blank();
    await worker.expect("up");
    expect(await worker.assign(OK, {}, file), file).toMatchObject({ t: "ready" });
  }
});

test("orders may come in pieces, several at once, and as garbage", async () => {
  await using worker = await Worker.serving(`
    let idle = 0;
    export default { fetch: () => new Response(String(idle)), onIdle() { idle++; throw new Error("told") } }`);
  worker.write(`garbage\n{"t":"assign"}\nnull\n{"t":"unknown"}\n{"t":"idle"}\n{"t":"id`);
  await worker.expect("error");
  worker.write(`le"}\n`);
  await worker.expect("error");
  expect(await (await worker.fetch("/")).text()).toBe("2");
});

test("hooks are named, onIdle runs once for each notice and its errors are told", async () => {
  await using worker = await Worker.blank();
  await worker.expect("up");
  const outcome = await worker.assign(`
    class App {
      idle = 0;
      fetch() { return new Response(String(this.idle)) }
      async onIdle() { this.idle++; if (this.idle === 2) throw new Error("tired") }
      onTerminate() {}
    }
    export default new App();`);
  expect(outcome).toEqual({
    t: "ready",
    hooks: ["onIdle", "onTerminate"],
    websocket: false,
  });
  worker.say({ t: "idle" });
  worker.say({ t: "idle" });
  expect(await worker.next()).toMatchObject({ t: "error", source: "onIdle", message: "Error: tired" });
  expect(await (await worker.fetch("/")).text()).toBe("2");
});

test("onTerminate is awaited", async () => {
  await using worker = await Worker.serving(`
    export default {
      fetch: () => new Response(),
      async onTerminate() { await Bun.sleep(20); console.log("goodbye") },
    }`);
  worker.say({ t: "terminate", graceMs: 10_000 });
  await worker.expect("terminated");
  expect(await worker.exited).toBe(0);
  expect(await worker.output()).toBe("goodbye\n");
});

test("an onTerminate that never ends has its grace, one that throws is told", async () => {
  await using slow = await Worker.serving(
    `export default { fetch() {}, onTerminate: () => new Promise(() => {}) }`,
  );
  slow.say({ t: "terminate", graceMs: 50 });
  await slow.expect("terminated");
  expect(await slow.exited).toBe(0);

  await using broken = await Worker.serving(
    `export default { fetch() {}, onTerminate() { throw new Error("no") } }`,
  );
  broken.say({ t: "terminate", graceMs: 10_000 });
  expect(await broken.next()).toMatchObject({ t: "error", source: "onTerminate" });
  await broken.expect("terminated");
  expect(await broken.exited).toBe(0);
});

test("a worker whose server is gone ends", async () => {
  await using worker = await Worker.serving(OK);
  worker.hangUp();
  expect(await worker.exited).toBe(0);
});
