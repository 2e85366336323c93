// The files of bench/apps/static as Bun alone serves them; `bare.ts` runs it.
const folder = `${import.meta.dir}/apps/static`;

export default {
  fetch(request: Request) {
    return new Response(Bun.file(folder + new URL(request.url).pathname));
  },
};
