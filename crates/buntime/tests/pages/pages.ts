// Answers as it is told by the query, and with two pages that take their time.
let go = Promise.withResolvers<void>();

const html = (body: BodyInit) => new Response(body, { headers: { "content-type": "text/html" } });

export default {
  fetch(req: Request): Response {
    const url = new URL(req.url);
    switch (url.pathname) {
      case "/":
        return html("<!doctype html><html><head><title>x</title></head><body>y</body></html>");
      case "/go":
        go.resolve();
        return new Response("gone");
      case "/answer": {
        const headers = new Headers();
        for (const header of url.searchParams.getAll("h")) {
          const colon = header.indexOf(":");
          headers.append(header.slice(0, colon), header.slice(colon + 1));
        }
        for (const name of ["if-none-match", "if-modified-since", "range", "accept-encoding", "x-forwarded-prefix"]) {
          headers.append("x-seen", `${name}=${req.headers.get(name) ?? ""}`);
        }
        const status = Number(url.searchParams.get("status") ?? 200);
        const body = Buffer.from(url.searchParams.get("body") ?? "", "base64url");
        return new Response(status === 304 || status === 204 ? null : body, { status, headers });
      }
      // Its head is there at once, its body once somebody has asked for /go.
      case "/slow":
        go = Promise.withResolvers<void>();
        return html(
          new ReadableStream({
            async start(controller) {
              controller.enqueue("<!doctype html><head><title>x</title></head><p>first");
              await go.promise;
              controller.enqueue("last");
              controller.close();
            },
          }),
        );
      // A character at a time, cut in the middle of UTF-8.
      case "/bytes": {
        const bytes = Buffer.from("<!doctype html><HEAD lang=x><title>é😀</title></HEAD><p>é😀</p>");
        let at = 0;
        return html(
          new ReadableStream({
            async pull(controller) {
              await Bun.sleep(0);
              controller.enqueue(bytes.subarray(at, ++at));
              if (at === bytes.length) {
                controller.close();
              }
            },
          }),
        );
      }
      case "/large": {
        let left = Number(url.searchParams.get("bytes"));
        const block = Buffer.from("<p>x</p>".repeat(8192));
        return html(
          new ReadableStream({
            start(controller) {
              controller.enqueue("<!doctype html><head></head>");
            },
            async pull(controller) {
              await Bun.sleep(0);
              controller.enqueue(block.subarray(0, Math.min(left, block.length)));
              left -= block.length;
              if (left <= 0) {
                controller.close();
              }
            },
          }),
        );
      }
      case "/broken":
        return html(
          new ReadableStream({
            async start(controller) {
              controller.enqueue("<head>");
              await Bun.sleep(10);
              controller.error(new Error("broken"));
            },
          }),
        );
      default:
        return new Response("not found", { status: 404 });
    }
  },
};
