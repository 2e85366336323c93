// Reads the code and the data of another app on the same server. Strangers share the machine:
// what one of them keeps is no business of the next.

import { readdirSync, readFileSync } from "node:fs";
import { APP_DIR, attacker, OTHER, refuse, STATE } from "./lib/attacker.ts";

export default attacker({
  "another app's code": () => readFileSync(`${OTHER}/index.ts`, "utf8"),
  "another app's data": () => readFileSync(`${STATE}/data/other/secret`, "utf8"),
  "list of apps": () => {
    const others = readdirSync(`${APP_DIR}/..`).filter((name) => !APP_DIR.endsWith(name));
    return others.join() || refuse("nothing");
  },
});
