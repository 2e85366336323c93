// Takes rights of root's, or becomes root. With them no other guard would hold.

import { at, attacker, call } from "./lib/attacker.ts";

const [version, itself, root] = [0x20080522, 0, 0];

export default attacker({
  capabilities: () => {
    const all = new Uint32Array(6).fill(0xffffffff);
    return call("capset", at(new Uint32Array([version, itself])), at(all));
  },
  "set-user-id": () => call("setuid", root),
});
