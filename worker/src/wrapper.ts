// What runs inside a worker's Bun: it starts blank, is given one app, and
// serves it until it is told to stop. Nothing here imports a `node:` module or
// touches process.stdout: each costs milliseconds of every start.

import { type App, appOf, ExportError } from "./app.ts";
import { Control } from "./control.ts";
import { describe } from "./describe.ts";
import { load } from "./load.ts";
import type { ErrorSource, Notice, Order } from "./protocol.ts";
import { Replies } from "./reply.ts";
import { serveApp, serveBlank } from "./serve.ts";

// The app may replace this; we mean the real one.
const exit = process.exit.bind(process);

type State =
  | { is: "blank" }
  | { is: "loading" }
  | { is: "serving"; app: App }
  | { is: "stopping" };

let state: State = { is: "blank" };

const control = new Control();
const send = (notice: Notice): void => control.send(notice);
const replies = new Replies(send);
const server = serveBlank(replies);

// Late errors are the app's bug, and one request's at most. Bun would end the
// process, and with it all requests under way.
process.on("uncaughtException", (error) => logged("uncaught", error));
process.on("unhandledRejection", (error) => logged("unhandled", error));

send({ t: "up" });
// Once the channel closes, the server is gone and a worker has no purpose.
control.listen(obey).then(
  () => exit(0),
  () => exit(1),
);

function obey(order: Order): void {
  switch (order.t) {
    case "assign":
      if (state.is === "blank") void become(order);
      return;
    case "idle":
      if (state.is === "serving") void hook(state.app, "onIdle");
      return;
    case "terminate":
      if (state.is !== "stopping") void terminate(order.graceMs);
      return;
  }
}

async function become(order: Extract<Order, { t: "assign" }>): Promise<void> {
  state = { is: "loading" };
  try {
    process.chdir(order.dir);
    replaceEnvironment(order.env);
    process.argv[1] = order.entry;
    const module = await load(order.entry);
    if (isStopping()) return;
    const app = appOf(module);
    serveApp(server, app, replies);
    state = { is: "serving", app };
    const hooks = (["onIdle", "onTerminate"] as const).filter((name) => app.hooks[name]);
    send({ t: "ready", hooks, websocket: app.websocket !== undefined });
  } catch (error) {
    const kind = error instanceof ExportError ? "export" : "import";
    send({ t: "failed", kind, ...describe(error) });
    await control.flushed();
    exit(1);
  }
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

function isStopping(): boolean {
  return state.is === "stopping";
}
