// Takes hold of the server as a debugger does, which can read and change all of it, and compares
// itself with it, which tells what of the kernel's two processes share.

import { attacker, call } from "./lib/attacker.ts";

const attach = 16;

export default attacker({
  ptrace: ({ server }) => call("ptrace", attach, server),
  kcmp: ({ server }) => call("kcmp", server, server, 0),
});
