// Changes its own code. What was deployed and looked at would not be what runs, and an app that
// was broken into once would stay so.

import { writeFileSync } from "node:fs";
import { APP_DIR, attacker } from "./lib/attacker.ts";

export default attacker({
  "write of own code": () => writeFileSync(`${APP_DIR}/index.ts`, ""),
  "new file beside own code": () => writeFileSync(`${APP_DIR}/new.ts`, ""),
});
