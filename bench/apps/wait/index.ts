// A handler that waits for something else, as most do.
export default {
  async fetch() {
    await Bun.sleep(50);
    return new Response("ok");
  },
};
