// Looks into the server through /proc. Its memory and its environment hold the root key, its
// descriptors are connections of other people, and its root is the whole machine.

import { openSync, readdirSync, readFileSync } from "node:fs";
import { attacker } from "./lib/attacker.ts";

export default attacker({
  "server environment": ({ server }) => readFileSync(`/proc/${server}/environ`, "utf8"),
  "server memory": ({ server }) => openSync(`/proc/${server}/mem`, "r"),
  "server descriptors": ({ server }) => readdirSync(`/proc/${server}/fd`),
  "server command line": ({ server }) => readFileSync(`/proc/${server}/cmdline`, "utf8"),
  "server root": ({ server }) => readdirSync(`/proc/${server}/root`),
});
