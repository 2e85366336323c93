// Runs code that it has just written: a library and a program. Who cannot do that has to get by
// with what was deployed and with what the system has.

import { dlopen } from "bun:ffi";
import { chmodSync, copyFileSync, existsSync } from "node:fs";
import { attacker, DATA_DIR, TMPDIR } from "./lib/attacker.ts";

const LIBRARIES = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/libm.so.6", "/usr/lib/libm.so.6"];

export default attacker({
  "library that it wrote": () => {
    copyFileSync(`${LIBRARIES.find((path) => existsSync(path))}`, `${TMPDIR}/own.so`);
    const own = dlopen(`${TMPDIR}/own.so`, { cos: { args: ["f64"], returns: "f64" } });
    return own.symbols.cos(0);
  },
  "program that it wrote": () => {
    copyFileSync(process.execPath, `${DATA_DIR}/own`);
    chmodSync(`${DATA_DIR}/own`, 0o755);
    return Bun.spawnSync([`${DATA_DIR}/own`, "--version"]).stdout;
  },
});
