// Anything can be thrown. This turns it into text, whatever it is, and into a
// bounded amount: a line of the control channel may have 1 MB.

const LONGEST_MESSAGE = 8 * 1024;
const LONGEST_STACK = 32 * 1024;

export interface Description {
  message: string;
  stack: string;
}

export function describe(thrown: unknown): Description {
  try {
    if (thrown instanceof Error) {
      const name = String(thrown.name);
      const message = String(thrown.message);
      return {
        message: cut(message === "" ? name : `${name}: ${message}`, LONGEST_MESSAGE),
        stack: cut(trace(thrown), LONGEST_STACK),
      };
    }
    return { message: cut(`thrown: ${Bun.inspect(thrown, { depth: 2 })}`, LONGEST_MESSAGE), stack: "" };
  } catch {
    // A getter of the thrown value threw in turn.
    return { message: "something that cannot be printed was thrown", stack: "" };
  }
}

/** The stack, with those of its causes and its parts. */
function trace(error: Error, depth = 0): string {
  let text = place(error) ?? (typeof error.stack === "string" ? error.stack : "");
  if (depth === 4) return text;
  const parts: unknown[] = error instanceof AggregateError ? error.errors.slice(0, 10) : [];
  for (const part of parts) text += `\n- ${inner(part, depth)}`;
  if (error.cause !== undefined) text += `\ncaused by ${inner(error.cause, depth)}`;
  return text;
}

/** Where source could not be read or resolved; such errors have no stack. */
function place(error: Error): string | undefined {
  if (!(error instanceof BuildMessage || error instanceof ResolveMessage)) return undefined;
  const { position } = error;
  if (position === null) return undefined;
  const { file, line, column, lineText } = position;
  return `${error.message}\n    at ${file}:${line}:${column}\n    ${cut(lineText, 200)}`;
}

function inner(value: unknown, depth: number): string {
  return value instanceof Error ? trace(value, depth + 1) || String(value) : Bun.inspect(value, { depth: 2 });
}

function cut(text: string, longest: number): string {
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}
