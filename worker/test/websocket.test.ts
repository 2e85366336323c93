// WebSockets that an app opens.

import { expect, test } from "bun:test";
import { Worker } from "./worker.ts";

/** Opens a WebSocket and says what came of it. */
const OPENS = `export default {
  async fetch(request) {
    const [url, ...protocols] = JSON.parse(await request.text());
    const socket = new WebSocket(url, ...protocols);
    const is = socket instanceof WebSocket && WebSocket.OPEN === 1;
    return await new Promise((resolve) => {
      socket.onopen = () => resolve(new Response(\`\${is} open \${socket.protocol}\`));
      socket.onerror = () => resolve(new Response(\`\${is} failed\`));
    });
  },
};`;

/** A server of WebSockets, and a proxy that leads each tunnel to it and remembers whereto. */
function world() {
  const asked: string[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("no", { status: 400 })),
    websocket: { message() {} },
  });
  const proxy = Bun.listen<{ out?: Bun.Socket<undefined> }>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open: (socket) => void (socket.data = {}),
      async data(socket, bytes) {
        if (socket.data.out !== undefined) return void socket.data.out.write(bytes);
        asked.push(bytes.toString().split("\r\n")[0]!);
        socket.data.out = await Bun.connect<undefined>({
          hostname: "127.0.0.1",
          port: server.port!,
          socket: { data: (_, answer) => void socket.write(answer) },
        });
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
      },
    },
  });
  const direct = `ws://127.0.0.1:${server.port}/`;
  const stop = () => (void server.stop(true), proxy.stop(true));
  return { asked, direct, proxy: `http://app:token@127.0.0.1:${proxy.port}`, [Symbol.dispose]: stop };
}

test("an app's websockets take the proxy, save those to where it is not asked", async () => {
  using there = world();
  const env = { HTTPS_PROXY: there.proxy, NO_PROXY: "127.0.0.1,localhost" };
  await using worker = await Worker.serving(OPENS, env);
  const open = async (...given: unknown[]) =>
    await (await worker.fetch("/", { method: "POST", body: JSON.stringify(given) })).text();
  expect(await open(there.direct)).toBe("true open ");
  expect(there.asked).toEqual([]);
  const outside = "ws://outside.example/";
  expect(await open(outside)).toBe("true open ");
  expect(await open(outside, "chat")).toBe("true open chat");
  expect(await open(outside, ["chat"])).toBe("true open chat");
  expect(await open(outside, { headers: { "x-a": "b" } })).toBe("true open ");
  expect(there.asked).toEqual(Array(4).fill("CONNECT outside.example:80 HTTP/1.1"));
});
