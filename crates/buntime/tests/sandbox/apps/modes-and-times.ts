// Changes who may read a file, and when it is said to have been written. Landlock does not look
// at this: a secret could be opened to everybody by somebody who cannot read it.

import { chmodSync, fchmodSync, fstatSync, openSync, utimesSync } from "node:fs";
import { attacker, OUTSIDE } from "./lib/attacker.ts";

export default attacker({
  "mode of a file outside": () => chmodSync(`${OUTSIDE}/secret`, 0o666),
  "times of a file outside": () => utimesSync(`${OUTSIDE}/secret`, 1, 1),
  "mode of the system's libraries": () => {
    const folder = openSync("/usr/lib", "r");
    fchmodSync(folder, fstatSync(folder).mode);
  },
});
