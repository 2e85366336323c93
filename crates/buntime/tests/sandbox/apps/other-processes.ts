// Looks for anybody else on the machine: command lines hold secrets, and numbers of processes
// are what signals and debuggers are aimed with.

import { readdirSync } from "node:fs";
import { attacker, refuse } from "./lib/attacker.ts";

export default attacker({
  "other processes": () => {
    const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    const others = all.filter((name) => name !== `${process.pid}`);
    return others.length > 0 ? others : refuse("nobody");
  },
});
