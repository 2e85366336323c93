// What server and worker say to each other: an assignment and its outcome over
// HTTP, all else on the control channel, one JSON object a line, both ways.
// docs/decisions/0003-worker-control-channel.md is its description; the server
// trusts nothing that comes from here, for the app runs in this process too.

/** The header of the request that gives a blank its app, an {@link Assignment}
 * in JSON. Clients' headers of this kind never reach a worker. */
export const ASSIGN = "x-buntime-assign";

/** The header of the request that has a blank rehearse one, of an app that lies beside the
 * wrapper. */
export const REHEARSE = "x-buntime-rehearse";

/** The variable that holds the same for a worker that is started for its app. */
export const GIVEN = "BUNTIME_APP";

export interface Assignment {
  dir: string;
  entry: string;
  env: Record<string, string>;
  /** Whether `dir` is there only when the request has its body. */
  wait: boolean;
}

/** What comes of an assignment or its rehearsal: the answer to a blank's request, and a notice
 * of a worker that was started for its app. */
export type Outcome =
  | { t: "ready"; hooks: Hook[]; websocket: boolean }
  | { t: "failed"; kind: "import" | "export"; message: string; stack: string };

/** From the server, on the control channel. */
export type Order = { t: "idle" } | { t: "terminate"; graceMs: number };

/** Hooks of an app that the server may ask for. */
export type Hook = "onIdle" | "onTerminate";

/** Where an error came from that is only to be logged. */
export type ErrorSource = "handler" | "bad-response" | "uncaught" | "unhandled" | Hook;

/** To the server, on the control channel. */
export type Notice =
  | Outcome
  | { t: "up" }
  | { t: "terminated" }
  | { t: "error"; source: ErrorSource; requestId?: string; message: string; stack: string };

/** Reads an assignment. Undefined if it is none. */
export function parseAssignment(text: string): Assignment | undefined {
  const { dir, entry, env, wait } = parseObject(text);
  if (typeof dir !== "string" || typeof entry !== "string" || !isTexts(env)) return undefined;
  return { dir, entry, env, wait: wait === true };
}

/** Reads one line. Undefined if it is no order: the server does not err, but a
 * worker must not die of one that a newer server may know. */
export function parseOrder(line: string): Order | undefined {
  const order = parseObject(line);
  switch (order["t"]) {
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

/** An empty object if the text is no JSON object. */
function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function isTexts(value: unknown): value is Record<string, string> {
  return (
    typeof value === "object" &&
    value !== null &&
    Object.values(value).every((text) => typeof text === "string")
  );
}
