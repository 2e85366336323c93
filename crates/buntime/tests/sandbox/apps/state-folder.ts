// Looks around where its own folders are. What others have there is theirs, and mere names tell
// which apps and workers there are. The way to its own folders is there, and nothing else.

import { readdirSync } from "node:fs";
import { attacker, refuse, STATE, TMPDIR } from "./lib/attacker.ts";

export default attacker({
  "slots of other workers": () => {
    const others = readdirSync(`${TMPDIR}/..`).filter((name) => !TMPDIR.endsWith(name));
    return others.join() || refuse("nothing");
  },
  "state folder": () => {
    const more = readdirSync(STATE).filter((name) => !["data", "run"].includes(name));
    return more.join() || refuse("nothing");
  },
});
