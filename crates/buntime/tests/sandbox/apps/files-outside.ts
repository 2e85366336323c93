// Reads files of the machine that belong to no app, with Bun and past it, where no check of the
// runtime's could help. Whoever can read what the server's user can has the whole machine's keys.

import { readFileSync, statSync } from "node:fs";
import { attacker, call, OUTSIDE, text } from "./lib/attacker.ts";

const HERE = -100;

export default attacker({
  "file outside": () => readFileSync(`${OUTSIDE}/secret`, "utf8"),
  "file outside past Bun": () => call("openat", HERE, text(`${OUTSIDE}/secret`), 0),
  "file of the system": () => readFileSync("/etc/passwd", "utf8"),
  "size of a file outside": () => statSync(`${OUTSIDE}/secret`).size,
});
