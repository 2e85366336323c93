// The links, in memory, with a bound: the oldest makes room for the newest.

export type Link = { code: string; url: string; visits: number };

export class LinkError extends Error {
  constructor(
    readonly status: 400 | 404 | 409,
    message: string,
  ) {
    super(message);
  }
}

const CODE = /^[A-Za-z0-9_-]{2,32}$/;
const MAX_URL = 2_000;

export class LinkStore {
  #links = new Map<string, Link>();

  constructor(readonly max: number) {}

  list(): Link[] {
    return [...this.#links.values()].reverse();
  }

  get(code: string): Link {
    const link = this.#links.get(code);
    if (!link) {
      throw new LinkError(404, "no such link");
    }
    return link;
  }

  add(url: unknown, wanted: unknown): Link {
    const code = wanted === undefined || wanted === "" ? this.#freeCode() : wanted;
    if (typeof code !== "string" || !CODE.test(code)) {
      throw new LinkError(400, "code must be 2 to 32 letters, digits, - or _");
    }
    if (code === "api" || this.#links.has(code)) {
      throw new LinkError(409, `the code ${code} is taken`);
    }
    const link = { code, url: checkedUrl(url), visits: 0 };
    this.#links.set(code, link);
    if (this.#links.size > this.max) {
      const [oldest] = this.#links.keys();
      this.#links.delete(oldest as string);
    }
    return link;
  }

  remove(code: string): void {
    this.get(code);
    this.#links.delete(code);
  }

  visit(code: string): Link | undefined {
    const link = this.#links.get(code);
    if (link) {
      link.visits += 1;
    }
    return link;
  }

  #freeCode(): string {
    for (;;) {
      const code = crypto.randomUUID().slice(0, 6);
      if (!this.#links.has(code)) {
        return code;
      }
    }
  }
}

/** Only http and https: a `javascript:` address must never become a link. */
function checkedUrl(value: unknown): string {
  if (typeof value !== "string" || value.length > MAX_URL || !URL.canParse(value)) {
    throw new LinkError(400, "url must be an absolute address");
  }
  const url = new URL(value);
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw new LinkError(400, "url must begin with http:// or https://");
  }
  return url.href;
}
