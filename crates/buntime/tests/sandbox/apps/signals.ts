// Sends signals. One is enough to end the server, or all apps of its user at once. Signal 0 harms
// nobody and is refused as the others are.

import { attacker, call } from "./lib/attacker.ts";

const [everybody, ownGroup] = [-1, 0];

export default attacker({
  "signal to the server": ({ server }) => call("kill", server, 0),
  "signal to everybody": () => call("kill", everybody, 0),
  "signal to the group": () => call("kill", ownGroup, 0),
});
