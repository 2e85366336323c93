// todos 2: what changed since version 1, and why it is a new major: lists come in pages
// (`{ items, next }`), `done` became `status`, and items are changed with PATCH.
// Items are kept in SQLite in DATA_DIR, the app's own folder, and outlive the worker.
//
//   curl 'localhost:8000/todos/items?status=open'
//   curl localhost:8000/todos/items -H 'content-type: application/json' -d '{"title":"Buy milk"}'
//   curl -X PATCH localhost:8000/todos/items/1 -H 'content-type: application/json' -d '{"status":"done"}'
//   curl localhost:8000/todos@1/          (the old version still answers)
import { Database } from "bun:sqlite";
import { type Context, Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { type Item, parseNew, parsePatch, parseStatus } from "./items.ts";

const MAX_ITEMS = 10_000;
const PAGE_SIZE = Number(process.env.PAGE_SIZE ?? 20);

// Without a data directory (when the file is run by hand) the list is kept in memory.
const db = new Database(process.env.DATA_DIR ? `${process.env.DATA_DIR}/todos.db` : ":memory:");
db.run("PRAGMA journal_mode = WAL");
db.run(`CREATE TABLE IF NOT EXISTS items (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  title TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'open'
)`);

const page = db.query<Item, { $status: string | null; $after: number; $limit: number }>(
  "SELECT * FROM items WHERE id > $after AND ($status IS NULL OR status = $status) ORDER BY id LIMIT $limit",
);
const find = db.query<Item, [number]>("SELECT * FROM items WHERE id = ?");
const count = db.query<{ n: number }, []>("SELECT count(*) AS n FROM items");
const insert = db.query<Item, [string]>("INSERT INTO items (title) VALUES (?) RETURNING *");
const update = db.query<Item, { $id: number; $title: string | null; $status: string | null }>(
  "UPDATE items SET title = coalesce($title, title), status = coalesce($status, status) WHERE id = $id RETURNING *",
);
const remove = db.query<Item, [number]>("DELETE FROM items WHERE id = ? RETURNING *");

const app = new Hono();

app.use(async (c, next) => {
  const start = performance.now();
  await next();
  c.header("server-timing", `app;dur=${(performance.now() - start).toFixed(2)}`);
});

app.get("/", (c) => c.json({ app: "todos", version: "2.0.0", items: count.get()?.n ?? 0 }));

app.get("/items", (c) => {
  const status = parseStatus(c.req.query("status"));
  const after = Number(c.req.query("after") ?? 0);
  if (!Number.isSafeInteger(after) || after < 0) {
    throw new HTTPException(400, { message: "after must be the id of an item" });
  }
  const items = page.all({ $status: status, $after: after, $limit: PAGE_SIZE });
  return c.json({ items, next: items.length === PAGE_SIZE ? (items.at(-1)?.id ?? null) : null });
});

app.post("/items", async (c) => {
  const { title } = parseNew(await readJson(c));
  if ((count.get()?.n ?? 0) >= MAX_ITEMS) {
    throw new HTTPException(409, { message: "the list is full" });
  }
  const item = insert.get(title);
  c.header("location", `${c.req.header("x-base") ?? ""}/items/${item?.id}`);
  return c.json(item, 201);
});

app.get("/items/:id{[0-9]+}", (c) => c.json(known(find.get(id(c)))));

app.patch("/items/:id{[0-9]+}", async (c) => {
  const patch = parsePatch(await readJson(c));
  return c.json(known(update.get({ $id: id(c), $title: patch.title, $status: patch.status })));
});

app.delete("/items/:id{[0-9]+}", (c) => {
  known(remove.get(id(c)));
  return c.body(null, 204);
});

app.notFound((c) => c.json({ error: "not found" }, 404));

app.onError((error, c) => {
  if (error instanceof HTTPException) {
    return c.json({ error: error.message }, error.status);
  }
  console.error(error);
  return c.json({ error: "something went wrong" }, 500);
});

function id(c: Context): number {
  return Number(c.req.param("id"));
}

function known(item: Item | null): Item {
  if (!item) {
    throw new HTTPException(404, { message: "no such item" });
  }
  return item;
}

async function readJson(c: Context): Promise<unknown> {
  try {
    return await c.req.json();
  } catch {
    throw new HTTPException(400, { message: "the body must be JSON" });
  }
}

export default {
  fetch: app.fetch,
  // The last word of the worker: close the file, so that nothing stays in the write-ahead log.
  onTerminate() {
    db.close();
  },
};
