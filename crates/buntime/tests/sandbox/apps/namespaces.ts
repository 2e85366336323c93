// Makes namespaces of its own, or enters others. In a new one an app is root to the kernel, which
// opens most of what is attacked elsewhere here.

import { attacker, call } from "./lib/attacker.ts";

const newUsers = 0x10000000;

export default attacker({
  "new namespaces": () => call("unshare", newUsers),
  setns: () => call("setns", 0, 0),
});
