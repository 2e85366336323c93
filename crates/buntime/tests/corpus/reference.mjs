// Two servers that note which requests they see: one is asked directly, the other through nginx.
import { createServer } from "node:http";

function listen(name) {
  const seen = [];
  const server = createServer(
    { headersTimeout: 1000, requestTimeout: 1000, keepAliveTimeout: 1000, connectionsCheckingInterval: 100 },
    (request, response) => {
      if (request.url === "/all-seen") {
        console.log(JSON.stringify({ name, seen }));
        response.end();
        return;
      }
      let bytes = 0;
      request.on("data", (data) => (bytes += data.length));
      request.on("end", () => {
        seen.push(`${request.method} ${request.url.replace(/^https?:\/\/[^/]*/i, "").replace(/^\/echo/, "")} ${bytes}`);
        response.end("ok");
      });
    },
  );
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
}

console.log(JSON.stringify({ node: await listen("node"), nginx: await listen("nginx") }));
