/**
 * Cloudflare's runtime: from the start of its process to the answer of a Worker that has
 * run a program. The rivals compile bytes, which Workers refuse.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { build } from "esbuild";

const packaging = createRequire(new URL("../../../test/packaging/", import.meta.url));
const workerd = packaging("workerd").default;
const programs = ["bare", "empty", "import", "result"];

/** @param {string} folder */
export async function prepareWorkerd(folder) {
  for (const program of programs) await bundle(folder, program);
  return {
    programs,
    async run(/** @type {string} */ program) {
      const start = performance.now();
      const config = join(folder, "workerd", program, "config.capnp");
      const child = spawn(workerd, ["serve", config, "--control-fd=3"], {
        stdio: ["ignore", "inherit", "inherit", "pipe"],
      });
      // Of its control descriptor: where it listens; nothing, where it ends before.
      let listens = "";
      for await (const chunk of child.stdio[3] ?? []) {
        listens += chunk;
        if (listens.includes("\n")) break;
      }
      const { port } = JSON.parse(listens.split("\n")[0] ?? "");
      const answer = await (await fetch(`http://127.0.0.1:${port}/`)).text();
      const time = performance.now() - start;
      child.kill("SIGKILL");
      await once(child, "close");
      if (answer !== "done") throw new Error(`workerd: ${answer}`);
      return time;
    },
  };
}

/** A Worker of one program, as wrangler bundles it. @param {string} folder @param {string} program */
async function bundle(folder, program) {
  const into = join(folder, "workerd", program);
  mkdirSync(into, { recursive: true });
  /** @type {string[]} */
  const modules = [`(name = "worker.js", esModule = embed "worker.js")`];
  await build({
    stdin: {
      contents: `import "./programs/${program}.mjs";
        export default { fetch: () => new Response("done") };`,
      resolveDir: folder,
    },
    ...{ bundle: true, format: "esm", target: "es2022", outfile: join(into, "worker.js") },
    conditions: ["workerd", "worker", "browser"],
    plugins: [
      {
        name: "compiled-wasm",
        setup({ onResolve }) {
          onResolve({ filter: /\.wasm$/ }, ({ path, resolveDir }) => {
            copyFileSync(join(resolveDir, path), join(into, "kernel.wasm"));
            modules.push(`(name = "kernel.wasm", wasm = embed "kernel.wasm")`);
            return { path: "kernel.wasm", external: true };
          });
        },
      },
    ],
  });
  const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [${modules.join(", ")}], compatibilityDate = "2026-07-01"))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")]
);
`;
  writeFileSync(join(into, "config.capnp"), config);
}
