// Changes what lies where in its own view of the files, by which it is confined: takes away what
// hides the machine, puts something else there, or leaves by another root.

import { attacker, call, text, TMPDIR } from "./lib/attacker.ts";

const [HERE, detach, copy] = [-100, 2, 1];
const own = () => text(TMPDIR);

export default attacker({
  mount: () => call("mount", text("x"), own(), text("tmpfs"), 0, 0),
  umount: () => call("umount2", text("/proc"), detach),
  chroot: () => call("chroot", own()),
  pivot_root: () => call("pivot_root", own(), own()),
  open_tree: () => call("open_tree", HERE, text("/"), copy),
  fsopen: () => call("fsopen", text("tmpfs"), 0),
});
