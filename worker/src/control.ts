// The control channel: descriptor 3, a socket to the server.
//
// It is read as a file. A socket of Bun's own, as from `Bun.connect`, keeps
// timers running that wake an idle worker twice a second, and starts later.

import { type Notice, type Order, parseOrder } from "./protocol.ts";

const DESCRIPTOR = 3;
/** Longest line, and most of what waits to be sent before logs are dropped; in
 * UTF-16 code units. */
const LONGEST_LINE = 1024 * 1024;
const MOST_WAITING = 256 * 1024;

export class Control {
  private readonly file = Bun.file(DESCRIPTOR);
  private readonly outgoing = new Outgoing(this.file.writer());

  /** Listens until the server is gone. */
  async listen(onOrder: (order: Order) => void): Promise<void> {
    // The server's bytes are UTF-8; a character may arrive in pieces.
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    let text = "";
    for await (const bytes of this.file.stream()) {
      text += decoder.decode(bytes, { stream: true });
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        const order = parseOrder(line);
        if (order !== undefined) onOrder(order);
      }
      if (text.length > LONGEST_LINE) return;
    }
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

/** What waits for the socket to take it. */
class Outgoing {
  private waiting = "";
  /** Length of what the sink has and has not sent. */
  private under = 0;
  private sent: Promise<void> = Promise.resolve();

  constructor(private readonly sink: Bun.FileSink) {}

  get length(): number {
    return this.waiting.length + this.under;
  }

  push(text: string): void {
    this.waiting += text;
    if (this.under === 0) this.drain();
  }

  async empty(): Promise<void> {
    while (this.length > 0) await this.sent;
  }

  private drain(): void {
    const { sink, waiting } = this;
    this.waiting = "";
    // Either may have to wait for the socket.
    const pending = [sink.write(waiting), sink.flush()].filter((sent) => typeof sent === "object");
    if (pending.length === 0) return;
    this.under = waiting.length;
    const more = (): void => {
      this.under = 0;
      if (this.waiting !== "") this.drain();
    };
    // It fails when the server is gone, which the reading side sees too.
    this.sent = Promise.all(pending).then(more, more);
  }
}
