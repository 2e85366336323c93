// Workers that are started for their app.

import { expect, test } from "bun:test";
import { Worker } from "./worker.ts";

test("a worker that is started for its app serves it from the first request on", async () => {
  await using worker = await Worker.given(`
    export default {
      routes: { "/routed": new Response("routed") },
      fetch: () => Response.json({ cwd: process.cwd(), env: process.env, main: process.argv[1] }),
      onIdle() {},
    };`, { A: "1" });
  expect(await worker.next()).toMatchObject({ t: "ready", hooks: ["onIdle"], websocket: false });
  expect(await (await worker.fetch("/")).json()).toEqual({
    cwd: worker.slot,
    env: { A: "1" },
    main: `${worker.slot}/app.ts`,
  });
  expect(await (await worker.fetch("/routed")).text()).toBe("routed");
});

test("it takes no other app", async () => {
  await using worker = await Worker.given(`export default () => new Response("mine");`);
  expect((await worker.next()).t).toBe("ready");
  const headers = { "x-buntime-assign": JSON.stringify({ dir: "/", entry: "/x", env: {} }) };
  const response = await worker.fetch("/", { method: "POST", headers });
  expect(await response.text()).toBe("mine");
});

test("it says why its app cannot be loaded", async () => {
  await using worker = await Worker.given(`throw new Error("no database");`);
  expect(await worker.next()).toMatchObject({
    t: "failed",
    kind: "import",
    message: "Error: no database",
  });
});

test("it waits with an app that awaits what never comes", async () => {
  await using worker = await Worker.given(`await new Promise(() => {}); export default {};`);
  const ended = worker.exited.then(() => "ended");
  expect(await Promise.race([ended, Bun.sleep(1500).then(() => "waits")])).toBe("waits");
  worker.hangUp();
  expect(await ended).toBe("ended");
});

test("handlers and upgrades are guarded as in a blank", async () => {
  await using worker = await Worker.given(`
    export default {
      fetch(request, server) {
        if (server.upgrade(request)) return;
        throw new Error("no");
      },
      websocket: { message(socket, text) { socket.send(text); } },
    };`);
  expect(await worker.next()).toMatchObject({ t: "ready", websocket: true });
  const response = await worker.fetch("/");
  expect([response.status, response.headers.get("x-buntime-failure")]).toEqual([502, "threw"]);
  const socket = worker.websocket("/");
  socket.onopen = () => socket.send("there");
  const back = await new Promise((resolve) => (socket.onmessage = (event) => resolve(event.data)));
  expect(back).toBe("there");
  socket.close();
});
