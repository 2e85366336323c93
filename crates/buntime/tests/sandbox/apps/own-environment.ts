// Looks for the server's settings among its own variables. A worker that inherited them would
// know the root key without reading a file.

import { attacker, refuse } from "./lib/attacker.ts";

const secret = /ROOT_KEY|GRANTS|STATE_DIR|TLS|DATABASE/;

export default attacker({
  "own environment": () =>
    Object.keys(process.env).find((name) => secret.test(name)) ?? refuse("nothing"),
});
