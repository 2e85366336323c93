// Reaches files by none of their paths: by a number that a file system has for it, by being asked
// before anybody opens one, and by a device that is the machine's memory.

import { at, attacker, call, text, TMPDIR } from "./lib/attacker.ts";

const [HERE, deviceForAll, memory] = [-100, 0o020666, 0x101];

export default attacker({
  open_by_handle_at: () => call("open_by_handle_at", HERE, at(new Uint8Array(128)), 0),
  fanotify_init: () => call("fanotify_init", 0, 0),
  "device file": () => call("mknod", text(`${TMPDIR}/mem`), deviceForAll, memory),
});
