// Brings code into the kernel: a module, another kernel, a program for its own machine. Whoever
// runs in there has the machine.

import { at, attacker, call, text } from "./lib/attacker.ts";

export default attacker({
  "kernel module": () => call("init_module", 0, 0, text("")),
  kexec: () => call("kexec_load", 0, 0, 0, 0),
  bpf: () => call("bpf", 0, at(new Uint8Array(128)), 128),
});
