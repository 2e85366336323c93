// Gets an app's module.

/** Loads the module as `import(entry)` would, at less cost: `require` reads and
 * evaluates here and now, `import` has threads started for it. Throws what the
 * module throws. */
export async function moduleOf(entry: string): Promise<Record<string, unknown>> {
  let exported: unknown;
  try {
    exported = require(entry);
  } catch (error) {
    // It has been evaluated up to its first `await`; this goes on from there.
    if (isAsync(error, entry)) return import(entry);
    throw error;
  }
  if (Object.prototype.toString.call(exported) === "[object Module]") {
    return exported as Record<string, unknown>;
  }
  const value = defaultOf(exported);
  // What there is instead is for the message; nothing is evaluated twice.
  return value === undefined ? import(entry) : { default: value };
}

/** Has the next `require` of the module evaluate it anew. */
export function forget(entry: string): void {
  delete require.cache[entry];
}

/** Whether Bun refused the module for its top-level `await`, rather than one that
 * the app requires itself: that is the app's error. */
function isAsync(error: unknown, entry: string): boolean {
  if (!(error instanceof TypeError)) return false;
  const path = Bun.resolveSync(entry, "/");
  return error.message.startsWith(`require() async module "${path}" is unsupported`);
}

/** What `import` makes the default export of a CommonJS module. */
function defaultOf(exported: unknown): unknown {
  if ((typeof exported !== "object" && typeof exported !== "function") || exported === null) {
    return exported;
  }
  const object = exported as Record<string, unknown>;
  return object["__esModule"] && "default" in object ? object["default"] : exported;
}
