// A fresh worker for each request; the app itself costs nothing.
export default { fetch: () => new Response("ok") };
