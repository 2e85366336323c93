// Writes where it has nothing to write: a file of the machine, the data of others, and one that
// is emptied without being opened. That would be how to take over what reads these files.

import { truncateSync, writeFileSync } from "node:fs";
import { attacker, DATA_DIR, OUTSIDE } from "./lib/attacker.ts";

export default attacker({
  "write outside": () => writeFileSync(`${OUTSIDE}/new`, ""),
  "write beside own data": () => writeFileSync(`${DATA_DIR}/../new`, ""),
  "emptying a file outside": () => truncateSync(`${OUTSIDE}/secret`),
});
