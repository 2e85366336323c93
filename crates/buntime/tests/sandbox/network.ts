// Attacks on what is reached over the network. `port` is one of this machine's, `other`
// another worker's gateway.
import { connect } from "node:net";

const here = "127.0.0.1";
const own = new URL(process.env["RUNTIME_API_URL"]!).port;

const connected = (port: string) =>
  new Promise((done, fail) => {
    const socket = connect(Number(port), here, () => (socket.destroy(), done("connected")));
    socket.on("error", fail);
  });

/** What the proxy does not let through has its status as the code. */
async function fetched(url: string): Promise<string> {
  const response = await fetch(url);
  if (response.status >= 400) throw Object.assign(new Error(), { code: `${response.status}` });
  return response.text();
}

export const network: Record<string, (query: URLSearchParams) => unknown> = {
  "TCP to this machine": (q) => connected(q.get("port")!),
  // In a network of its own both have the same address.
  "TCP to another worker's gateway": (q) => {
    if (q.get("other") === own) throw Object.assign(new Error(), { code: "nobody" });
    return connected(q.get("other")!);
  },
  "this machine by the proxy": (q) => fetched(`http://0.0.0.0:${q.get("port")}/`),
  "metadata by the proxy": () => fetched("http://169.254.169.254/"),
  "private network by the proxy": () => fetched("http://10.0.0.1/"),
};
