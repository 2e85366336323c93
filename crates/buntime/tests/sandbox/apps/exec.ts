// Becomes another program without starting a process, also one that lies in no folder. A fresh
// program has none of what the wrapper around an app has set up.

import { at, attacker, call, text } from "./lib/attacker.ts";

const HERE = -100;
const bun = () => text(process.execPath);
const nothing = () => at(new BigUint64Array(1));

export default attacker({
  "exec in place": () => call("execve", bun(), nothing(), nothing()),
  execveat: () => call("execveat", HERE, bun(), nothing(), nothing(), 0),
  "file in memory": () => call("memfd_create", text("x"), 0),
});
