// chat: rooms over WebSocket, with names, a short history, and bounds on everything that a
// client can send.
//
//   open http://localhost:8000/chat/?room=lobby in two windows
import type { Server, ServerWebSocket } from "bun";
import { Rooms } from "./rooms.ts";

type Member = { room: string; name: string; sent: number; since: number };
type Outgoing =
  | { type: "history"; messages: unknown[] }
  | { type: "message"; from: string; text: string; at: string }
  | { type: "members"; names: string[] }
  | { type: "error"; message: string };

const MAX_TEXT = 1_000;
const MAX_PER_10_SECONDS = 20;

const rooms = new Rooms<ServerWebSocket<Member>>();

export default {
  fetch(req: Request, server: Server<Member>): Response | undefined {
    const url = new URL(req.url);
    if (url.pathname === "/") {
      return new Response(Bun.file(`${import.meta.dir}/page.html`));
    }
    if (url.pathname !== "/socket") {
      return new Response("not found\n", { status: 404 });
    }
    const room = url.searchParams.get("room") ?? "lobby";
    const name = url.searchParams.get("name")?.trim() ?? "";
    if (!/^[a-z0-9-]{1,32}$/.test(room) || name.length < 1 || name.length > 24) {
      return new Response("room or name is not valid\n", { status: 400 });
    }
    if (!rooms.hasPlace(room)) {
      return new Response("the room is full\n", { status: 503 });
    }
    const data: Member = { room, name, sent: 0, since: Date.now() };
    return server.upgrade(req, { data }) ? undefined : new Response("a WebSocket is expected\n", { status: 426 });
  },

  websocket: {
    maxPayloadLength: 8 * 1024,
    idleTimeout: 120,

    open(ws: ServerWebSocket<Member>) {
      send(ws, { type: "history", messages: rooms.join(ws.data.room, ws) });
      announce(ws.data.room);
    },

    message(ws: ServerWebSocket<Member>, data: string | Buffer) {
      const text = typeof data === "string" ? data.trim() : "";
      if (!text || text.length > MAX_TEXT) {
        send(ws, { type: "error", message: `a message is 1 to ${MAX_TEXT} characters` });
      } else if (tooFast(ws.data)) {
        send(ws, { type: "error", message: "not so fast" });
      } else {
        const message = { type: "message", from: ws.data.name, text, at: new Date().toISOString() } as const;
        rooms.remember(ws.data.room, message);
        publish(ws.data.room, message);
      }
    },

    close(ws: ServerWebSocket<Member>) {
      rooms.leave(ws.data.room, ws);
      announce(ws.data.room);
    },
  },

  onTerminate() {
    for (const ws of rooms.everyone()) {
      ws.close(1001, "the server is stopping");
    }
  },
};

function send(ws: ServerWebSocket<Member>, message: Outgoing): void {
  ws.send(JSON.stringify(message));
}

function publish(room: string, message: Outgoing): void {
  const text = JSON.stringify(message);
  for (const ws of rooms.members(room)) {
    ws.send(text);
  }
}

function announce(room: string): void {
  publish(room, { type: "members", names: [...rooms.members(room)].map((ws) => ws.data.name).sort() });
}

/** Counts in windows of ten seconds. */
function tooFast(member: Member): boolean {
  const now = Date.now();
  if (now - member.since > 10_000) {
    member.since = now;
    member.sent = 0;
  }
  member.sent += 1;
  return member.sent > MAX_PER_10_SECONDS;
}
