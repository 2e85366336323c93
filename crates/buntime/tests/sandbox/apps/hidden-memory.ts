// Hides memory where no figure of a process tells of it: in buffers of sockets, in descriptors on
// their way to nobody, in pages of its own that a pipe holds, in memory that not even the kernel
// sees. What is not counted is not limited.

import { at, attacker, call } from "./lib/attacker.ts";

const [sockets, bufferToSend] = [1, 7];

export default attacker({
  "larger buffer of a socket": () =>
    call("setsockopt", 0, sockets, bufferToSend, at(new Int32Array([4 << 20])), 4),
  "descriptor on its way": () => call("sendmsg", 0, at(new Uint8Array(64)), 0),
  vmsplice: () => call("vmsplice", 1, 0, 0, 0),
  memfd_secret: () => call("memfd_secret", 0),
});
