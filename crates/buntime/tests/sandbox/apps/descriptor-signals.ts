// Has the kernel send signals for it: whoever owns a descriptor is told by one when something
// comes, and may say who that is and which signal it shall be.

import { attacker, call } from "./lib/attacker.ts";

const [output, setOwner, setSignal, deadly] = [1, 8, 10, 9];

export default attacker({
  "signal by a descriptor": ({ server }) => call("fcntl", output, setOwner, server),
  "deadly signal by a descriptor": () => call("fcntl", output, setSignal, deadly),
});
