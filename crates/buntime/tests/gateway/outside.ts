// Everything that is outside: it answers with what it was asked for, until its standard
// input ends.
const world = process.env["WORLD"]!;

const server = {
  hostname: "0.0.0.0",
  fetch(request: Request, server: Bun.Server<undefined>): Response | undefined {
    if (server.upgrade(request)) return undefined;
    const { host, pathname } = new URL(request.url);
    return new Response(`outside ${host}${pathname}`);
  },
  websocket: {
    message: (socket: Bun.ServerWebSocket<undefined>, text: string) => void socket.send(`outside ${text}`),
  },
};
for (const port of [80, 8080]) Bun.serve({ ...server, port });
Bun.serve({
  ...server,
  port: 443,
  tls: { cert: Bun.file(`${world}/cert.pem`), key: Bun.file(`${world}/key.pem`) },
});
Bun.listen({
  hostname: "0.0.0.0",
  port: 5432,
  socket: { data: (socket, bytes) => void socket.write(`echo ${bytes}`) },
});
for await (const _ of Bun.stdin.stream());
process.exit(0);
