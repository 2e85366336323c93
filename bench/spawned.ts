// What a server without blank workers would start for each request: Bun, and at once the app.
import app from "./apps/ephemeral/index.ts";

Bun.serve({ ...app, unix: process.argv[2] as string, development: false });
