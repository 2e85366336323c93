// Apps that cannot start, and what they say about it.

import { expect, test } from "bun:test";
import { type Notice, Worker } from "./worker.ts";

/** What a worker says when it is given `source`. */
async function failure(source: string, file = "app.ts"): Promise<Notice> {
  await using worker = await Worker.blank();
  await worker.expect("up");
  const outcome = await worker.assign(source, {}, file);
  expect(outcome.t).toBe("failed");
  return outcome;
}

test("a module that throws says why and where", async () => {
  const notice = await failure(`\n\nthrow new RangeError("no database", { cause: new Error("refused") })`);
  expect(notice).toMatchObject({ kind: "import", message: "RangeError: no database" });
  expect(notice["stack"]).toContain("app.ts:3");
  expect(notice["stack"]).toContain("caused by Error: refused");
});

test("a syntax error names the line", async () => {
  const notice = await failure(`export default {\n  fetch( {\n}`);
  expect(notice["kind"]).toBe("import");
  expect(`${notice["message"]} ${notice["stack"]}`).toMatch(/app\.ts:[23]/);
});

test("several syntax errors are all told", async () => {
  const notice = await failure(`const a = 1;\nconst a = 2;\nconst b = 1;\nconst b = 2;`);
  expect(notice["kind"]).toBe("import");
  expect(`${notice["message"]} ${notice["stack"]}`).toMatch(/"a".*"b"/s);
});

test("a missing dependency is named, and not fetched", async () => {
  const notice = await failure(`import "left-pad"`);
  expect(notice["kind"]).toBe("import");
  expect(notice["message"]).toContain("left-pad");
});

test("anything can be thrown", async () => {
  const thrown = [
    "null",
    "undefined",
    "'text'",
    "Symbol('s')",
    "{ get message() { throw 1 } }",
    "new Proxy({}, { get() { throw 1 }, ownKeys() { throw 1 } })",
    "Object.assign(new Error(), { get message() { throw 1 } })",
    "Object.defineProperty(new Error('x'), 'stack', { get() { throw 1 } })",
    "new Error('x'.repeat(3_000_000))",
  ];
  for (const value of thrown) {
    const notice = await failure(`throw ${value}`);
    expect(notice["kind"]).toBe("import");
    expect(String(notice["message"]).length).toBeGreaterThan(0);
    expect(String(notice["message"]).length).toBeLessThan(10_000);
  }
});

test("an export that is no app says what was found and what is accepted", async () => {
  const rows: [source: string, found: RegExp][] = [
    ["", /no default export.*nothing/],
    ["export const fetch = 1, x = 2", /no default export.*fetch, x/],
    ["export default null", /is null/],
    ["export default 7", /a number/],
    ["export default {}", /an object without keys/],
    ["export default { get: 1, post: 2 }", /an object with get, post/],
    ["export default { fetch: 'x' }", /an object with fetch/],
    ["export default []", /an array/],
    ["export default Promise.resolve({ fetch() {} })", /a promise.*await/],
    ["export default class Api { fetch() {} }", /the class Api.*instance/],
    ["export default { routes: { '/x': 'text' } }", /routes/],
    ["export default { routes: { 'x': () => {} } }", /routes/],
    ["export default { routes: { '/x': Response.error() } }", /route \/x: .*status 0/],
    ["export default { fetch() {}, websocket: { message: 1 } }", /websocket/],
  ];
  for (const [source, found] of rows) {
    const notice = await failure(source, "app.js");
    expect(notice, source).toMatchObject({ kind: "export" });
    expect(String(notice["message"]), source).toMatch(found);
    expect(String(notice["message"]), source).toMatch(/accepted|route|websocket/);
  }
});

test("a directory or an entry that is gone is an import failure", async () => {
  for (const gone of [{ dir: "/no/such", entry: "/no/such/a.ts" }, { dir: "/", entry: "/no.ts" }]) {
    await using worker = await Worker.blank();
    await worker.expect("up");
    expect(await worker.become({ ...gone, env: {} })).toMatchObject({ t: "failed", kind: "import" });
  }
});
