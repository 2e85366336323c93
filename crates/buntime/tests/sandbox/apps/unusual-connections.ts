// Connects without `connect`, where whoever looks at that call alone sees nothing: with the first
// bytes that are sent, and by a protocol that makes a TCP connection of its own.

import { attacker, call, text } from "./lib/attacker.ts";

const [internet, stream, multipath, fastOpen] = [2, 1, 262, 0x20000000];

export default attacker({
  MPTCP: () => call("socket", internet, stream, multipath),
  "connect while sending": () =>
    call("sendto", call("socket", internet, stream, 0), text("x"), 1, fastOpen, 0, 0),
});
