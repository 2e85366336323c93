// What server and worker say to each other on the control channel: one JSON
// object a line, both ways. docs/decisions/0003-worker-control-channel.md is
// its description; the server trusts nothing that comes from here, for the
// app runs in this process too.

/** From the server. */
export type Order =
  | { t: "assign"; dir: string; entry: string; env: Record<string, string> }
  | { t: "idle" }
  | { t: "terminate"; graceMs: number };

/** Hooks of an app that the server may ask for. */
export type Hook = "onIdle" | "onTerminate";

/** Where an error came from that is only to be logged. */
export type ErrorSource = "handler" | "bad-response" | "uncaught" | "unhandled" | Hook;

/** To the server. */
export type Notice =
  | { t: "up" }
  | { t: "ready"; hooks: Hook[]; websocket: boolean }
  | { t: "failed"; kind: "import" | "export"; message: string; stack: string }
  | { t: "terminated" }
  | { t: "error"; source: ErrorSource; requestId?: string; message: string; stack: string };

/** Reads one line. Undefined if it is no order: the server does not err, but a
 * worker must not die of one that a newer server may know. */
export function parseOrder(line: string): Order | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const order = value as Record<string, unknown>;
  switch (order["t"]) {
    case "assign": {
      const { dir, entry, env } = order;
      if (typeof dir !== "string" || typeof entry !== "string" || !isTexts(env)) return undefined;
      return { t: "assign", dir, entry, env };
    }
    case "idle":
      return { t: "idle" };
    case "terminate": {
      const { graceMs } = order;
      return { t: "terminate", graceMs: typeof graceMs === "number" ? graceMs : 0 };
    }
    default:
      return undefined;
  }
}

function isTexts(value: unknown): value is Record<string, string> {
  return (
    typeof value === "object" &&
    value !== null &&
    Object.values(value).every((text) => typeof text === "string")
  );
}
