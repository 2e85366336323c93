// What the attackers share. Each file beside this folder is an app of its own: it names its
// attacks, and is asked for one at a time. The answer says "done" and what was gained, or
// "refused" and by what.

import { dlopen, ptr, read } from "bun:ffi";
import { connect } from "node:net";
import { constants } from "node:os";

/** What the tests tell an attack of the machine: else it had nothing to aim at. */
export type Target = {
  /** The server's process. */
  server: number;
  /** Where the server listens on 127.0.0.1. */
  port: number;
  /** Where another worker's gateway listens. */
  other: number;
  /** An abstract unix socket that listens. */
  abstractName: string;
};

/** Gains something, or throws what it was refused with. */
export type Attack = (target: Target) => unknown;

const { env } = process;

/** Folders, by what lies in them. `OTHER` is another app's, `OUTSIDE` is nobody's. */
export const {
  STATE = "",
  OTHER = "",
  OUTSIDE = "",
  DATA_DIR = "",
  APP_DIR = "",
  TMPDIR = "",
} = env;

const ownPort = Number(new URL(env["RUNTIME_API_URL"] ?? "").port);

/** Whether this network is another worker's too: else both gateways have the same address. */
export const isShared = (target: Target): boolean => target.other !== ownPort;

/** The system calls by which the kernel is attacked, as x86-64 counts them. */
const NUMBERS = {
  shmget: 29,
  socket: 41,
  connect: 42,
  sendto: 44,
  sendmsg: 46,
  listen: 50,
  setsockopt: 54,
  clone: 56,
  fork: 57,
  execve: 59,
  kill: 62,
  semget: 64,
  fcntl: 72,
  ptrace: 101,
  syslog: 103,
  setuid: 105,
  setsid: 112,
  capset: 126,
  mknod: 133,
  personality: 135,
  setpriority: 141,
  sched_setscheduler: 144,
  modify_ldt: 154,
  pivot_root: 155,
  chroot: 161,
  mount: 165,
  umount2: 166,
  swapon: 167,
  reboot: 169,
  sethostname: 170,
  init_module: 175,
  quotactl: 179,
  sched_setaffinity: 203,
  clock_settime: 227,
  exit_group: 231,
  mq_open: 240,
  kexec_load: 246,
  add_key: 248,
  keyctl: 250,
  openat: 257,
  unshare: 272,
  vmsplice: 278,
  inotify_init1: 294,
  perf_event_open: 298,
  fanotify_init: 300,
  prlimit64: 302,
  open_by_handle_at: 304,
  sendmmsg: 307,
  setns: 308,
  process_vm_readv: 310,
  process_vm_writev: 311,
  kcmp: 312,
  seccomp: 317,
  memfd_create: 319,
  bpf: 321,
  execveat: 322,
  userfaultfd: 323,
  pidfd_send_signal: 424,
  io_uring_setup: 425,
  open_tree: 428,
  fsopen: 430,
  pidfd_open: 434,
  pidfd_getfd: 438,
  process_madvise: 440,
  memfd_secret: 447,
};

const libc = dlopen("libc.so.6", {
  syscall: { args: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"], returns: "i64" },
  __errno_location: { args: [], returns: "ptr" },
}).symbols;

const codes = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** Calls the kernel past Bun. */
export function call(name: keyof typeof NUMBERS, ...args: (number | bigint)[]): number {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = args;
  const result = Number(libc.syscall(NUMBERS[name], a, b, c, d, e, f));
  if (result >= 0) return result;
  const errno = read.i32(libc.__errno_location() as never);
  return refuse(codes.get(errno) ?? `errno ${errno}`);
}

const kept: NodeJS.TypedArray[] = [];

/** Where the kernel finds these bytes, which nobody collects. */
export function at(bytes: NodeJS.TypedArray): number {
  kept.push(bytes);
  return ptr(bytes);
}

/** Where the kernel finds this text. */
export const text = (value: string): number => at(Buffer.from(`${value}\0`));

/** Fails with a code, as what the kernel refuses does. */
export function refuse(code: string): never {
  throw Object.assign(new Error(code), { code });
}

/** Connects as Bun does it. */
export const connected = (options: { path: string } | { host: string; port: number }) =>
  new Promise<string>((done, fail) => {
    const socket = connect(options as never, () => {
      socket.destroy();
      done("connected");
    });
    socket.on("error", fail);
  });

/** The app: `/` lists its attacks, `/NAME` is one of them. */
export const attacker = (attacks: Record<string, Attack>) => ({
  async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams: told } = new URL(request.url);
    if (pathname === "/") return Response.json(Object.keys(attacks));
    const attack = attacks[decodeURIComponent(pathname.slice(1))];
    if (attack === undefined) return new Response("no such attack", { status: 404 });
    const target = {
      server: Number(told.get("server")),
      port: Number(told.get("port")),
      other: Number(told.get("other")),
      abstractName: told.get("abstract") ?? "",
    };
    try {
      const gained = await attack(target);
      return new Response(`done ${String(gained).slice(0, 200)}`);
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      return new Response(`refused ${code ?? message}`);
    }
  },
});
