// Opens sockets that see and send whole packets: the traffic of everybody on this network, and
// packets in their name.

import { attacker, call } from "./lib/attacker.ts";

const [internet, packets, raw, icmp, allProtocols] = [2, 17, 3, 1, 0x0300];

export default attacker({
  "raw socket": () => call("socket", internet, raw, icmp),
  "packet socket": () => call("socket", packets, raw, allProtocols),
});
