// Makes shared memory, semaphores and queues that have no owner among processes: they stay when
// the app has ended, count for nobody, and other apps of the same user find them.

import { attacker, call, text } from "./lib/attacker.ts";

const [unnamed, make] = [0, 0o1600];

export default attacker({
  "shared memory": () => call("shmget", unnamed, 4096, make),
  semaphores: () => call("semget", unnamed, 1, make),
  "message queue": () => call("mq_open", text("x"), 0o102, 0o600, 0),
});
