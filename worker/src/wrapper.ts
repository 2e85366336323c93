// What runs inside a worker's Bun: it starts blank and is given one app, or starts
// with one, and serves it until it is told to stop. Nothing here imports a `node:` module or
// touches process.stdout: each costs milliseconds of every start.

import { type App, appOf, ExportError } from "./app.ts";
import { Control } from "./control.ts";
import { describe } from "./describe.ts";
import { forget, moduleOf } from "./load.ts";
import {
  type Assignment,
  type ErrorSource,
  GIVEN,
  type Hook,
  type Notice,
  type Order,
  type Outcome,
  parseAssignment,
} from "./protocol.ts";
import { Replies } from "./reply.ts";
import { Service } from "./serve.ts";
import { useProxy } from "./websocket.ts";

/** All orders are for hooks, and to listen costs a start a millisecond: a worker
 * without one begins when most ephemeral ones are gone. */
const LISTEN_LATER_MS = 1000;
const HOOKS: readonly Hook[] = ["onIdle", "onTerminate"];

// The app may replace this; we mean the real one.
const exit = process.exit.bind(process);

type State =
  | { is: "blank" }
  | { is: "loading" }
  | { is: "serving"; app: App }
  | { is: "stopping" };

let state: State = { is: "blank" };
let listening = false;

const control = new Control();
const send = (notice: Notice): void => control.send(notice);
const replies = new Replies(send);
// From the start on, for afterwards nobody may listen any more.
let service: Service;

// Bun collects garbage when its main script has ended and left something to wait for. There
// is none yet: a worker begins once Bun has found that out, which saves half a millisecond.
process.once("beforeExit", start);

function start(): void {
  // Late errors are the app's bug, and one request's at most. Bun would end the
  // process, and with it all requests under way.
  process.on("uncaughtException", (error) => logged("uncaught", error));
  process.on("unhandledRejection", (error) => logged("unhandled", error));
  const given = process.env[GIVEN];
  service = new Service(replies, { become, rehearse });
  useProxy();
  if (given === undefined) send({ t: "up" });
  else void serveGiven(given);
}

function obey(order: Order): void {
  switch (order.t) {
    case "idle":
      if (state.is === "serving") void hook(state.app, "onIdle");
      return;
    case "terminate":
      if (state.is !== "stopping") void terminate(order.graceMs);
      return;
  }
}

/** Does what `become` will do, for what Bun does for the first time takes it longer. The server
 * has it done where nobody waits yet. */
function rehearse(
  order: Assignment,
  there: () => unknown,
  request: Request,
  server: Bun.Server<unknown>,
): Promise<Outcome> | undefined {
  if (state.is !== "blank") return undefined;
  const folder = Bun.main.slice(0, Bun.main.lastIndexOf("/") + 1);
  const entry = folder + order.entry;
  // Set to what it is, only for the sake of doing it.
  const env = { ...(process.env as Record<string, string>) };
  return outcomeOf(async () => {
    clearTimeout(setTimeout(listen, LISTEN_LATER_MS));
    const app = await appFor({ ...order, entry, env }, there);
    forget(entry);
    if (app.fetch !== undefined) await replies.guard(app.fetch)(request, server);
    return app;
  });
}

/** Loads an app, once. Undefined if there is one already. */
function become(order: Assignment, there: () => unknown): Promise<Outcome> | undefined {
  if (state.is !== "blank") return undefined;
  return load(order, there);
}

/** Serves the app that the worker was started for; there is nobody to ask it for another. */
async function serveGiven(text: string): Promise<void> {
  const order = parseAssignment(text);
  const outcome = order === undefined ? undefined : become(order, () => undefined);
  if (outcome === undefined) exit(1);
  else send(await outcome);
}

function load(order: Assignment, there: () => unknown): Promise<Outcome> {
  state = { is: "loading" };
  // Also keeps the process when the app waits for what never comes.
  setTimeout(listen, LISTEN_LATER_MS);
  return outcomeOf(async () => {
    const app = await appFor(order, there);
    service.serve(app);
    state = { is: "serving", app };
    if (hooksOf(app).length > 0) listen();
    return app;
  });
}

async function appFor(order: Assignment, there: () => unknown): Promise<App> {
  replaceEnvironment(order.env);
  process.argv[1] = order.entry;
  if (order.wait) await there();
  process.chdir(order.dir);
  return appOf(await moduleOf(order.entry));
}

async function outcomeOf(load: () => Promise<App>): Promise<Outcome> {
  try {
    const app = await load();
    return { t: "ready", hooks: hooksOf(app), websocket: app.websocket !== undefined };
  } catch (error) {
    const kind = error instanceof ExportError ? "export" : "import";
    return { t: "failed", kind, ...describe(error) };
  }
}

function hooksOf(app: App): Hook[] {
  return HOOKS.filter((name) => app.hooks[name]);
}

/** Once the channel closes, the server is gone and a worker has no purpose. */
function listen(): void {
  if (listening) return;
  listening = true;
  control.listen(obey).then(
    () => exit(0),
    () => exit(1),
  );
}

async function terminate(graceMs: number): Promise<void> {
  const app = state.is === "serving" ? state.app : undefined;
  state = { is: "stopping" };
  if (app !== undefined) await Promise.race([hook(app, "onTerminate"), Bun.sleep(graceMs)]);
  send({ t: "terminated" });
  await control.flushed();
  exit(0);
}

async function hook(app: App, name: "onIdle" | "onTerminate"): Promise<void> {
  try {
    await app.hooks[name]?.();
  } catch (error) {
    logged(name, error);
  }
}

function logged(source: ErrorSource, error: unknown): void {
  send({ t: "error", source, ...describe(error) });
}

function replaceEnvironment(env: Record<string, string>): void {
  for (const key of Object.keys(process.env)) delete process.env[key];
  Object.assign(process.env, env);
}
