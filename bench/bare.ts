// Runs an app on Bun alone, as a server of its own.
//
//   bun bare.ts APP.ts unix:/path/to/socket | tcp:PORT
const [path, where] = process.argv.slice(2) as [string, string];
const { default: app } = await import(path);
const listen = where.startsWith("unix:")
  ? { unix: where.slice("unix:".length) }
  : { hostname: "127.0.0.1", port: Number(where.slice("tcp:".length)) };

Bun.serve({ ...app, ...listen, development: false, idleTimeout: 0 });

// Makes this file a module, so that it may await at its top.
export {};
