// WebSockets that an app opens. Bun's do not look at HTTPS_PROXY by themselves, which
// is the only way out of a worker.

type Options = string | string[] | Bun.WebSocketOptions | undefined;

/** Has the app's WebSockets take the proxy, as its `fetch` does. */
export function useProxy(): void {
  const Direct = globalThis.WebSocket;
  globalThis.WebSocket = class WebSocket extends Direct {
    constructor(url: string | URL, options?: Options) {
      super(url, byProxy(url, options) as string[]);
    }
  } as typeof Direct;
}

/** The options with the proxy, unless they name one or none is to be asked. */
function byProxy(url: string | URL, options: Options): Options {
  const { HTTPS_PROXY: proxy, NO_PROXY = "" } = process.env;
  const isDirect = URL.canParse(`${url}`) && NO_PROXY.split(",").includes(new URL(url).hostname);
  if (proxy === undefined || isDirect) return options;
  if (options === undefined) return { proxy };
  if (typeof options === "string" || Array.isArray(options)) return { proxy, protocols: options };
  return { proxy, ...options };
}
