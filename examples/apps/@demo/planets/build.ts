// Builds src/ into dist/ for the path under which the app is served.
//
//   bun build.ts [output folder]
//
// dist/ is committed, so the app can be served as it lies here. The names carry a hash of
// the content: the same source gives the same files.
import { mkdir, rm } from "node:fs/promises";
import { resolve } from "node:path";

const BASE = "/@demo/planets/";
const outdir = resolve(process.argv[2] ?? `${import.meta.dir}/dist`);
// The hashes also depend on the folder that the build runs in.
process.chdir(import.meta.dir);

await rm(outdir, { recursive: true, force: true });
await mkdir(outdir, { recursive: true });

const result = await Bun.build({
  entrypoints: ["src/index.html"],
  outdir,
  publicPath: BASE,
  define: { BASE: JSON.stringify(BASE) },
  naming: { entry: "[name].[ext]", chunk: "assets/[name]-[hash].[ext]", asset: "assets/[name]-[hash].[ext]" },
  splitting: true,
  minify: true,
});

for (const output of result.outputs) {
  console.log(`${output.path.slice(outdir.length + 1)}  ${output.size} bytes`);
}
