// Reaches parts of the kernel that no app needs and in which most ways to root were found. It is
// the call itself that must not get through, whatever it asks for.

import { at, attacker, call } from "./lib/attacker.ts";

const [readAll, filter, anyAddress] = [3, 1, 0x0040000];
const [thisProcess, anyProcessor, noGroup] = [0, -1, -1];

export default attacker({
  io_uring: () => call("io_uring_setup", 8, at(new Uint8Array(120))),
  userfaultfd: () => call("userfaultfd", 0),
  perf_event_open: () =>
    call("perf_event_open", at(new Uint8Array(128)), thisProcess, anyProcessor, noGroup, 0),
  "kernel log": () => call("syslog", readAll, at(new Uint8Array(64)), 64),
  modify_ldt: () => call("modify_ldt", 0, at(new Uint8Array(64)), 64),
  personality: () => call("personality", anyAddress),
  "filter of its own": () => call("seccomp", filter, 0, 0),
});
