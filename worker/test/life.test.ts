// Blank, assigned, serving, stopped.

import { expect, test } from "bun:test";
import { bundle } from "../scripts/build.ts";
import { Worker } from "./worker.ts";

const OK = `export default { fetch: () => new Response("ok") }`;

test("the committed bundle is what the sources give", async () => {
  const committed = await Bun.file(new URL("../dist/wrapper.js", import.meta.url)).text();
  expect(committed).toBe(await bundle());
});

test("a blank says up, answers a ping, then serves its app", async () => {
  await using worker = await Worker.blank();
  expect(await worker.next()).toEqual({ t: "up" });
  expect((await worker.fetch("/")).status).toBe(204);
  worker.assign(OK);
  expect(await worker.next()).toEqual({ t: "ready", hooks: [], websocket: false });
  expect(await (await worker.fetch("/")).text()).toBe("ok");
});

test("an app may be assigned before the worker is up", async () => {
  await using worker = await Worker.blank();
  worker.assign(OK);
  await worker.expect("up");
  await worker.expect("ready");
  expect(await (await worker.fetch("/")).text()).toBe("ok");
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
    worker.assign(OK, {}, file);
    await worker.expect("ready");
  }
});

test("orders may come in pieces, several at once, and as garbage", async () => {
  await using worker = await Worker.blank();
  await worker.expect("up");
  worker.write(`garbage\n{"t":"assign"}\nnull\n{"t":"unknown"}\n{"t":"id`);
  await worker.fetch("/");
  worker.write(`le"}\n`);
  worker.assign(OK);
  await worker.expect("ready");
  worker.assign(`throw new Error("only one app for each worker")`, {}, "other.ts");
  expect(await (await worker.fetch("/")).text()).toBe("ok");
});

test("hooks are named, onIdle runs once for each notice and its errors are told", async () => {
  await using worker = await Worker.blank();
  await worker.expect("up");
  worker.assign(`
    class App {
      idle = 0;
      fetch() { return new Response(String(this.idle)) }
      async onIdle() { this.idle++; if (this.idle === 2) throw new Error("tired") }
      onTerminate() {}
    }
    export default new App();`);
  expect(await worker.next()).toEqual({
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

test("a blank, and one that is still loading, stop at once", async () => {
  await using blank = await Worker.blank();
  await blank.expect("up");
  blank.say({ t: "terminate", graceMs: 10_000 });
  await blank.expect("terminated");
  expect(await blank.exited).toBe(0);

  await using loading = await Worker.blank();
  await loading.expect("up");
  loading.assign(`await new Promise(() => {})`);
  loading.say({ t: "terminate", graceMs: 10_000 });
  await loading.expect("terminated");
  expect(await loading.exited).toBe(0);
});

test("a worker whose server is gone ends", async () => {
  await using worker = await Worker.serving(OK);
  worker.hangUp();
  expect(await worker.exited).toBe(0);
});
