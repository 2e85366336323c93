// Makes links in a folder that it may write, to files that it may not read. If paths were
// judged by how they begin, this would be the way around.

import { linkSync, readFileSync, symlinkSync } from "node:fs";
import { attacker, OUTSIDE, TMPDIR } from "./lib/attacker.ts";

export default attacker({
  "file outside by a link": () => {
    symlinkSync(`${OUTSIDE}/secret`, `${TMPDIR}/link`);
    return readFileSync(`${TMPDIR}/link`, "utf8");
  },
  "file outside by a hard link": () => {
    linkSync(`${OUTSIDE}/secret`, `${TMPDIR}/hard`);
    return readFileSync(`${TMPDIR}/hard`, "utf8");
  },
});
