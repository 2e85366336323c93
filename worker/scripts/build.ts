// Bundles the wrapper into the one file that the server carries with it, and puts the
// app that it rehearses with beside it.
// `dist/` is committed, so that building the server needs no Bun; a test
// rebuilds and compares.

const root = new URL("..", import.meta.url).pathname;

/** What Bun puts around a bundle of this format. The server puts it there itself,
 * or has Bun make bytecode of what is inside. */
const OPENING = "// @bun @bun-cjs\n(function(exports, require, module, __filename, __dirname) {";
const CLOSING = "})\n";

export async function bundle(): Promise<string> {
  const built = await Bun.build({
    entrypoints: [`${root}src/wrapper.ts`],
    root,
    target: "bun",
    // Bytecode needs it, and it starts faster than an ES module.
    format: "cjs",
  });
  const [output] = built.outputs;
  if (output === undefined) throw new Error("nothing was built");
  const text = await output.text();
  if (!text.startsWith(OPENING) || !text.endsWith(CLOSING)) throw new Error("not the known format");
  // ES modules are strict by themselves.
  return `"use strict";\n${text.slice(OPENING.length, -CLOSING.length)}`;
}

/** The rehearsed app, as it is: a blank is to do what it does with an app's sources. */
export function rehearsal(): Promise<string> {
  return Bun.file(`${root}src/rehearsal.ts`).text();
}

if (import.meta.main) {
  await Bun.write(`${root}dist/wrapper.js`, await bundle());
  await Bun.write(`${root}dist/rehearsal.ts`, await rehearsal());
}
