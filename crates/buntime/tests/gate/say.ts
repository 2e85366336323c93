// Says what reached it, and where the server's own listener for workers is.
export default {
  fetch(request: Request, server: any): Response {
    const url = new URL(request.url);
    if (url.pathname === "/ws" && server.upgrade(request)) return undefined as any;
    if (url.pathname === "/login") {
      const headers = new Headers({ "content-type": "text/plain" });
      for (const name of ["buntime_session", "__Host-buntime_session", "own"]) {
        headers.append("set-cookie", `${name}=x; Path=/`);
      }
      return new Response("set", { headers });
    }
    return Response.json({
      method: request.method,
      headers: [...request.headers],
      api: process.env.RUNTIME_API_URL,
    });
  },
  websocket: { message() {} },
};
