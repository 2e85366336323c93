// An app that takes more than it may: one path for each way. What is "later" begins when
// the request has been answered.

import { dlopen, ptr, read } from "bun:ffi";
import { chmodSync, closeSync, mkdirSync, openSync, readdirSync, rmSync, unlinkSync, writeFileSync, writeSync } from "node:fs";

const { DATA_DIR = "", TMPDIR = "" } = process.env;
const MEGABYTE = 1 << 20;
const block = Buffer.alloc(MEGABYTE, "x");

const libc = dlopen("libc.so.6", {
  mmap: { args: ["u64", "u64", "i32", "i32", "i32", "i64"], returns: "i64" },
  madvise: { args: ["i64", "u64", "i32"], returns: "i32" },
  memset: { args: ["i64", "i32", "u64"], returns: "i64" },
  dlsym: { args: ["u64", "ptr"], returns: "i64" },
  pthread_attr_init: { args: ["ptr"], returns: "i32" },
  pthread_attr_setstacksize: { args: ["ptr", "u64"], returns: "i32" },
  pthread_create: { args: ["ptr", "ptr", "i64", "u64"], returns: "i32" },
}).symbols;
const [PRIVATE, SHARED] = [0x22, 0x21];

/** Has the kernel give memory, and touches it. */
function map(flags: number): void {
  const at = libc.mmap(0, 8 * MEGABYTE, 3, flags, -1, 0);
  if (Number(at) === -1) throw new Error("no memory");
  libc.memset(at, 1, 8 * MEGABYTE);
}

function fill(kept: Uint8Array[] = []): never {
  for (;;) kept.push(new Uint8Array(8 * MEGABYTE).fill(1));
}

const inWorker = (source: string) =>
  new Worker(URL.createObjectURL(new Blob([source], { type: "application/javascript" })));

const spend = (milliseconds: number) => {
  const begun = process.cpuUsage();
  for (;;) {
    const { user, system } = process.cpuUsage(begun);
    if (user + system > milliseconds * 1000) return;
  }
};

const ways: Record<string, (query: URLSearchParams) => unknown> = {
  id: () => process.env.WORKER_ID,
  memory: () => fill(),
  "memory-later": () => void setTimeout(fill, 0),
  "memory-of-the-kernel": () => {
    for (;;) map(PRIVATE);
  },
  "memory-that-is-shared": () => {
    for (;;) map(SHARED);
  },
  "tables-of-memory": () => {
    // A page in each two megabytes, of which one zero page is shown.
    const [readable, unreserved] = [1, 0x4022];
    for (;;) {
      const at = Number(libc.mmap(0, 4096 * 2 * MEGABYTE, readable, unreserved, -1, 0));
      if (at === -1) throw new Error("no memory");
      libc.madvise(at, 4096 * 2 * MEGABYTE, 15);
      for (let page = 0; page < 4096; page += 1) read.u8(at as never, page * 2 * MEGABYTE);
    }
  },
  "memory-in-a-worker": () => {
    inWorker(`const kept = []; for (;;) kept.push(new Uint8Array(${8 * MEGABYTE}).fill(1));`);
    return new Promise(() => {});
  },
  "one-file": () => {
    const file = openSync(`${DATA_DIR}/large`, "w");
    for (;;) writeSync(file, block);
  },
  "file-of-size": async (query) => {
    writeFileSync(`${DATA_DIR}/large`, Buffer.alloc(Number(query.get("mb")) * MEGABYTE, "x"));
    return new Promise(() => {});
  },
  "many-files": () => {
    for (let folder = 0; ; folder += 1) {
      mkdirSync(`${TMPDIR}/${folder}`);
      for (let file = 0; file < 200; file += 1) writeFileSync(`${TMPDIR}/${folder}/${file}`, "x");
    }
  },
  "file-without-a-name": () => {
    const file = openSync(`${TMPDIR}/nameless`, "w");
    unlinkSync(`${TMPDIR}/nameless`);
    for (;;) writeSync(file, block);
  },
  "mapped-files-without-a-name": () => {
    for (;;) {
      const file = openSync(`${TMPDIR}/mapped`, "w+");
      for (let written = 0; written < 8; written += 1) writeSync(file, block);
      libc.mmap(0, 4096, 1, 1, file, 0);
      unlinkSync(`${TMPDIR}/mapped`);
      closeSync(file);
    }
  },
  "folder-that-nobody-reads": () => {
    chmodSync(TMPDIR, 0o300);
    const file = openSync(`${TMPDIR}/large`, "w");
    for (;;) writeSync(file, block);
  },
  clear: () => {
    for (const name of readdirSync(DATA_DIR)) rmSync(`${DATA_DIR}/${name}`, { recursive: true });
    return "clear";
  },
  output: () => {
    const line = `${"flood ".repeat(170)}\n`;
    const lines = Math.floor((20 * MEGABYTE) / line.length);
    for (let written = 0; written < lines; written += 100) process.stdout.write(line.repeat(100));
    return "written";
  },
  "output-without-lines": () => {
    const part = "flood ".repeat(10_000);
    for (let written = 0; written < 20 * MEGABYTE; written += part.length) process.stdout.write(part);
    return "written";
  },
  line: () => console.log("a line"),
  threads: () => {
    const wait = libc.dlsym(0, ptr(Buffer.from("sleep\0")));
    const made = new BigUint64Array(1);
    // A small stack, lest they be too much memory first.
    const attributes = new BigUint64Array(8);
    libc.pthread_attr_init(ptr(attributes));
    libc.pthread_attr_setstacksize(ptr(attributes), 64 << 10);
    for (;;) libc.pthread_create(ptr(made), ptr(attributes), wait, 100_000);
  },
  descriptors: () => {
    const open: number[] = [];
    try {
      for (;;) open.push(openSync(import.meta.path, "r"));
    } catch (error) {
      const most = open.length;
      for (const file of open) closeSync(file);
      return `${(error as { code: string }).code} at ${most}`;
    }
  },
  "spin-later": () => void setTimeout(() => spend(Number.POSITIVE_INFINITY), 0),
  "spin-in-workers-later": () => {
    for (let number = 0; number < 3; number += 1) inWorker("for (;;);");
  },
  spend: (query) => spend(Number(query.get("ms"))),
};

export default {
  async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const way = ways[pathname.slice(1)];
    if (way === undefined) return new Response("no such way", { status: 404 });
    try {
      return new Response(`${await way(searchParams)}`);
    } catch (error) {
      return new Response(`refused ${(error as Error).message}`);
    }
  },
};
