// What an app's module exports, brought into one shape.

import type { Hook } from "./protocol.ts";

export type Handler = (request: Request, server: Bun.Server<unknown>) => unknown;

/** An app, its functions bound to the object that it exports. */
export interface App {
  fetch: Handler | undefined;
  routes: Record<string, unknown> | undefined;
  websocket: object | undefined;
  hooks: Partial<Record<Hook, () => unknown>>;
}

/** The module loaded, but what it exports is no app. */
export class ExportError extends Error {
  override name = "Bad export";
}

const ACCEPTED =
  "accepted are an object with `fetch(request, server)` or `routes` (or both), or a function, which is then `fetch`";

export function appOf(module: Record<string, unknown>): App {
  const exported = module["default"];
  if (exported === undefined) {
    const names = Object.keys(module).filter((name) => name !== "default");
    const found = names.length === 0 ? "nothing" : `only ${names.join(", ")}`;
    throw new ExportError(`the module has no default export (it exports ${found}); ${ACCEPTED}`);
  }
  if (isObject(exported) || typeof exported === "function") {
    const app = fromObject(exported as Record<string, unknown>);
    if (app.fetch !== undefined || app.routes !== undefined) return app;
    if (typeof exported === "function" && !isClass(exported)) {
      return { ...app, fetch: (request, server) => exported(request, server) };
    }
  }
  throw new ExportError(`the default export is ${nameOf(exported)}; ${ACCEPTED}`);
}

function fromObject(object: Record<string, unknown>): App {
  const bound = (name: string): ((...args: unknown[]) => unknown) | undefined => {
    const method = object[name];
    return typeof method === "function" ? method.bind(object) : undefined;
  };
  const hooks: App["hooks"] = {};
  for (const name of ["onIdle", "onTerminate"] as const) {
    const hook = bound(name);
    if (hook !== undefined) hooks[name] = () => hook();
  }
  return {
    fetch: bound("fetch") as Handler | undefined,
    routes: routesOf(object["routes"]),
    websocket: isObject(object["websocket"]) ? object["websocket"] : undefined,
    hooks,
  };
}

/** Routers such as hono keep something of their own under this name (a list),
 * which is theirs to match. */
function routesOf(value: unknown): Record<string, unknown> | undefined {
  if (!isObject(value) || Array.isArray(value)) return undefined;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null
    ? (value as Record<string, unknown>)
    : undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function isClass(value: Function): boolean {
  return Function.prototype.toString.call(value).startsWith("class");
}

function nameOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (value instanceof Promise) return "a promise (write `export default await …`)";
  if (typeof value === "function") return `the class ${value.name} (export an instance of it)`;
  if (typeof value !== "object") return `a ${typeof value}`;
  const names = Object.keys(value).slice(0, 10);
  return names.length === 0 ? "an object without keys" : `an object with ${names.join(", ")}`;
}
