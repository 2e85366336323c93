// Connects to wherever it is told, in the way it is told, and says what came of it.
import net from "node:net";

const said = (error: unknown) => {
  const { code, message } = error as { code?: string; message?: string };
  return `refused ${code ?? ""} ${message ?? error}`;
};

const ways: Record<string, (to: string) => Promise<string>> = {
  async fetch(to) {
    const response = await fetch(to, { tls: { rejectUnauthorized: false } });
    return `${response.status} ${await response.text()}`;
  },
  // The API as a program that has a key asks it.
  async change(to) {
    const response = await fetch(to, { method: "POST", headers: { "X-Api-Key": process.env["GREETING"]! } });
    return `${response.status} ${await response.text()}`;
  },
  // The API with a credential that it was told: header, value and address.
  async presented(to) {
    const [header, value, url] = to.split("|");
    const response = await fetch(url!, { headers: { [header!]: value! } });
    return `${response.status} ${await response.text()}`;
  },
  async node(to) {
    const { request } = to.startsWith("https:") ? await import("node:https") : await import("node:http");
    return await new Promise((resolve, reject) => {
      const asked = request(to, { rejectUnauthorized: false }, (response) => {
        response.setEncoding("utf8");
        let text = `${response.statusCode} `;
        response.on("data", (part: string) => (text += part));
        response.on("end", () => resolve(text));
      });
      asked.on("error", reject);
      asked.end();
    });
  },
  async websocket(to) {
    const socket = new WebSocket(to, { tls: { rejectUnauthorized: false } });
    return await new Promise((resolve, reject) => {
      socket.onopen = () => socket.send("hello");
      socket.onmessage = (event) => resolve(`done ${event.data}`);
      socket.onerror = (event) => reject(event);
    });
  },
  // To the server itself, which needs no proxy.
  async upgrade(to) {
    const socket = new WebSocket(`${process.env["RUNTIME_API_URL"]!.replace("http", "ws")}${to}`);
    return await new Promise((resolve, reject) => {
      socket.onopen = () => socket.send("hello");
      socket.onmessage = (event) => resolve(`done ${event.data}`);
      socket.onerror = (event) => reject(event);
    });
  },
  // Once there is such a file, the server and the outside.
  async later(to) {
    await Bun.write(`${process.env["DATA_DIR"]}/begun`, "");
    while (!(await Bun.file(`${process.env["DATA_DIR"]}/${to}`).exists())) await Bun.sleep(10);
    const api = await fetch(`${process.env["RUNTIME_API_URL"]}/api/health/live`);
    const outside = await fetch("http://10.255.255.1/");
    return `${api.status} ${outside.status}`;
  },
  async tcp(to) {
    const [hostname, port] = to.split(/:(?=\d+$)/);
    return await new Promise((resolve, reject) => {
      Bun.connect({
        hostname: hostname!,
        port: Number(port),
        socket: {
          open: (socket) => void socket.write("GET / HTTP/1.0\r\n\r\n"),
          data: (_, bytes) => resolve(`done ${bytes}`),
          close: () => resolve("done closed"),
          error: (_, error) => reject(error),
          connectError: (_, error) => reject(error),
        },
      }).catch(reject);
    });
  },
  async net(to) {
    const [host, port] = to.split(/:(?=\d+$)/);
    return await new Promise((resolve, reject) => {
      const socket = net.connect(Number(port), host!);
      socket.on("connect", () => resolve("done connected"));
      socket.on("error", reject);
    });
  },
  // By the system call itself.
  async ffi(to) {
    const { dlopen, ptr, FFIType } = await import("bun:ffi");
    const { i32, u32 } = FFIType;
    const { symbols } = dlopen("libc.so.6", {
      socket: { args: [i32, i32, i32], returns: i32 },
      connect: { args: [i32, FFIType.ptr, u32], returns: i32 },
    });
    const [host, port] = to.split(":");
    const address = new Uint8Array(16);
    address[0] = 2;
    new DataView(address.buffer).setUint16(2, Number(port));
    address.set(host!.split(".").map(Number), 4);
    const socket = symbols.socket(2, 1, 0);
    if (socket < 0) return "refused socket";
    return symbols.connect(socket, ptr(address), 16) === 0 ? "done connected" : "refused connect";
  },
  // So many connections to the proxy that do nothing.
  async many(to) {
    const proxy = new URL(process.env["HTTP_PROXY"]!);
    let answered = "";
    const open = () =>
      new Promise<boolean>((resolve) => {
        const socket = net.connect(Number(proxy.port), proxy.hostname);
        kept.push(socket);
        socket.on("connect", () => setTimeout(() => resolve(true), 200));
        socket.on("data", (bytes) => ((answered = `${bytes}`), resolve(false)));
        socket.on("error", () => resolve(false));
        socket.on("close", () => resolve(false));
      });
    const opened = await Promise.all(Array.from({ length: Number(to) }, open));
    return `${opened.filter(Boolean).length} ${answered.slice(0, 12)}`;
  },
  async variable(to) {
    return process.env[to] ?? "";
  },
};
const kept: net.Socket[] = [];

export default {
  async fetch(request: Request, server: Bun.Server<undefined>): Promise<Response | undefined> {
    if (server.upgrade(request)) return undefined;
    const { searchParams } = new URL(request.url);
    const way = ways[searchParams.get("way")!]!;
    const silent = new Promise<string>((resolve) => setTimeout(resolve, 10_000, "silent"));
    return new Response(await Promise.race([way(searchParams.get("to")!).catch(said), silent]));
  },
  websocket: {
    message: (socket: Bun.ServerWebSocket<undefined>, text: string) => void socket.send(`app ${text}`),
  },
};
