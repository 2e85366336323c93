// Between an app's handler and Bun: whatever the app answers, Bun gets a
// response that it can send, and the server learns what was wrong.

import type { Handler } from "./app.ts";
import { describe } from "./describe.ts";
import type { ErrorSource, Notice } from "./protocol.ts";

/** Tells the server that the app failed this one request. The server replaces
 * such a response and never passes the header on. */
const FAILURE = "x-buntime-failure";

/** What Bun itself takes for a response, whatever the app makes of the global. */
const NativeResponse = Response;

export class Replies {
  /** Requests that became WebSockets: they have no response. */
  private readonly upgraded = new WeakSet<Request>();
  /** Whether there was ever one: most apps have none, and looking costs. */
  private anyUpgraded = false;

  constructor(private readonly send: (notice: Notice) => void) {}

  /** Lets the server's `upgrade` tell which requests it took. */
  watchUpgrades(server: Bun.Server<unknown>): void {
    const upgrade = server.upgrade.bind(server) as (request: Request, options?: object) => boolean;
    Object.defineProperty(server, "upgrade", {
      configurable: true,
      writable: true,
      value: (request: Request, options?: object): boolean => {
        const done = options === undefined ? upgrade(request) : upgrade(request, options);
        if (done) {
          this.upgraded.add(request);
          this.anyUpgraded = true;
        }
        return done;
      },
    });
  }

  /** A handler that never throws and never answers what cannot be sent. */
  guard(handler: Handler) {
    return (request: Request, server: Bun.Server<unknown>): Response | Promise<Response> => {
      let reply: unknown;
      try {
        reply = handler(request, server);
      } catch (error) {
        return this.threw(request, error);
      }
      return isPromise(reply) ? this.settled(request, reply) : this.checked(request, reply);
    };
  }

  // An async function of its own: two functions made for each request cost more.
  private async settled(request: Request, reply: PromiseLike<unknown>): Promise<Response> {
    let value: unknown;
    try {
      value = await reply;
    } catch (error) {
      return this.threw(request, error);
    }
    return this.checked(request, value);
  }

  /** For what Bun finds wrong with a response after we let it pass. */
  refused(error: unknown): Response {
    return this.failure("bad-response", undefined, error);
  }

  private wasUpgraded(request: Request): boolean {
    return this.anyUpgraded && this.upgraded.delete(request);
  }

  private checked(request: Request, reply: unknown): Response {
    // Bun's types say response; after an upgrade it wants nothing.
    if (this.wasUpgraded(request)) return undefined as unknown as Response;
    const wrong = wrongWith(reply);
    if (wrong === undefined) return reply as Response;
    return this.failure("bad-response", request, new TypeError(wrong));
  }

  private threw(request: Request, error: unknown): Response {
    // Upgraded and then thrown: the connection is a WebSocket already.
    if (this.wasUpgraded(request)) {
      this.report("handler", request, error);
      return undefined as unknown as Response;
    }
    return this.failure("handler", request, error);
  }

  private failure(
    source: "handler" | "bad-response",
    request: Request | undefined,
    error: unknown,
  ): Response {
    this.report(source, request, error);
    const kind = source === "handler" ? "threw" : "bad-response";
    return new NativeResponse(null, { status: 502, headers: { [FAILURE]: kind } });
  }

  private report(source: ErrorSource, request: Request | undefined, error: unknown): void {
    const requestId = request?.headers.get("x-request-id") ?? undefined;
    this.send({
      t: "error",
      source,
      ...(requestId === undefined ? {} : { requestId: requestId.slice(0, 128) }),
      ...describe(error),
    });
  }
}

/** What keeps `reply` from being sent, if anything does. */
export function wrongWith(reply: unknown): string | undefined {
  if (!(reply instanceof NativeResponse)) {
    return `the handler answered with ${reply === undefined ? "nothing" : `${typeof reply}`}, not a Response`;
  }
  try {
    const { status } = reply;
    // 101 is for `server.upgrade` to send, 0 is `Response.error()`.
    if (status < 200 || status > 599) return `the response has status ${status}`;
    if (reply.bodyUsed) return "the response's body was used already";
    return undefined;
  } catch {
    // Something that only inherits from Response.
    return "the handler answered with an imitation of a Response";
  }
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return (
    value instanceof Promise ||
    (typeof value === "object" &&
      value !== null &&
      !(value instanceof NativeResponse) &&
      typeof (value as { then?: unknown }).then === "function")
  );
}
