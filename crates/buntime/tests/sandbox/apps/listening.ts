// Serves TCP itself, past the server, its log and its limits: also on a socket that was bound to
// no address, which the kernel gives one when it begins to listen.

import { attacker, call, isShared, refuse } from "./lib/attacker.ts";

const [internet, stream] = [2, 1];

export default attacker({
  "TCP server": () => {
    const socket = { data() {} };
    return Bun.listen({ hostname: "0.0.0.0", port: 0, socket }).port;
  },
  "TCP server without an address": (target) => {
    // In a network of its own nobody finds it.
    if (!isShared(target)) return refuse("nobody");
    call("listen", call("socket", internet, stream, 0), 1);
    return "listens";
  },
});
