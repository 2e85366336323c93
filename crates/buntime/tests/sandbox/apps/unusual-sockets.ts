// Opens sockets of families that hardly a program uses: to the host of a virtual machine, to the
// kernel's ciphers and its settings of the network. Many faults of kernels were found in these.

import { attacker, call } from "./lib/attacker.ts";

const [stream, raw, inOrder] = [1, 3, 5];
const [netlink, ciphers, virtualMachine] = [16, 38, 40];

export default attacker({
  vsock: () => call("socket", virtualMachine, stream, 0),
  "crypto socket": () => call("socket", ciphers, inOrder, 0),
  netlink: () => call("socket", netlink, raw, 0),
});
