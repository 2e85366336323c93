// Reads the files in which the server keeps what no app may know: with the root key an app
// could deploy in anybody's name, the database has the keys' hashes, the audit log who did what.

import { readFileSync } from "node:fs";
import { attacker, STATE } from "./lib/attacker.ts";

export default attacker({
  "root key": () => readFileSync(`${STATE}/root-key`, "utf8"),
  "database of the server": () => readFileSync(`${STATE}/buntime.db`),
  "audit log": () => readFileSync(`${STATE}/audit.log`),
});
