// Reads and writes the server's memory without being its debugger. There lie the root key and
// whatever other apps just send and receive.

import { attacker, call } from "./lib/attacker.ts";

export default attacker({
  process_vm_readv: ({ server }) => call("process_vm_readv", server),
  process_vm_writev: ({ server }) => call("process_vm_writev", server),
  process_madvise: () => call("process_madvise"),
});
