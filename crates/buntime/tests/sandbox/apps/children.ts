// Starts processes, by Bun and past it. A child has limits and a life of its own, and a shell is
// what most break-ins are after; a session of its own is how a child outlives who started it.

import { attacker, call } from "./lib/attacker.ts";

const tellParent = 17;

export default attacker({
  spawn: () => Bun.spawnSync([process.execPath, "--version"]).stdout,
  shell: () => Bun.spawnSync(["/bin/sh", "-c", "id"]).stdout,
  fork: () => call("fork"),
  "clone of a process": () => call("clone", tellParent),
  "another session": () => call("setsid"),
});
