// What an item is, and the checks on what clients send. Unknown keys are ignored.
import { HTTPException } from "hono/http-exception";

export type Status = "open" | "done";
export type Item = { id: number; title: string; status: Status };
export type Patch = { title: string | null; status: Status | null };

const MAX_TITLE = 200;

export function parseNew(body: unknown): { title: string } {
  return { title: parseTitle(object(body).title) };
}

export function parsePatch(body: unknown): Patch {
  const { title, status } = object(body);
  if (title === undefined && status === undefined) {
    throw bad("send a title, a status, or both");
  }
  return {
    title: title === undefined ? null : parseTitle(title),
    status: parseStatus(status),
  };
}

export function parseStatus(value: unknown): Status | null {
  if (value === undefined) {
    return null;
  }
  if (value !== "open" && value !== "done") {
    throw bad("status must be open or done");
  }
  return value;
}

function parseTitle(value: unknown): string {
  const title = typeof value === "string" ? value.trim() : "";
  if (!title || title.length > MAX_TITLE) {
    throw bad(`title must be 1 to ${MAX_TITLE} characters`);
  }
  return title;
}

function object(body: unknown): Record<string, unknown> {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw bad("the body must be a JSON object");
  }
  return body as Record<string, unknown>;
}

function bad(message: string): HTTPException {
  return new HTTPException(400, { message });
}
