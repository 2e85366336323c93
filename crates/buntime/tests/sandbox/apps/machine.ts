// Changes what the whole machine shares: its name, its clock, its swap space, its quotas, and
// whether it runs. Certificates and logs go by the clock, and everybody by whether it runs.

import { at, attacker, call, text } from "./lib/attacker.ts";

export default attacker({
  "host name": () => call("sethostname", text("x"), 1),
  clock: () => call("clock_settime", 0, at(new BigUint64Array(2))),
  swap: () => call("swapon", text("/x"), 0),
  quota: () => call("quotactl", 0, 0, 0, 0),
  // Without the numbers that the kernel wants to see it would not go down.
  reboot: () => call("reboot", 0, 0, 0, 0),
});
