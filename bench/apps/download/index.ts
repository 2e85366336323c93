// One megabyte, ready in memory.
const body = new Uint8Array(1024 * 1024).fill(97);

export default { fetch: () => new Response(body) };
