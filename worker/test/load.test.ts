// Modules of every kind, loaded as `import` would load them.

import { expect, test } from "bun:test";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Notice, Worker } from "./worker.ts";

/** Answers how often the module has been evaluated. */
const COUNTING = `globalThis.times = (globalThis.times ?? 0) + 1;
  const fetch = () => new Response(String(globalThis.times));`;

async function given(source: string, file: string, beside: Record<string, string> = {}): Promise<[Notice, string]> {
  await using worker = await Worker.blank();
  await worker.expect("up");
  for (const [name, text] of Object.entries(beside)) writeFileSync(join(worker.slot, name), text);
  const outcome = await worker.assign(source, {}, file);
  if (outcome.t === "ready") return [outcome, await (await worker.fetch("/")).text()];
  worker.kill();
  return [outcome, await worker.output()];
}

test("a module is evaluated once, whether it awaits or not", async () => {
  const modules = {
    "plain.ts": `${COUNTING} export default { fetch }`,
    "awaits.ts": `${COUNTING} await Bun.sleep(1); export default { fetch }`,
    "imports.ts": `import { fetch } from "./late.ts"; export default { fetch }`,
    "common.cjs": `${COUNTING} module.exports = { fetch }`,
  };
  for (const [file, source] of Object.entries(modules)) {
    const late = `${COUNTING} await Bun.sleep(1); export { fetch }`;
    const [notice, text] = await given(source, file, { "late.ts": late });
    expect([file, notice.t, text]).toEqual([file, "ready", "1"]);
  }
});

test("an entry behind a symbolic link may await", async () => {
  await using worker = await Worker.blank();
  await worker.expect("up");
  writeFileSync(join(worker.slot, "real.ts"), `${COUNTING} await 1; export default { fetch }`);
  const entry = join(worker.slot, "link.ts");
  symlinkSync("real.ts", entry);
  expect(await worker.become({ dir: worker.slot, entry, env: {} })).toMatchObject({ t: "ready" });
  expect(await (await worker.fetch("/")).text()).toBe("1");
});

test("what is thrown after an await is told once", async () => {
  const [notice] = await given(`await Bun.sleep(1);\nthrow new Error("late")`, "app.ts");
  expect(notice).toMatchObject({ t: "failed", kind: "import", message: "Error: late" });
  expect(notice["stack"]).toContain("app.ts:2");
});

test("what a module throws is no reason to evaluate it again", async () => {
  const loud = `console.log("evaluated");`;
  const modules = {
    "throws.ts": `${loud} throw new Error("no")`,
    "throws.cjs": `${loud} throw new Error("no")`,
    "lies.cjs": `${loud} throw new TypeError('require() async module "x" is unsupported')`,
    "requires.cjs": `${loud} require("./late.ts"); module.exports = () => {}`,
  };
  for (const [file, source] of Object.entries(modules)) {
    const [notice, output] = await given(source, file, { "late.ts": "await 1; export {}" });
    expect([file, notice.t, output]).toEqual([file, "failed", "evaluated\n"]);
  }
});

test("the default export of a CommonJS module is what import makes it", async () => {
  const app = `{ fetch: () => new Response("app") }`;
  const other = `() => new Response("other")`;
  const modules: [string, string][] = [
    [`module.exports = ${app}`, "app"],
    [`exports.fetch = ${app}.fetch`, "app"],
    [`exports.__esModule = true; exports.default = ${app}; exports.fetch = ${other}`, "app"],
    [`exports.__esModule = true; exports.fetch = ${app}.fetch`, "app"],
    [`module.exports = ${app}.fetch; module.exports.default = ${other}`, "app"],
    [`exports.default = ${other}; exports.fetch = ${app}.fetch`, "app"],
  ];
  for (const [source, expected] of modules) {
    const [notice, text] = await given(source, "app.cjs");
    expect([source, notice.t, text]).toEqual([source, "ready", expected]);
  }
});

test("a CommonJS module that exports no app says what it exports", async () => {
  const [none] = await given(`exports.__esModule = true; exports.named = 1`, "app.cjs");
  expect(none).toMatchObject({ t: "failed", kind: "export" });
  const [only] = await given(`exports.__esModule = true; exports.default = undefined; exports.named = 1`, "app.cjs");
  expect(only["message"]).toContain("only named");
  const [nothing] = await given(`module.exports = null`, "app.cjs");
  expect(nothing["message"]).toContain("null");
});
