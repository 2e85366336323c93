// Connects to services of the machine that listen on unix sockets, as Docker and databases do.
// They ask for no password: whoever reaches them is trusted.

import { attacker, connected, OUTSIDE } from "./lib/attacker.ts";

export default attacker({
  "unix socket by path": () => connected({ path: `${OUTSIDE}/listening` }),
  "abstract unix socket": ({ abstractName }) => connected({ path: `\0${abstractName}` }),
});
