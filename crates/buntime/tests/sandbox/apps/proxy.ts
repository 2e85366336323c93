// Has the proxy that leads outside connect to where it cannot go itself: the server's machine,
// the addresses at which clouds give out keys, a private network.

import { attacker, refuse } from "./lib/attacker.ts";

/** What the proxy does not let through has its status as the code. */
async function fetched(url: string): Promise<string> {
  const response = await fetch(url);
  return response.status < 400 ? response.text() : refuse(`${response.status}`);
}

export default attacker({
  "this machine by the proxy": ({ port }) => fetched(`http://0.0.0.0:${port}/`),
  "metadata by the proxy": () => fetched("http://169.254.169.254/"),
  "private network by the proxy": () => fetched("http://10.0.0.1/"),
});
