// An app that attacks the server, its neighbours and the kernel: one path an attack.
// The answer says "done" and what was gained, or "refused" and by what.

import { dlopen, ptr, read } from "bun:ffi";
import { chmodSync, constants, copyFileSync, existsSync, fchmodSync, fstatSync, linkSync, openSync, readdirSync, readFileSync, statSync, symlinkSync, truncateSync, utimesSync, watch, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { network } from "./network.ts";

const { STATE, OTHER, OUTSIDE, DATA_DIR = "", APP_DIR = "", TMPDIR = "" } = process.env;

/** Whether this network is another worker's too: else both gateways have the same address. */
const isShared = (q: URLSearchParams) => q.get("other") !== new URL(process.env["RUNTIME_API_URL"]!).port;

const libc = dlopen("libc.so.6", {
  syscall: { args: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"], returns: "i64" },
  __errno_location: { args: [], returns: "ptr" },
}).symbols;

/** Calls the kernel past Bun. */
function call(number: number, ...args: (number | bigint)[]): string {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = args;
  const result = Number(libc.syscall(number, a, b, c, d, e, f));
  if (result >= 0) return `${result}`;
  const errno = read.i32(libc.__errno_location() as never);
  throw Object.assign(new Error(`errno ${errno}`), { code: NAMES[errno] ?? `errno ${errno}` });
}
const NAMES: Record<number, string> = {
  1: "EPERM", 2: "ENOENT", 3: "ESRCH", 9: "EBADF", 13: "EACCES", 14: "EFAULT", 22: "EINVAL", 24: "EMFILE", 38: "ENOSYS",
};
const text = (value: string) => ptr(Buffer.from(`${value}\0`));

const connected = (options: object) =>
  new Promise((done, fail) => {
    const socket = connect(options as never, () => {
      socket.destroy();
      done("connected");
    });
    socket.on("error", fail);
  });

const attacks: Record<string, (query: URLSearchParams) => unknown> = {
  // What the server keeps.
  "server environment": (q) => readFileSync(`/proc/${q.get("server")}/environ`, "utf8"),
  "server memory": (q) => openSync(`/proc/${q.get("server")}/mem`, "r"),
  "server descriptors": (q) => readdirSync(`/proc/${q.get("server")}/fd`),
  "server command line": (q) => readFileSync(`/proc/${q.get("server")}/cmdline`, "utf8"),
  "server root": (q) => readdirSync(`/proc/${q.get("server")}/root`),
  "root key": () => readFileSync(`${STATE}/root-key`, "utf8"),
  "database of the server": () => readFileSync(`${STATE}/buntime.db`),
  "audit log": () => readFileSync(`${STATE}/audit.log`),
  "slots of other workers": () => readdirSync(`${TMPDIR}/..`).filter((name) => !TMPDIR.endsWith(name)).join() || refuse("nothing"),
  "own environment": () => Object.keys(process.env).find((name) => /ROOT_KEY|GRANTS|STATE_DIR|TLS|DATABASE/.test(name)) ?? refuse("nothing"),
  // The way to its own folders is there, and nothing else.
  "state folder": () => readdirSync(`${STATE}`).filter((name) => !["data", "run"].includes(name)).join() || refuse("nothing"),
  "other processes": () => {
    const others = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && name !== `${process.pid}`);
    if (others.length === 0) throw Object.assign(new Error(), { code: "nobody" });
    return others;
  },
  // What others keep.
  "another app's code": () => readFileSync(`${OTHER}/index.ts`, "utf8"),
  "another app's data": () => readFileSync(`${STATE}/data/other/secret`, "utf8"),
  "list of apps": () => readdirSync(`${APP_DIR}/..`).filter((name) => !APP_DIR.endsWith(name)).join() || refuse("nothing"),
  "file outside": () => readFileSync(`${OUTSIDE}/secret`, "utf8"),
  "file of the system": () => readFileSync("/etc/passwd", "utf8"),
  "file outside by a link": () => {
    symlinkSync(`${OUTSIDE}/secret`, `${TMPDIR}/link`);
    return readFileSync(`${TMPDIR}/link`, "utf8");
  },
  "file outside by a hard link": () => {
    linkSync(`${OUTSIDE}/secret`, `${TMPDIR}/hard`);
    return readFileSync(`${TMPDIR}/hard`, "utf8");
  },
  "write of own code": () => writeFileSync(`${APP_DIR}/index.ts`, ""),
  "new file beside own code": () => writeFileSync(`${APP_DIR}/new.ts`, ""),
  "write outside": () => writeFileSync(`${OUTSIDE}/new`, ""),
  "write beside own data": () => writeFileSync(`${DATA_DIR}/../new`, ""),
  "size of a file outside": () => statSync(`${OUTSIDE}/secret`).size,
  "mode of a file outside": () => chmodSync(`${OUTSIDE}/secret`, 0o666),
  "times of a file outside": () => utimesSync(`${OUTSIDE}/secret`, 1, 1),
  "emptying a file outside": () => truncateSync(`${OUTSIDE}/secret`),
  "mode of the system's libraries": () => {
    const folder = openSync("/usr/lib", "r");
    fchmodSync(folder, fstatSync(folder).mode);
  },
  "names of new files outside": () => watch(OUTSIDE!).close(),
  // Processes.
  "signal to the server": (q) => call(62, Number(q.get("server")), 0),
  "signal to everybody": () => call(62, -1, 0),
  "signal to the group": () => call(62, 0, 0),
  "signal by a descriptor": (q) => call(72, 1, 8, Number(q.get("server"))),
  "deadly signal by a descriptor": () => call(72, 1, 10, 9),
  ptrace: (q) => call(101, 16, Number(q.get("server"))),
  process_vm_readv: (q) => call(310, Number(q.get("server"))),
  process_vm_writev: (q) => call(311, Number(q.get("server"))),
  pidfd_getfd: () => call(438, 0, 0, 0),
  pidfd_send_signal: () => call(424, 0, 0, 0, 0),
  process_madvise: () => call(440, 0, 0, 0, 0, 0),
  kcmp: (q) => call(312, Number(q.get("server")), Number(q.get("server")), 0),
  "priority of the server": (q) => call(141, 0, Number(q.get("server")), 19),
  "limits of the server": (q) => call(302, Number(q.get("server")), 7, 0, ptr(new Uint8Array(16))),
  "processors of the server": (q) => call(203, Number(q.get("server")), 8, ptr(new Uint8Array(8).fill(255))),
  "time without end": () => call(144, 0, 1, ptr(new Int32Array([99]))),
  "another session": () => call(112),
  pidfd_open: (q) => call(434, Number(q.get("server"))),
  spawn: () => Bun.spawnSync([process.execPath, "--version"]).stdout,
  shell: () => Bun.spawnSync(["/bin/sh", "-c", "id"]).stdout,
  fork: () => call(57),
  "clone of a process": () => call(56, 17),
  "exec in place": () => call(59, text(process.execPath), ptr(new BigUint64Array(1)), ptr(new BigUint64Array(1))),
  execveat: () => call(322, -100, text(process.execPath), ptr(new BigUint64Array(1)), ptr(new BigUint64Array(1)), 0),
  "file in memory": () => call(319, text("x"), 0),
  "library that it wrote": () => {
    const from = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/libm.so.6", "/usr/lib/libm.so.6"].find((path) => existsSync(path));
    copyFileSync(`${from}`, `${TMPDIR}/own.so`);
    return dlopen(`${TMPDIR}/own.so`, { cos: { args: ["f64"], returns: "f64" } }).symbols.cos(0);
  },
  "program that it wrote": () => {
    copyFileSync(process.execPath, `${DATA_DIR}/own`);
    chmodSync(`${DATA_DIR}/own`, 0o755);
    return Bun.spawnSync([`${DATA_DIR}/own`, "--version"]).stdout;
  },
  // Sockets.
  "unix socket by path": () => connected({ path: `${OUTSIDE}/listening` }),
  "abstract unix socket": (q) => connected({ path: `\0${q.get("abstract")}` }),
  "TCP server": () => Bun.listen({ hostname: "0.0.0.0", port: 0, socket: { data() {} } }).port,
  // In a network of its own nobody finds it.
  "TCP server without an address": (q) => isShared(q) ? (call(50, Number(call(41, 2, 1, 0)), 1), "listens") : refuse("nobody"),
  "counters of the network": () => {
    const codes = ["self", "thread-self", "1", `${process.pid}/task/${process.pid}`].map((who) => {
      try {
        return readFileSync(`/proc/${who}/net/snmp`, "utf8");
      } catch (error) {
        return (error as { code: string }).code;
      }
    });
    return codes.find((text) => text.includes("Tcp:")) ?? refuse(codes[0]!);
  },
  UDP: async () => (await Bun.udpSocket({ connect: { hostname: "127.0.0.1", port: 9 } })).send("x"),
  "UDP past Bun": () => call(41, 2, 2, 0),
  "raw socket": () => call(41, 2, 3, 1),
  "packet socket": () => call(41, 17, 3, 0x0300),
  vsock: () => call(41, 40, 1, 0),
  "crypto socket": () => call(41, 38, 5, 0),
  netlink: () => call(41, 16, 3, 0),
  MPTCP: () => call(41, 2, 1, 262),
  "connect while sending": () => call(44, Number(call(41, 2, 1, 0)), text("x"), 1, 0x20000000, 0, 0),
  ...network,
  // What no figure of a process tells of.
  "larger buffer of a socket": () => call(54, 0, 1, 7, ptr(new Int32Array([4 << 20])), 4),
  "descriptor on its way": () => call(46, 0, ptr(new Uint8Array(64)), 0),
  // What there is for all processes of a user.
  "watchers of its user": () => Array.from({ length: 64 }, () => call(294, 0)).length,
  // The kernel.
  "new namespaces": () => call(272, 0x10000000),
  setns: () => call(308, 0, 0),
  mount: () => call(165, text("x"), text(TMPDIR), text("tmpfs"), 0, 0),
  umount: () => call(166, text("/proc"), 2),
  chroot: () => call(161, text(TMPDIR)),
  pivot_root: () => call(155, text(TMPDIR), text(TMPDIR)),
  open_tree: () => call(428, -100, text("/"), 1),
  fsopen: () => call(430, text("tmpfs"), 0),
  "capabilities": () => call(126, ptr(new Uint32Array([0x20080522, 0])), ptr(new Uint32Array(6).fill(0xffffffff))),
  "host name": () => call(170, text("x"), 1),
  clock: () => call(227, 0, ptr(new BigUint64Array(2))),
  "kernel log": () => call(103, 3, ptr(new Uint8Array(64)), 64),
  "kernel module": () => call(175, 0, 0, text("")),
  kexec: () => call(246, 0, 0, 0, 0),
  reboot: () => call(169, 0, 0, 0, 0),
  swap: () => call(167, text("/x"), 0),
  quota: () => call(179, 0, 0, 0, 0),
  "shared memory": () => call(29, 0, 4096, 0o1600),
  semaphores: () => call(64, 0, 1, 0o1600),
  "message queue": () => call(240, text("x"), 0o102, 0o600, 0),
  add_key: () => call(248, text("user"), text("x"), text("y"), 1, -3),
  memfd_secret: () => call(447, 0),
  fanotify_init: () => call(300, 0, 0),
  modify_ldt: () => call(154, 0, ptr(new Uint8Array(64)), 64),
  vmsplice: () => call(278, 1, 0, 0, 0),
  "filter of its own": () => call(317, 1, 0, 0),
  io_uring: () => call(425, 8, ptr(new Uint8Array(120))),
  userfaultfd: () => call(323, 0),
  keyctl: () => call(250, 0, -3, 1),
  bpf: () => call(321, 0, ptr(new Uint8Array(128)), 128),
  perf_event_open: () => call(298, ptr(new Uint8Array(128)), 0, -1, -1, 0),
  open_by_handle_at: () => call(304, -100, ptr(new Uint8Array(128)), constants.O_RDONLY),
  personality: () => call(135, 0x0040000),
  "device file": () => call(133, text(`${TMPDIR}/mem`), 0o020666, 0x101),
  "set-user-id": () => call(105, 0),
};

function refuse(code: string): never {
  throw Object.assign(new Error(), { code });
}

export default {
  async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/") return Response.json(Object.keys(attacks));
    const attack = attacks[decodeURIComponent(pathname.slice(1))];
    if (attack === undefined) return new Response("no such attack", { status: 404 });
    try {
      const gained = await attack(searchParams);
      return new Response(`done ${String(gained).slice(0, 200)}`);
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      return new Response(`refused ${code ?? message}`);
    }
  },
};
