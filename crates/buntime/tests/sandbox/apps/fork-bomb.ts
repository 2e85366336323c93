// Multiplies, as fast as it can: a bomb of processes fills the table of all of them, and then
// nobody on the machine starts anything any more. Each child here ends at once.

import { attacker, call } from "./lib/attacker.ts";

/** What the last try was refused with, if all of them were. */
function each(times: number, bear: () => unknown): number {
  let born = 0;
  let refused: unknown;
  for (let tried = 0; tried < times; tried += 1) {
    try {
      bear();
      born += 1;
    } catch (error) {
      refused = error;
    }
  }
  if (born === 0) throw refused;
  return born;
}

export default attacker({
  "fork bomb": () =>
    each(1000, () => {
      if (call("fork") === 0) call("exit_group");
    }),
  "bomb of programs": () => each(200, () => Bun.spawnSync([process.execPath, "--version"])),
});
