// links: shortens addresses. `routes` answers what it knows, everything else falls through
// to `fetch`, which looks the short code up.
//
//   curl localhost:8000/links/api/links -d '{"url":"https://example.com/a/long/address"}'
//   curl localhost:8000/links/api/links/docs
//   curl -i localhost:8000/links/docs          (302 to the address)
import type { BunRequest } from "bun";
import { LinkError, LinkStore } from "./store.ts";

const store = new LinkStore(Number(process.env.MAX_LINKS ?? 500));
store.add("https://bun.sh/docs", "docs");

type WithCode = BunRequest<"/api/links/:code">;

export default {
  // A file, a fixed Response, and handlers by method with params.
  routes: {
    "/": Bun.file(`${import.meta.dir}/page.html`),
    "/robots.txt": new Response("User-agent: *\nDisallow: /\n", { headers: { "content-type": "text/plain" } }),
    "/api/links": {
      GET: () => Response.json(store.list()),
      POST: answering(create),
    },
    "/api/links/:code": {
      GET: answering((req: WithCode) => Response.json(store.get(req.params.code))),
      DELETE: answering((req: WithCode) => {
        store.remove(req.params.code);
        return new Response(null, { status: 204 });
      }),
    },
  },

  fetch(req: Request): Response {
    const link = store.visit(new URL(req.url).pathname.slice(1));
    return link
      ? new Response(null, { status: 302, headers: { location: link.url, "cache-control": "no-store" } })
      : Response.json({ error: "no such link" }, { status: 404 });
  },
};

async function create(req: Request): Promise<Response> {
  const body = (await req.json().catch(() => null)) as { url?: unknown; code?: unknown } | null;
  const link = store.add(body?.url, body?.code);
  // X-Base is where the server mounted this app: `/links`, or `/links@1` if asked for by version.
  const location = `${req.headers.get("x-base") ?? ""}/${link.code}`;
  return Response.json(link, { status: 201, headers: { location } });
}

/** Turns the errors that the store expects into answers. Any other is the server's to report. */
function answering<R extends Request>(handler: (req: R) => Response | Promise<Response>) {
  return async (req: R): Promise<Response> => {
    try {
      return await handler(req);
    } catch (error) {
      if (error instanceof LinkError) {
        return Response.json({ error: error.message }, { status: error.status });
      }
      throw error;
    }
  };
}
