// Bundles the wrapper into the one file that the server carries with it.
// `dist/` is committed, so that building the server needs no Bun; a test
// rebuilds and compares.

const root = new URL("..", import.meta.url).pathname;

export async function bundle(): Promise<string> {
  const built = await Bun.build({
    entrypoints: [`${root}src/wrapper.ts`],
    root,
    target: "bun",
    format: "esm",
  });
  const [output] = built.outputs;
  if (output === undefined) throw new Error("nothing was built");
  return output.text();
}

if (import.meta.main) await Bun.write(`${root}dist/wrapper.js`, await bundle());
