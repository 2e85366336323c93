// Connects to the server's own port and to another worker's gateway, where it would pass for
// somebody else: as Bun does it, under another name of the address, and past Bun. And reads what
// this machine's network has counted, which tells what others do.

import { readFileSync } from "node:fs";
import { at, attacker, call, connected, isShared, refuse } from "./lib/attacker.ts";

const host = "127.0.0.1";
const [internet, stream] = [2, 1];

export default attacker({
  "TCP to this machine": ({ port }) => connected({ host, port }),
  "TCP to a mapped address": ({ port }) => connected({ host: "::ffff:127.0.0.1", port }),
  "TCP past Bun": ({ port }) => {
    const address = Buffer.alloc(16);
    address.set([internet, 0, port >> 8, port & 255, 127, 0, 0, 1]);
    return call("connect", call("socket", internet, stream, 0), at(address), address.length);
  },
  "TCP to another worker's gateway": (target) =>
    // In a network of its own both have the same address.
    isShared(target) ? connected({ host, port: target.other }) : refuse("nobody"),
  "counters of the network": () => {
    const told = ["self", "thread-self", "1", `${process.pid}/task/${process.pid}`].map((who) => {
      try {
        return readFileSync(`/proc/${who}/net/snmp`, "utf8");
      } catch (error) {
        return (error as { code: string }).code;
      }
    });
    return told.find((counters) => counters.includes("Tcp:")) ?? refuse(told[0] ?? "nothing");
  },
});
