// Takes processor time away from others: the server made less urgent, bound to few descriptors or
// processors, or itself so urgent that nobody else has a turn. Without reading a byte, everybody
// on this machine would wait.

import { at, attacker, call } from "./lib/attacker.ts";

const [oneProcess, least, openFiles, urgent] = [0, 19, 7, 1];

export default attacker({
  "priority of the server": ({ server }) => call("setpriority", oneProcess, server, least),
  "limits of the server": ({ server }) =>
    call("prlimit64", server, openFiles, 0, at(new Uint8Array(16))),
  "processors of the server": ({ server }) =>
    call("sched_setaffinity", server, 8, at(new Uint8Array(8).fill(255))),
  "time without end": () => call("sched_setscheduler", 0, urgent, at(new Int32Array([99]))),
});
