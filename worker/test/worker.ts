// Drives the real wrapper as a child process: its control channel and its
// socket are in the test's hands, as they are in the server's.

import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const WRAPPER = new URL("../dist/wrapper.js", import.meta.url).pathname;
/** As docs/decisions/0003 has it. */
const FLAGS = ["--config=/dev/null", "--no-env-file", "--no-install"];

export type Notice = Record<string, unknown> & { t: string };

export class Worker {
  readonly slot = realpathSync(mkdtempSync(join(tmpdir(), "buntime-worker-")));
  private readonly child: Bun.Subprocess<"ignore", "pipe", "pipe">;
  private control!: Bun.Socket;
  private readonly notices: Notice[] = [];
  private readonly waiting: ((notice: Notice) => void)[] = [];
  private text = "";

  static async blank(): Promise<Worker> {
    const worker = new Worker();
    await worker.open();
    return worker;
  }

  /** A worker that serves `source`, and what it said when it was ready. */
  static async serving(source: string, env: Record<string, string> = {}): Promise<Worker> {
    const worker = await Worker.blank();
    await worker.expect("up");
    expectReady(await worker.rehearse());
    expectReady(await worker.assign(source, env));
    return worker;
  }

  /** A worker that is started for an app of this source. */
  static async given(source: string, env: Record<string, string> = {}): Promise<Worker> {
    const worker = new Worker({ source, env });
    await worker.open();
    return worker;
  }

  private constructor(app?: { source: string; env: Record<string, string> }) {
    const given: Record<string, string> = {};
    if (app !== undefined) {
      const entry = join(this.slot, "app.ts");
      writeFileSync(entry, app.source);
      given["BUNTIME_APP"] = JSON.stringify({ dir: this.slot, entry, env: app.env });
    }
    this.child = Bun.spawn([process.execPath, ...FLAGS, WRAPPER], {
      cwd: this.slot,
      env: { BLANK: "only", PATH: "/usr/bin:/bin", ...given },
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    }) as typeof this.child;
  }

  private async open(): Promise<void> {
    const decoder = new TextDecoder();
    this.control = await Bun.connect({
      ...({ fd: this.child.stdio[3] } as unknown as { unix: string }),
      socket: {
        data: (_, bytes) => {
          this.text += decoder.decode(bytes, { stream: true });
          const lines = this.text.split("\n");
          this.text = lines.pop() ?? "";
          for (const line of lines) this.heard(JSON.parse(line) as Notice);
        },
      },
    });
  }

  private heard(notice: Notice): void {
    const next = this.waiting.shift();
    if (next === undefined) this.notices.push(notice);
    else next(notice);
  }

  next(): Promise<Notice> {
    const notice = this.notices.shift();
    if (notice !== undefined) return Promise.resolve(notice);
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  async expect(t: string): Promise<Notice> {
    const notice = await this.next();
    if (notice.t !== t) throw new Error(`expected ${t}, got ${JSON.stringify(notice)}`);
    return notice;
  }

  write(text: string): void {
    this.control.write(text);
  }

  say(order: object): void {
    this.write(`${JSON.stringify(order)}\n`);
  }

  /** Puts an app beside the socket and assigns it; what came of it. */
  assign(source: string, env: Record<string, string> = {}, file = "app.ts"): Promise<Notice> {
    const entry = join(this.slot, file);
    writeFileSync(entry, source);
    return this.become({ dir: this.slot, entry, env });
  }

  async become(order: object): Promise<Notice> {
    const headers = { "x-buntime-assign": JSON.stringify(order) };
    const response = await this.fetch("/", { method: "POST", headers });
    return (await response.json()) as Notice;
  }

  /** What the server does with every blank before it counts. */
  async rehearse(entry = "rehearsal.ts"): Promise<Notice> {
    const order = JSON.stringify({ dir: ".", entry, env: {}, wait: true });
    const headers = { "x-buntime-rehearse": order };
    const response = await this.fetch("/", { method: "POST", headers, body: "1" });
    return (await response.json()) as Notice;
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://app.test${path}`, {
      redirect: "manual",
      ...init,
      ...({ unix: join(this.slot, "w.sock") } as object),
    });
  }

  websocket(path: string): WebSocket {
    return new WebSocket(`ws+unix://${join(this.slot, "w.sock")}:${path}`);
  }

  /** A connection without a client in between. */
  raw(): Socket {
    return connect(join(this.slot, "w.sock"));
  }

  hangUp(): void {
    this.control.end();
  }

  kill(): void {
    this.child.kill("SIGKILL");
  }

  get exited(): Promise<number> {
    return this.child.exited;
  }

  output(): Promise<string> {
    return new Response(this.child.stdout).text();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.child.exited;
    this.control.terminate();
    rmSync(this.slot, { recursive: true, force: true });
  }
}

function expectReady(outcome: Notice): void {
  if (outcome.t !== "ready") throw new Error(`expected ready, got ${JSON.stringify(outcome)}`);
}
