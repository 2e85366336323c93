// Watches a folder that it cannot read, which tells the names of what comes and goes there. And
// takes the watchers that the kernel has for all processes of a user, so that nobody else gets one.

import { watch } from "node:fs";
import { attacker, call, OUTSIDE } from "./lib/attacker.ts";

export default attacker({
  "names of new files outside": () => watch(OUTSIDE).close(),
  "watchers of its user": () => Array.from({ length: 64 }, () => call("inotify_init1", 0)).length,
});
