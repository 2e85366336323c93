// qr: turns a text into a QR code. Ephemeral: the worker answers this one request and ends.
//
//   curl 'localhost:8000/qr/code.svg?text=hello' > hello.svg
//   curl 'localhost:8000/qr/code.txt?text=hello'          (for a terminal)
import page from "./page.html" with { type: "text" };
import { encode, MAX_BYTES } from "./encode.ts";
import { toSvg, toText } from "./render.ts";

export default {
  fetch(req: Request): Response {
    const url = new URL(req.url);
    if (req.method !== "GET" && req.method !== "HEAD") {
      return new Response("only GET is answered\n", { status: 405, headers: { allow: "GET, HEAD" } });
    }
    switch (url.pathname) {
      case "/":
        return new Response(page as unknown as string, { headers: { "content-type": "text/html; charset=utf-8" } });
      case "/code.svg":
        return draw(url, "image/svg+xml", toSvg);
      case "/code.txt":
        return draw(url, "text/plain; charset=utf-8", toText);
      default:
        return new Response("not found\n", { status: 404 });
    }
  },
};

function draw(url: URL, type: string, render: (modules: boolean[][]) => string): Response {
  const bytes = new TextEncoder().encode(url.searchParams.get("text") ?? "");
  if (bytes.length === 0 || bytes.length > MAX_BYTES) {
    return new Response(`text must be 1 to ${MAX_BYTES} bytes\n`, { status: 400 });
  }
  // The same text always gives the same picture.
  return new Response(render(encode(bytes)), {
    headers: { "content-type": type, "cache-control": "public, max-age=86400" },
  });
}
