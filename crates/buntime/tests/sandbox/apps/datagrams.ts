// Sends datagrams, which need no connection that anybody could refuse: names of hosts to carry
// data out, floods with somebody else's address. Many of them can go in one call.

import { attacker, call } from "./lib/attacker.ts";

const [internet, datagram] = [2, 2];

export default attacker({
  UDP: async () => {
    const socket = await Bun.udpSocket({ connect: { hostname: "127.0.0.1", port: 9 } });
    return socket.send("x");
  },
  "UDP past Bun": () => call("socket", internet, datagram, 0),
  "many messages at once": () => call("sendmmsg", 0, 0, 0, 0),
});
