// Reads a body whole and sends it back.
export default { fetch: async (req: Request) => new Response(await req.arrayBuffer()) };
