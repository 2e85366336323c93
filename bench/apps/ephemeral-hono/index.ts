// A fresh worker for each request that loads a real framework first.
import { Hono } from "hono";

const app = new Hono();
app.get("/", (c) => c.text("ok"));
app.get("/hello/:name", (c) => c.json({ hello: c.req.param("name") }));

export default app;
