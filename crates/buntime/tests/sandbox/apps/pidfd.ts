// Gets a descriptor that stands for another process. With one it could copy the sockets and files
// that the process has open, and send it signals.

import { attacker, call } from "./lib/attacker.ts";

export default attacker({
  pidfd_open: ({ server }) => call("pidfd_open", server),
  pidfd_getfd: () => call("pidfd_getfd"),
  pidfd_send_signal: () => call("pidfd_send_signal"),
});
