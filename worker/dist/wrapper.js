"use strict";
// src/app.ts
class ExportError extends Error {
  name = "Bad export";
}
var ACCEPTED = "accepted are an object with `fetch(request, server)` or `routes` (or both), or a function, which is then `fetch`";
function appOf(module2) {
  const exported = module2["default"];
  if (exported === undefined) {
    const names = Object.keys(module2).filter((name) => name !== "default");
    const found = names.length === 0 ? "nothing" : `only ${names.join(", ")}`;
    throw new ExportError(`the module has no default export (it exports ${found}); ${ACCEPTED}`);
  }
  if (isObject(exported) || typeof exported === "function") {
    const app = fromObject(exported);
    if (app.fetch !== undefined || app.routes !== undefined)
      return app;
    if (typeof exported === "function" && !isClass(exported)) {
      return { ...app, fetch: (request, server) => exported(request, server) };
    }
  }
  throw new ExportError(`the default export is ${nameOf(exported)}; ${ACCEPTED}`);
}
function fromObject(object) {
  const bound = (name) => {
    const method = object[name];
    return typeof method === "function" ? method.bind(object) : undefined;
  };
  const hooks = {};
  for (const name of ["onIdle", "onTerminate"]) {
    const hook = bound(name);
    if (hook !== undefined)
      hooks[name] = () => hook();
  }
  return {
    fetch: bound("fetch"),
    routes: routesOf(object["routes"]),
    websocket: isObject(object["websocket"]) ? object["websocket"] : undefined,
    hooks
  };
}
function routesOf(value) {
  if (!isObject(value) || Array.isArray(value))
    return;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null ? value : undefined;
}
function isObject(value) {
  return typeof value === "object" && value !== null;
}
function isClass(value) {
  return Function.prototype.toString.call(value).startsWith("class");
}
function nameOf(value) {
  if (value === null)
    return "null";
  if (Array.isArray(value))
    return "an array";
  if (value instanceof Promise)
    return "a promise (write `export default await \u2026`)";
  if (typeof value === "function")
    return `the class ${value.name} (export an instance of it)`;
  if (typeof value !== "object")
    return `a ${typeof value}`;
  const names = Object.keys(value).slice(0, 10);
  return names.length === 0 ? "an object without keys" : `an object with ${names.join(", ")}`;
}

// src/protocol.ts
var ASSIGN = "x-buntime-assign";
var REHEARSE = "x-buntime-rehearse";
var GIVEN = "BUNTIME_APP";
function parseAssignment(text) {
  const { dir, entry, env, wait } = parseObject(text);
  if (typeof dir !== "string" || typeof entry !== "string" || !isTexts(env))
    return;
  return { dir, entry, env, wait: wait === true };
}
function parseOrder(line) {
  const order = parseObject(line);
  switch (order["t"]) {
    case "idle":
      return { t: "idle" };
    case "terminate": {
      const { graceMs } = order;
      return { t: "terminate", graceMs: typeof graceMs === "number" ? graceMs : 0 };
    }
    default:
      return;
  }
}
function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}
function isTexts(value) {
  return typeof value === "object" && value !== null && Object.values(value).every((text) => typeof text === "string");
}

// src/control.ts
var DESCRIPTOR = 3;
var LONGEST_LINE = 1024 * 1024;
var MOST_WAITING = 256 * 1024;

class Control {
  file = Bun.file(DESCRIPTOR);
  outgoing = new Outgoing(this.file.writer());
  async listen(onOrder) {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    let text = "";
    for await (const bytes of this.file.stream()) {
      text += decoder.decode(bytes, { stream: true });
      const lines = text.split(`
`);
      text = lines.pop() ?? "";
      for (const line of lines) {
        const order = parseOrder(line);
        if (order !== undefined)
          onOrder(order);
      }
      if (text.length > LONGEST_LINE)
        return;
    }
  }
  send(notice) {
    if (notice.t === "error" && this.outgoing.length > MOST_WAITING)
      return;
    this.outgoing.push(`${JSON.stringify(notice)}
`);
  }
  flushed() {
    return Promise.race([this.outgoing.empty(), Bun.sleep(1000)]);
  }
}

class Outgoing {
  sink;
  waiting = "";
  under = 0;
  sent = Promise.resolve();
  constructor(sink) {
    this.sink = sink;
  }
  get length() {
    return this.waiting.length + this.under;
  }
  push(text) {
    this.waiting += text;
    if (this.under === 0)
      this.drain();
  }
  async empty() {
    while (this.length > 0)
      await this.sent;
  }
  drain() {
    const { sink, waiting } = this;
    this.waiting = "";
    const pending = [sink.write(waiting), sink.flush()].filter((sent) => typeof sent === "object");
    if (pending.length === 0)
      return;
    this.under = waiting.length;
    const more = () => {
      this.under = 0;
      if (this.waiting !== "")
        this.drain();
    };
    this.sent = Promise.all(pending).then(more, more);
  }
}

// src/describe.ts
var LONGEST_MESSAGE = 8 * 1024;
var LONGEST_STACK = 32 * 1024;
function describe(thrown) {
  try {
    if (thrown instanceof Error) {
      const name = String(thrown.name);
      const message = String(thrown.message);
      return {
        message: cut(message === "" ? name : `${name}: ${message}`, LONGEST_MESSAGE),
        stack: cut(trace(thrown), LONGEST_STACK)
      };
    }
    return { message: cut(`thrown: ${Bun.inspect(thrown, { depth: 2 })}`, LONGEST_MESSAGE), stack: "" };
  } catch {
    return { message: "something that cannot be printed was thrown", stack: "" };
  }
}
function trace(error, depth = 0) {
  let text = place(error) ?? (typeof error.stack === "string" ? error.stack : "");
  if (depth === 4)
    return text;
  const parts = error instanceof AggregateError ? error.errors.slice(0, 10) : [];
  for (const part of parts)
    text += `
- ${inner(part, depth)}`;
  if (error.cause !== undefined)
    text += `
caused by ${inner(error.cause, depth)}`;
  return text;
}
function place(error) {
  if (!(error instanceof BuildMessage || error instanceof ResolveMessage))
    return;
  const { position } = error;
  if (position === null)
    return;
  const { file, line, column, lineText } = position;
  return `${error.message}
    at ${file}:${line}:${column}
    ${cut(lineText, 200)}`;
}
function inner(value, depth) {
  return value instanceof Error ? trace(value, depth + 1) || String(value) : Bun.inspect(value, { depth: 2 });
}
function cut(text, longest) {
  return text.length > longest ? `${text.slice(0, longest)}\u2026` : text;
}

// src/load.ts
async function moduleOf(entry) {
  let exported;
  try {
    exported = require(entry);
  } catch (error) {
    if (isAsync(error, entry))
      return import(entry);
    throw error;
  }
  if (Object.prototype.toString.call(exported) === "[object Module]") {
    return exported;
  }
  const value = defaultOf(exported);
  return value === undefined ? import(entry) : { default: value };
}
function forget(entry) {
  delete require.cache[entry];
}
function isAsync(error, entry) {
  if (!(error instanceof TypeError))
    return false;
  const path = Bun.resolveSync(entry, "/");
  return error.message.startsWith(`require() async module "${path}" is unsupported`);
}
function defaultOf(exported) {
  if (typeof exported !== "object" && typeof exported !== "function" || exported === null) {
    return exported;
  }
  const object = exported;
  return object["__esModule"] && "default" in object ? object["default"] : exported;
}

// src/reply.ts
var FAILURE = "x-buntime-failure";
var NativeResponse = Response;

class Replies {
  send;
  upgraded = new WeakSet;
  anyUpgraded = false;
  constructor(send) {
    this.send = send;
  }
  watchUpgrades(server) {
    const upgrade = server.upgrade.bind(server);
    Object.defineProperty(server, "upgrade", {
      configurable: true,
      writable: true,
      value: (request, options) => {
        const done = options === undefined ? upgrade(request) : upgrade(request, options);
        if (done) {
          this.upgraded.add(request);
          this.anyUpgraded = true;
        }
        return done;
      }
    });
  }
  guard(handler) {
    return (request, server) => {
      let reply;
      try {
        reply = handler(request, server);
      } catch (error) {
        return this.threw(request, error);
      }
      return isPromise(reply) ? this.settled(request, reply) : this.checked(request, reply);
    };
  }
  async settled(request, reply) {
    let value;
    try {
      value = await reply;
    } catch (error) {
      return this.threw(request, error);
    }
    return this.checked(request, value);
  }
  refused(error) {
    return this.failure("bad-response", undefined, error);
  }
  wasUpgraded(request) {
    return this.anyUpgraded && this.upgraded.delete(request);
  }
  checked(request, reply) {
    if (this.wasUpgraded(request))
      return;
    const wrong = wrongWith(reply);
    if (wrong === undefined)
      return reply;
    return this.failure("bad-response", request, new TypeError(wrong));
  }
  threw(request, error) {
    if (this.wasUpgraded(request)) {
      this.report("handler", request, error);
      return;
    }
    return this.failure("handler", request, error);
  }
  failure(source, request, error) {
    this.report(source, request, error);
    const kind = source === "handler" ? "threw" : "bad-response";
    return new NativeResponse(null, { status: 502, headers: { [FAILURE]: kind } });
  }
  report(source, request, error) {
    const requestId = request?.headers.get("x-request-id") ?? undefined;
    this.send({
      t: "error",
      source,
      ...requestId === undefined ? {} : { requestId: requestId.slice(0, 128) },
      ...describe(error)
    });
  }
}
function wrongWith(reply) {
  if (!(reply instanceof NativeResponse)) {
    return `the handler answered with ${reply === undefined ? "nothing" : `${typeof reply}`}, not a Response`;
  }
  try {
    const { status } = reply;
    if (status < 200 || status > 599)
      return `the response has status ${status}`;
    if (reply.bodyUsed)
      return "the response's body was used already";
    return;
  } catch {
    return "the handler answered with an imitation of a Response";
  }
}
function isPromise(value) {
  return value instanceof Promise || typeof value === "object" && value !== null && !(value instanceof NativeResponse) && typeof value.then === "function";
}

// src/serve.ts
var SOCKET = "w.sock";
var LARGEST_WEBSOCKET_MESSAGE = 16 * 1024 * 1024;
var OPTIONS = {
  development: false,
  idleTimeout: 0,
  maxRequestBodySize: Number.MAX_SAFE_INTEGER
};

class Service {
  replies;
  server;
  handler;
  constructor(replies, duties) {
    this.replies = replies;
    const blank = blankHandler(duties);
    const fetch = (request, server) => (this.handler ?? blank)(request, server);
    const error = (error) => replies.refused(error);
    const options = { ...OPTIONS, unix: SOCKET, fetch, error };
    this.server = Bun.serve(options);
    replies.watchUpgrades(this.server);
  }
  serve(app) {
    const handler = this.replies.guard(app.fetch ?? (() => new Response(null, { status: 404 })));
    if (app.routes !== undefined || app.websocket !== undefined) {
      const options = optionsOf(app, handler, this.replies);
      asBunWantsIt(() => this.server.reload(options));
    }
    this.handler = handler;
  }
}
function blankHandler(duties) {
  const { Response: Response2, JSON: JSON2 } = globalThis;
  return async (request, server) => {
    const rehearsal = request.headers.get(REHEARSE);
    const text = rehearsal ?? request.headers.get(ASSIGN);
    if (text === null)
      return new Response2(null, { status: 204 });
    const isLong = text === "";
    const order = parseAssignment(isLong ? await request.text() : text);
    const there = () => isLong ? undefined : request.text();
    const outcome = order === undefined ? undefined : await (rehearsal === null ? duties.become(order, there) : duties.rehearse(order, there, request, server));
    if (outcome === undefined)
      return new Response2(null, { status: 409 });
    return new Response2(JSON2.stringify(outcome));
  };
}
function optionsOf(app, fetch, replies) {
  const error = (error) => replies.refused(error);
  const options = { ...OPTIONS, fetch, error };
  if (app.routes !== undefined)
    options["routes"] = guardRoutes(app.routes, replies);
  if (app.websocket !== undefined)
    options["websocket"] = websocketOf(app.websocket);
  return options;
}
function asBunWantsIt(serve) {
  try {
    serve();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ExportError(`\`routes\` or \`websocket\` is not as Bun wants it: ${reason}`);
  }
}
function guardRoutes(routes, replies) {
  const guarded = {};
  for (const [path, value] of Object.entries(routes)) {
    guarded[path] = isPlain(value) ? Object.fromEntries(Object.entries(value).map(([method, inner]) => [method, guardRoute(path, inner, replies)])) : guardRoute(path, value, replies);
  }
  return guarded;
}
function guardRoute(path, value, replies) {
  if (typeof value === "function") {
    return replies.guard((request, server) => value(request, server));
  }
  if (value instanceof Response) {
    const wrong = wrongWith(value);
    if (wrong !== undefined)
      throw new ExportError(`route ${path}: ${wrong}`);
  }
  return value;
}
function isPlain(value) {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
var WEBSOCKET_HANDLERS = ["open", "message", "close", "drain", "ping", "pong"];
var WEBSOCKET_OPTIONS = [
  "backpressureLimit",
  "closeOnBackpressureLimit",
  "idleTimeout",
  "maxPayloadLength",
  "perMessageDeflate",
  "publishToSelf",
  "sendPings"
];
function websocketOf(given) {
  const source = given;
  const websocket = {
    idleTimeout: 0,
    maxPayloadLength: LARGEST_WEBSOCKET_MESSAGE
  };
  for (const name of WEBSOCKET_OPTIONS) {
    if (source[name] !== undefined)
      websocket[name] = source[name];
  }
  for (const name of WEBSOCKET_HANDLERS) {
    const handler = source[name];
    if (handler !== undefined) {
      websocket[name] = typeof handler === "function" ? handler.bind(given) : handler;
    }
  }
  return websocket;
}

// src/websocket.ts
function useProxy() {
  const Direct = globalThis.WebSocket;
  globalThis.WebSocket = class WebSocket extends Direct {
    constructor(url, options) {
      super(url, byProxy(url, options));
    }
  };
}
function byProxy(url, options) {
  const { HTTPS_PROXY: proxy, NO_PROXY = "" } = process.env;
  const isDirect = URL.canParse(`${url}`) && NO_PROXY.split(",").includes(new URL(url).hostname);
  if (proxy === undefined || isDirect)
    return options;
  if (options === undefined)
    return { proxy };
  if (typeof options === "string" || Array.isArray(options))
    return { proxy, protocols: options };
  return { proxy, ...options };
}

// src/wrapper.ts
var LISTEN_LATER_MS = 1000;
var HOOKS = ["onIdle", "onTerminate"];
var exit = process.exit.bind(process);
var state = { is: "blank" };
var listening = false;
var control = new Control;
var send = (notice) => control.send(notice);
var replies = new Replies(send);
var service;
process.once("beforeExit", start);
function start() {
  process.on("uncaughtException", (error) => logged("uncaught", error));
  process.on("unhandledRejection", (error) => logged("unhandled", error));
  const given = process.env[GIVEN];
  service = new Service(replies, { become, rehearse });
  useProxy();
  if (given === undefined)
    send({ t: "up" });
  else
    serveGiven(given);
}
function obey(order) {
  switch (order.t) {
    case "idle":
      if (state.is === "serving")
        hook(state.app, "onIdle");
      return;
    case "terminate":
      if (state.is !== "stopping")
        terminate(order.graceMs);
      return;
  }
}
function rehearse(order, there, request, server) {
  if (state.is !== "blank")
    return;
  const folder = Bun.main.slice(0, Bun.main.lastIndexOf("/") + 1);
  const entry = folder + order.entry;
  const env = { ...process.env };
  return outcomeOf(async () => {
    clearTimeout(setTimeout(listen, LISTEN_LATER_MS));
    const app = await appFor({ ...order, entry, env }, there);
    forget(entry);
    if (app.fetch !== undefined)
      await replies.guard(app.fetch)(request, server);
    return app;
  });
}
function become(order, there) {
  if (state.is !== "blank")
    return;
  return load(order, there);
}
async function serveGiven(text) {
  const order = parseAssignment(text);
  const outcome = order === undefined ? undefined : become(order, () => {
    return;
  });
  if (outcome === undefined)
    exit(1);
  else
    send(await outcome);
}
function load(order, there) {
  state = { is: "loading" };
  setTimeout(listen, LISTEN_LATER_MS);
  return outcomeOf(async () => {
    const app = await appFor(order, there);
    service.serve(app);
    state = { is: "serving", app };
    if (hooksOf(app).length > 0)
      listen();
    return app;
  });
}
async function appFor(order, there) {
  replaceEnvironment(order.env);
  process.argv[1] = order.entry;
  if (order.wait)
    await there();
  process.chdir(order.dir);
  return appOf(await moduleOf(order.entry));
}
async function outcomeOf(load) {
  try {
    const app = await load();
    return { t: "ready", hooks: hooksOf(app), websocket: app.websocket !== undefined };
  } catch (error) {
    const kind = error instanceof ExportError ? "export" : "import";
    return { t: "failed", kind, ...describe(error) };
  }
}
function hooksOf(app) {
  return HOOKS.filter((name) => app.hooks[name]);
}
function listen() {
  if (listening)
    return;
  listening = true;
  control.listen(obey).then(() => exit(0), () => exit(1));
}
async function terminate(graceMs) {
  const app = state.is === "serving" ? state.app : undefined;
  state = { is: "stopping" };
  if (app !== undefined)
    await Promise.race([hook(app, "onTerminate"), Bun.sleep(graceMs)]);
  send({ t: "terminated" });
  await control.flushed();
  exit(0);
}
async function hook(app, name) {
  try {
    await app.hooks[name]?.();
  } catch (error) {
    logged(name, error);
  }
}
function logged(source, error) {
  send({ t: "error", source, ...describe(error) });
}
function replaceEnvironment(env) {
  for (const key of Object.keys(process.env))
    delete process.env[key];
  Object.assign(process.env, env);
}
