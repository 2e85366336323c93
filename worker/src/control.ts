// The control channel: descriptor 3, a socket to the server.

import { type Notice, type Order, parseOrder } from "./protocol.ts";

const DESCRIPTOR = 3;
/** Most bytes of a line, and of what waits to be sent before logs are dropped. */
const LONGEST_LINE = 1024 * 1024;
const MOST_WAITING = 256 * 1024;
const NEWLINE = 10;

/** Connected by `open`; what is sent before waits for it. */
export class Control {
  private readonly outgoing = new Outgoing();

  /** `closed` is called when the server is gone. */
  async open(onOrder: (order: Order) => void, closed: () => void): Promise<void> {
    const incoming = new Lines((line) => {
      const order = parseOrder(line);
      if (order !== undefined) onOrder(order);
    }, closed);
    const socket = await Bun.connect({
      // Bun takes an open descriptor here, which its types do not know.
      ...({ fd: DESCRIPTOR } as unknown as { unix: string }),
      socket: {
        data: (_, bytes) => incoming.push(bytes),
        drain: () => this.outgoing.drain(),
        close: closed,
        error: closed,
      },
    });
    this.outgoing.attach(socket);
  }

  /** Sends a notice. Errors are for the log only: they are dropped while the
   * server does not read. */
  send(notice: Notice): void {
    if (notice.t === "error" && this.outgoing.length > MOST_WAITING) return;
    this.outgoing.push(`${JSON.stringify(notice)}\n`);
  }

  /** Resolves when all is sent, or the server does not read for a second. */
  flushed(): Promise<void> {
    return Promise.race([this.outgoing.empty(), Bun.sleep(1000)]);
  }
}

/** Cuts a stream into lines. A line may arrive in pieces, cut inside of a
 * character even, so pieces are kept as bytes. */
class Lines {
  private pieces: Buffer[] = [];
  private length = 0;

  constructor(
    private readonly onLine: (line: string) => void,
    private readonly tooLong: () => void,
  ) {}

  push(bytes: Buffer): void {
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, start);
      if (end < 0) break;
      const line = this.finish(bytes, start, end);
      start = end + 1;
      this.onLine(line);
    }
    if (start < bytes.length) this.keep(Buffer.from(bytes.subarray(start)));
  }

  private finish(bytes: Buffer, start: number, end: number): string {
    // Mostly the whole line is here.
    if (this.length === 0) return bytes.toString("utf8", start, end);
    const line = Buffer.concat([...this.pieces, bytes.subarray(start, end)]).toString();
    this.pieces = [];
    this.length = 0;
    return line;
  }

  private keep(piece: Buffer): void {
    this.length += piece.length;
    if (this.length > LONGEST_LINE) return this.tooLong();
    this.pieces.push(piece);
  }
}

/** What waits for the socket to take it. */
class Outgoing {
  private socket: Bun.Socket | undefined;
  /** Text until a part of it is sent: making a buffer costs a start 0.2 ms. */
  private waiting: string | Buffer = "";
  private whenEmpty: (() => void)[] = [];

  get length(): number {
    return this.waiting.length;
  }

  attach(socket: Bun.Socket): void {
    this.socket = socket;
    this.drain();
  }

  push(text: string): void {
    const { waiting } = this;
    this.waiting =
      typeof waiting === "string" ? waiting + text : Buffer.concat([waiting, Buffer.from(text)]);
    this.drain();
  }

  drain(): void {
    if (this.length > 0 && this.socket !== undefined) {
      const { waiting } = this;
      const sent = Math.max(this.socket.write(waiting), 0);
      const size = typeof waiting === "string" ? Buffer.byteLength(waiting) : waiting.length;
      this.waiting = sent === size ? "" : Buffer.from(waiting as string).subarray(sent);
    }
    if (this.length > 0) return;
    for (const resolve of this.whenEmpty.splice(0)) resolve();
  }

  async empty(): Promise<void> {
    if (this.length > 0) await new Promise<void>((resolve) => this.whenEmpty.push(resolve));
  }
}
