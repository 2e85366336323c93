// todos 1: a small JSON API on hono. The list lives in the worker's memory, so it is gone
// when the worker is (ten minutes without a request). Version 2 keeps it in a file.
//
//   curl localhost:8000/todos@1/items
//   curl localhost:8000/todos@1/items -H 'content-type: application/json' -d '{"title":"Buy milk"}'
import { Hono } from "hono";

type Item = { id: number; title: string; done: boolean };

const MAX_ITEMS = 1_000;
const MAX_TITLE = 200;

const items = new Map<number, Item>();
let lastId = 0;

const app = new Hono();

app.get("/", (c) => c.json({ app: "todos", version: "1.0.0", items: items.size }));

app.get("/items", (c) => c.json([...items.values()]));

app.post("/items", async (c) => {
  const body = await c.req.json().catch(() => null);
  const title = typeof body?.title === "string" ? body.title.trim() : "";
  if (!title || title.length > MAX_TITLE) {
    return c.json({ error: `title must be 1 to ${MAX_TITLE} characters` }, 400);
  }
  if (items.size >= MAX_ITEMS) {
    return c.json({ error: "the list is full" }, 409);
  }
  const item = { id: ++lastId, title, done: false };
  items.set(item.id, item);
  return c.json(item, 201);
});

app.get("/items/:id{[0-9]+}", (c) => {
  const item = items.get(Number(c.req.param("id")));
  return item ? c.json(item) : c.json({ error: "no such item" }, 404);
});

app.put("/items/:id{[0-9]+}/done", (c) => {
  const item = items.get(Number(c.req.param("id")));
  if (!item) {
    return c.json({ error: "no such item" }, 404);
  }
  item.done = true;
  return c.json(item);
});

app.delete("/items/:id{[0-9]+}", (c) =>
  items.delete(Number(c.req.param("id"))) ? c.body(null, 204) : c.json({ error: "no such item" }, 404),
);

app.notFound((c) => c.json({ error: "not found" }, 404));

export default app;
