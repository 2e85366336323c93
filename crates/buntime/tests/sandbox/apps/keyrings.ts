// Uses the kernel's keyrings, which belong to the user and not to a process: other apps' secrets
// may lie there, and what is put there outlives the app.

import { attacker, call, text } from "./lib/attacker.ts";

const [sessionKeyring, findKeyring, make] = [-3, 0, 1];

export default attacker({
  add_key: () => call("add_key", text("user"), text("x"), text("y"), 1, sessionKeyring),
  keyctl: () => call("keyctl", findKeyring, sessionKeyring, make),
});
