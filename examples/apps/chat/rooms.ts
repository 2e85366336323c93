// Who is where, and what was said last. A room without members keeps nothing.

const MAX_ROOMS = 100;
const MAX_MEMBERS = 200;
const MAX_HISTORY = 50;

type Room<Socket> = { members: Set<Socket>; history: unknown[] };

export class Rooms<Socket> {
  #rooms = new Map<string, Room<Socket>>();

  hasPlace(name: string): boolean {
    const room = this.#rooms.get(name);
    return room ? room.members.size < MAX_MEMBERS : this.#rooms.size < MAX_ROOMS;
  }

  /** Adds a member and gives what was said before. */
  join(name: string, socket: Socket): unknown[] {
    const room = this.#rooms.get(name) ?? { members: new Set<Socket>(), history: [] };
    room.members.add(socket);
    this.#rooms.set(name, room);
    return room.history;
  }

  leave(name: string, socket: Socket): void {
    const room = this.#rooms.get(name);
    room?.members.delete(socket);
    if (room?.members.size === 0) {
      this.#rooms.delete(name);
    }
  }

  remember(name: string, message: unknown): void {
    const history = this.#rooms.get(name)?.history;
    history?.push(message);
    if (history && history.length > MAX_HISTORY) {
      history.shift();
    }
  }

  members(name: string): Iterable<Socket> {
    return this.#rooms.get(name)?.members ?? [];
  }

  *everyone(): Iterable<Socket> {
    for (const room of this.#rooms.values()) {
      yield* room.members;
    }
  }
}
