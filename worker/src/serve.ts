// The worker's HTTP server: up from the start, an app put in later.

import { type App, ExportError } from "./app.ts";
import { ASSIGN, type Assignment, type Outcome, parseAssignment, REHEARSE } from "./protocol.ts";
import { type Replies, wrongWith } from "./reply.ts";

/** Relative to the directory in which the worker starts. */
const SOCKET = "w.sock";
const LARGEST_WEBSOCKET_MESSAGE = 16 * 1024 * 1024;

/** Limits belong to the server, which alone talks to us: here is none. */
const OPTIONS = {
  development: false,
  // Else Bun cuts a quiet event stream after seconds.
  idleTimeout: 0,
  maxRequestBodySize: Number.MAX_SAFE_INTEGER,
} as const;

type Options = Bun.Serve.Options<unknown, string>;

/** The server of a worker, without an app at first. */
export class Service {
  private readonly server: Bun.Server<unknown>;
  /** What takes all requests, once there is an app. */
  private handler: Guarded | undefined;

  /** Answers an assignment and its rehearsals with their outcome, and 204 before. */
  constructor(
    private readonly replies: Replies,
    duties: Duties,
  ) {
    const blank = blankHandler(duties);
    const fetch: Guarded = (request, server) => (this.handler ?? blank)(request, server);
    const error = (error: unknown): Response => replies.refused(error);
    const options = { ...OPTIONS, unix: SOCKET, fetch, error };
    this.server = Bun.serve(options as unknown as Options);
    replies.watchUpgrades(this.server);
  }

  /** Hands all requests from now on to the app. */
  serve(app: App): void {
    const handler = this.replies.guard(app.fetch ?? (() => new Response(null, { status: 404 })));
    if (app.routes !== undefined || app.websocket !== undefined) {
      const options = optionsOf(app, handler, this.replies);
      asBunWantsIt(() => this.server.reload(options as unknown as Options));
    }
    // Else there is nothing that Bun must be told, which takes a tenth of a millisecond.
    // Last, for Bun may have refused: what cannot be served gets no request.
    this.handler = handler;
  }
}

type Guarded = ReturnType<Replies["guard"]>;

/** What a blank does with an app; `there` resolves when its folder can be entered. Undefined
 * if it has one already. */
interface Duties {
  /** Loads it, once. */
  become(order: Assignment, there: () => unknown): Promise<Outcome> | undefined;
  /** Does all that and answers a request, and forgets it. */
  rehearse(
    order: Assignment,
    there: () => unknown,
    request: Request,
    server: Bun.Server<unknown>,
  ): Promise<Outcome> | undefined;
}

function blankHandler(duties: Duties): Guarded {
  // The app may replace them; we mean the real ones.
  const { Response, JSON } = globalThis;
  return async (request: Request, server: Bun.Server<unknown>): Promise<Response> => {
    const rehearsal = request.headers.get(REHEARSE);
    const text = rehearsal ?? request.headers.get(ASSIGN);
    if (text === null) return new Response(null, { status: 204 });
    // A long one is the body; the body of any other says that the app's folder is there.
    const isLong = text === "";
    const order = parseAssignment(isLong ? await request.text() : text);
    const there = (): unknown => (isLong ? undefined : request.text());
    const outcome =
      order === undefined
        ? undefined
        : await (rehearsal === null
            ? duties.become(order, there)
            : duties.rehearse(order, there, request, server));
    if (outcome === undefined) return new Response(null, { status: 409 });
    return new Response(JSON.stringify(outcome));
  };
}

function optionsOf(app: App, fetch: Guarded, replies: Replies): Record<string, unknown> {
  const error = (error: unknown): Response => replies.refused(error);
  const options: Record<string, unknown> = { ...OPTIONS, fetch, error };
  if (app.routes !== undefined) options["routes"] = guardRoutes(app.routes, replies);
  if (app.websocket !== undefined) options["websocket"] = websocketOf(app.websocket);
  return options;
}

/** Bun knows best what a route or a WebSocket handler may be. */
function asBunWantsIt(serve: () => void): void {
  try {
    serve();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ExportError(`\`routes\` or \`websocket\` is not as Bun wants it: ${reason}`);
  }
}

function guardRoutes(routes: Record<string, unknown>, replies: Replies): Record<string, unknown> {
  const guarded: Record<string, unknown> = {};
  for (const [path, value] of Object.entries(routes)) {
    guarded[path] = isPlain(value)
      ? Object.fromEntries(
          Object.entries(value).map(([method, inner]) => [method, guardRoute(path, inner, replies)]),
        )
      : guardRoute(path, value, replies);
  }
  return guarded;
}

function guardRoute(path: string, value: unknown, replies: Replies): unknown {
  if (typeof value === "function") {
    return replies.guard((request, server) => value(request, server));
  }
  if (value instanceof Response) {
    const wrong = wrongWith(value);
    if (wrong !== undefined) throw new ExportError(`route ${path}: ${wrong}`);
  }
  // Files and fixed responses are Bun's to serve.
  return value;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype
  );
}

const WEBSOCKET_HANDLERS = ["open", "message", "close", "drain", "ping", "pong"] as const;
const WEBSOCKET_OPTIONS = [
  "backpressureLimit",
  "closeOnBackpressureLimit",
  "idleTimeout",
  "maxPayloadLength",
  "perMessageDeflate",
  "publishToSelf",
  "sendPings",
] as const;

/** The app's handlers, bound, so that they may be methods of an instance. */
function websocketOf(given: object): Record<string, unknown> {
  const source = given as Record<string, unknown>;
  const websocket: Record<string, unknown> = {
    idleTimeout: 0,
    maxPayloadLength: LARGEST_WEBSOCKET_MESSAGE,
  };
  for (const name of WEBSOCKET_OPTIONS) {
    if (source[name] !== undefined) websocket[name] = source[name];
  }
  for (const name of WEBSOCKET_HANDLERS) {
    const handler = source[name];
    // What is no function is for Bun to refuse.
    if (handler !== undefined) {
      websocket[name] = typeof handler === "function" ? handler.bind(given) : handler;
    }
  }
  return websocket;
}
